#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The lackey import judged from outside: whatever pagesim says of a text is counted again here, line by line and in another
language, from the text alone, and the two must be equal. The texts are made up (always) and real (when there is a valgrind).

  test_import.py PAGESIM              made-up texts, and what the commands do with them
  test_import.py PAGESIM --valgrind   texts valgrind writes here and now; exit status 77 without valgrind
"""
import collections
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PAGESIM = os.path.abspath(sys.argv[1])
MEMORY = re.compile(r'^(I | L| S| M) ([0-9a-f]+),([0-9]+)$')
LETTER = {'I ': 'fetches', ' L': 'loads', ' S': 'stores', ' M': 'modifies'}


def run(*args, status=0, **more):
    """Runs pagesim; returns its standard output and error."""
    done = subprocess.run([PAGESIM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode != status:
        raise AssertionError(f'pagesim {args}: exit status {done.returncode}, not {status}: {done.stderr.decode()}')
    return done.stdout, done.stderr.decode()


class Recount:
    """What lines of lackey say, added up."""

    def __init__(self):
        self.lines = collections.Counter()
        self.crossings = collections.Counter()
        self.on_page = collections.Counter()    # (page, 'r', 'w' or 'x') -> accesses
        self.data_pages = set()
        self.fetch_pages = set()

    def add(self, text):
        for line in text.splitlines():
            found = MEMORY.match(line)
            if not found:
                continue
            kind, address, size = LETTER[found[1]], int(found[2], 16), int(found[3])
            pages = range(address // 4096, (address + size - 1) // 4096 + 1)
            self.lines[kind] += 1
            self.crossings[kind] += len(pages) - 1
            for page in pages:
                if kind == 'fetches':
                    self.on_page[page, 'x'] += 1
                    self.fetch_pages.add(page)
                    continue
                self.data_pages.add(page)
                if kind != 'stores':
                    self.on_page[page, 'r'] += 1
                if kind != 'loads':
                    self.on_page[page, 'w'] += 1

    def all_of(self, letter):
        return sum(n for (_, of), n in self.on_page.items() if of == letter)


class Trace:
    """A trace's bulk text, added up in the same way."""

    def __init__(self, path):
        text = run('convert', path, '-')[0].decode()
        self.on_page = collections.Counter()
        self.totals = {}
        self.records = 0
        self.events = collections.Counter()
        self.text = text
        for line in text.splitlines():
            if line.startswith(' '):
                page, counts = line.split()
                self.records += 1
                for letter, n in re.findall(r'([rwx])([0-9]+)', counts):
                    self.on_page[int(page, 16), letter] += int(n)
            elif line.startswith('total '):
                _, value, name = line.split(' ', 2)
                self.totals[name] = int(value)
            elif line.startswith('@') and len(line.split()) > 2:
                self.events[line.split()[2]] += 1


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='pagesim-import-')
        self.addCleanup(shutil.rmtree, self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return self.path(name)

    def check_equal(self, recount, trace, fetches):
        """The trace says what the text says, in its totals and page by page."""
        t, lines, crossings = trace.totals, recount.lines, recount.crossings
        for kind, name in (('loads', 'loads'), ('stores', 'stores'), ('modifies', 'modifies'), ('fetches', 'instructions')):
            self.assertEqual(t['lackey.' + name], lines[kind], kind)
            self.assertEqual(t['lackey.crossing-' + name], crossings[kind], kind)
        expected = {k: n for k, n in recount.on_page.items() if fetches or k[1] != 'x'}
        self.assertEqual(trace.on_page, expected)
        self.assertEqual(t['reads'], lines['loads'] + lines['modifies'] + crossings['loads'] + crossings['modifies'])
        self.assertEqual(t['writes'], lines['stores'] + lines['modifies'] + crossings['stores'] + crossings['modifies'])
        self.assertEqual(t['fetches'], lines['fetches'] + crossings['fetches'] if fetches else 0)
        self.assertEqual(t['accesses'], t['reads'] + t['writes'] + t['fetches'])
        self.assertEqual(t['records'], trace.records)

    def check_imports(self, paths, recount):
        """Every way to import gives the same sums."""
        for options in ([], ['--fold', '16'], ['--fetches'], ['--fetches', '--fold', '4']):
            out = self.path('out.pgt')
            run('convert', *options, *paths, out)
            self.check_equal(recount, Trace(out), '--fetches' in options)
        return Trace(out)

    def distinct_pages(self, path):
        found = re.search(r'pages +([0-9,]+) distinct', run('info', path)[0].decode())
        return int(found[1].replace(',', ''))


def made_up(seed, lines):
    """A text of one process: accesses of all sorts and sizes, many over a page's edge, some calls between them."""
    rng = random.Random(seed)
    out = ['==77== Lackey, an example Valgrind tool', '==77== Command: made up', '==77== ']
    bases = [rng.randrange(1 << 36) for _ in range(12)] + [(1 << 64) - 4096 * 5]
    for i in range(lines):
        address = rng.choice(bases) + rng.randrange(3 * 4096 - 600)
        if rng.random() < 0.3:
            address = (address | 4095) - rng.randrange(8)
        kind = rng.choice(['I ', 'I ', ' L', ' S', ' M'])
        out.append(f'{kind} {address & ((1 << 64) - 1):08x},{rng.choice([1, 2, 4, 8, 16, 32, 512])}')
        if i % 100 == 99:
            start = rng.choice(bases) & ~4095
            out.append(rng.choice([
                f'SYSCALL[77,1](11) sys_munmap ( 0x{start:x}, 8192 )[sync] --> Success(0x0) ',
                f'SYSCALL[77,1](9) sys_mmap ( 0x0, 12288, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x{start:x}) ',
                'SYSCALL[77,1](39) sys_getpid ( ) --> [pre-success] Success(0x4d) ']))
    return '\n'.join(out) + '\n'


class MadeUp(Case):
    def test_totals_are_those_of_the_text(self):
        for seed in range(4):
            text = made_up(seed, 6000)
            recount = Recount()
            recount.add(text)
            self.assertGreater(recount.crossings['loads'], 100)
            self.check_imports([self.write('log', text)], recount)

    def test_info_counts_distinct_pages(self):
        text = made_up(9, 3000)
        recount = Recount()
        recount.add(text)
        log = self.write('log', text)
        run('convert', log, self.path('d.pgt'))
        run('convert', '--fetches', log, self.path('x.pgt'))
        self.assertEqual(self.distinct_pages(self.path('d.pgt')), len(recount.data_pages))
        self.assertEqual(self.distinct_pages(self.path('x.pgt')), len(recount.data_pages | recount.fetch_pages))

    def test_a_pipe_gives_the_same_bytes(self):
        text = made_up(3, 5000).encode()
        log = self.write('log', text)
        run('convert', log, self.path('file.pgt'))
        piped = run('convert', '-', '--to', 'pgt', '-', input=text)[0]
        with open(self.path('file.pgt'), 'rb') as f:
            self.assertEqual(f.read(), piped)

    def test_every_form_comes_back(self):
        """lackey -> pgt -> text -> pgt -> text"""
        log = self.write('log', made_up(5, 5000))
        run('convert', '--fetches', log, self.path('a.pgt'))
        run('convert', self.path('a.pgt'), self.path('a.txt'))
        run('convert', self.path('a.txt'), self.path('b.pgt'))
        run('convert', self.path('b.pgt'), self.path('b.txt'))
        run('convert', '--fetches', log, self.path('c.txt'))
        texts = [open(self.path(n)).read() for n in ('a.txt', 'b.txt', 'c.txt')]
        self.assertEqual(texts[0], texts[1])
        self.assertEqual(texts[0], texts[2])
        with open(self.path('a.pgt'), 'rb') as a, open(self.path('b.pgt'), 'rb') as b:
            self.assertEqual(a.read(), b.read())

    def test_a_script_comes_back(self):
        script = self.write('s.pgs', '# comment\nA start\nA mmap  r 8K anon\nrace\n x: A load r\nend\n')
        run('convert', script, self.path('s.pgt'))
        self.assertEqual(run('convert', self.path('s.pgt'), '--to', 'pgs', '-')[0],
                         b'A start\nA mmap r 8K anon\nrace\nx: A load r\nend\n')
        self.assertIn(b'statements     5 by 1 tasks', run('info', script)[0])
        run('convert', self.write('log', made_up(1, 100)), self.path('m.pgt'))
        self.assertIn('expected statements only', run('convert', self.path('m.pgt'), self.path('m.pgs'), status=1)[1])

    def test_what_comes_before_bad_text_is_kept(self):
        text = made_up(7, 1000)
        lines = text.splitlines(keepends=True)
        recount = Recount()
        recount.add(''.join(lines[:500]))
        for bad in (' L 12345', ' L xyz,8\n' + ''.join(lines[500:]), '\x00\x01\x02\n'):
            log = self.write('log', ''.join(lines[:500]) + bad)
            _, error = run('convert', log, self.path('o.pgt'), status=1)
            self.assertRegex(error, r'^pagesim: convert: [^\n]*/log:501: expected [^\n]*\n$')
            self.check_equal(recount, Trace(self.path('o.pgt')), False)

    def test_what_comes_before_damage_is_kept(self):
        run('convert', '--level', '1', self.write('log', made_up(8, 2000)), self.path('a.pgt'))
        with open(self.path('a.pgt'), 'rb') as f:
            whole = f.read()
        damaged = self.write('d.pgt', whole[:-60])
        out, error = run('convert', damaged, '-', status=1)
        self.assertRegex(error, r'^pagesim: convert: [^\n]*: ends early at byte \d+: expected [^\n]*\n$')
        self.assertIn(b'\n@', out)
        self.assertNotIn(b'\nend\n', out)
        out, error = run('info', damaged, status=1)
        self.assertIn(b'distinct', out)
        self.assertRegex(error, r'^pagesim: info: [^\n]*: ends early at byte \d+: [^\n]*\n$')

    def test_bad_input_is_one_error(self):
        empty, binary = self.write('empty', ''), self.write('binary', b'\x7fELF\x00\x01\x02\x03' * 100)
        run('convert', self.write('log', made_up(8, 50)), self.path('a.pgt'))
        with open(self.path('a.pgt'), 'rb') as f:
            newer = bytearray(f.read())
        newer[8] = 9
        newer = self.write('newer.pgt', bytes(newer))
        for path, words in ((empty, 'found an empty file'), (binary, 'found an unknown kind of file'),
                            (newer, 'written by a newer pagesim'), (self.path('missing'), 'cannot open'),
                            (self.dir, 'directory')):
            for command in (['info', path], ['convert', path, self.path('out.pgt')]):
                _, error = run(*command, status=1)
                self.assertIn(words.lower(), error.lower())
                self.assertEqual(error.count('\n'), 1, error)

    def test_input_that_is_none_does_not_cost_the_output_that_was_there(self):
        out = self.write('out.pgt', 'kept')
        log = self.write('log', made_up(8, 50))
        for args in ([self.write('binary', b'\x7fELF\x00\x01' * 100)], [log, self.path('missing')], ['--to', 'pgs', log]):
            run('convert', *args, out, status=1)
            with open(out) as f:
                self.assertEqual(f.read(), 'kept')

    def test_command_lines_that_make_no_sense(self):
        log = self.write('log', made_up(8, 50))
        for args in (['convert'], ['convert', log], ['convert', log, log], ['convert', '--fold', '99', log, 'x.pgt'],
                     ['convert', '--to', 'xml', log, 'x'], ['info'], ['info', log, log], ['record'], ['record', '--fold', '-1', '--', 'x']):
            _, error = run(*args, status=2)
            self.assertIn('--help', error)
            self.assertEqual(error.count('\n'), 1, error)
        run('convert', log, self.path('a.pgt'))
        self.assertIn('--fetches', run('convert', '--fetches', self.path('a.pgt'), '-', status=2)[1])

    def test_record_without_valgrind_says_so(self):
        _, error = run('record', '-o', self.path('r.pgt'), '--', 'true', status=1, env={'PATH': self.dir})
        self.assertIn('install the package valgrind', error)
        self.assertEqual(os.listdir(self.dir), [])

    def test_record_that_fails_does_not_cost_what_was_there(self):
        """Nor a device that was meant as the output."""
        out = self.write('r.pgt', 'kept')
        run('record', '-o', out, '--', 'true', status=1, env={'PATH': self.dir})
        with open(out) as f:
            self.assertEqual(f.read(), 'kept')
        pipe = self.path('pipe')
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        run('record', '-o', pipe, '--', 'true', status=1, env={'PATH': self.dir})
        os.close(reader)
        self.assertEqual(sorted(os.listdir(self.dir)), ['pipe', 'r.pgt'])


class Valgrind(Case):
    # Nothing here executes a program without forking first: --log-file=%p has a file per process, and the program a process
    # executes begins it anew.
    SCRIPT = 'echo one | cat > "$1"; (exit 3); cat "$1"; true'

    def lackey(self, *program, log='log', **more):
        return subprocess.run(
            ['valgrind', '--tool=lackey', '--trace-mem=yes', '--trace-syscalls=yes', '--basic-counts=yes', '--trace-children=yes',
             '--log-file=' + self.path(log), *program], check=True, stdout=subprocess.DEVNULL, **more)

    def guest_instructions(self, text):
        return sum(int(n.replace(',', '')) for n in re.findall(r'guest instrs: +([0-9,]+)', text))

    def test_a_program_counted_twice(self):
        """The totals are those of the text, and the fetches are those lackey itself counted."""
        self.lackey('/bin/true')
        with open(self.path('log')) as f:
            text = f.read()
        recount = Recount()
        recount.add(text)
        trace = self.check_imports([self.path('log')], recount)
        self.assertGreater(recount.lines['loads'], 1000)
        self.assertEqual(trace.totals['lackey.instructions'], self.guest_instructions(text))
        self.assertEqual(trace.totals['fetches'] - trace.totals['lackey.crossing-instructions'], self.guest_instructions(text))
        self.assertEqual(trace.events['start'], 1)
        self.assertEqual(trace.events['exit'], 1)
        self.assertGreater(trace.events['mmap'], 5)

    def test_several_processes_in_files_of_their_own(self):
        self.lackey('/bin/sh', '-c', self.SCRIPT, 'sh', self.path('out'), log='log.%p')
        logs = [self.path(n) for n in sorted(os.listdir(self.dir)) if n.startswith('log.')]
        recount = Recount()
        for log in logs:
            with open(log, errors='surrogateescape') as f:
                recount.add(f.read())
        trace = self.check_imports(logs, recount)
        self.assertEqual(trace.events['start'], 1)
        self.assertGreaterEqual(trace.events['fork'], 2)
        self.assertGreaterEqual(trace.events['exec'], 2)
        self.assertEqual(trace.events['exit'], trace.events['fork'] + 1)

    def test_several_processes_in_one_text(self):
        """Through one descriptor, as far as valgrind keeps lines whole: nothing is an error, and hardly anything is lost."""
        with open(self.path('log'), 'wb') as log:
            subprocess.run(['valgrind', '--tool=lackey', '--trace-mem=yes', '--trace-syscalls=yes', '--trace-children=yes',
                            f'--log-fd={log.fileno()}', '/bin/sh', '-c', self.SCRIPT, 'sh', self.path('out')], check=True,
                           stdout=subprocess.DEVNULL, pass_fds=[log.fileno()])
        with open(self.path('log'), errors='surrogateescape') as f:
            text = f.read()
        recount = Recount()
        recount.add(text)
        run('convert', self.path('log'), self.path('o.pgt'))
        t = Trace(self.path('o.pgt')).totals
        for kind, name in (('loads', 'loads'), ('stores', 'stores'), ('modifies', 'modifies'), ('fetches', 'instructions')):
            # Records salvaged from torn lines come on top.
            self.assertGreaterEqual(t['lackey.' + name], recount.lines[kind])
            self.assertLess(t['lackey.' + name], recount.lines[kind] * 1.001 + 20)

    def test_record_is_the_program_with_a_trace(self):
        trace = self.path('r.pgt')
        done = subprocess.run([PAGESIM, 'record', '-o', trace, '--', '/bin/sh', '-c', 'read x; echo "got $x"; echo oops >&2; (exit 3); '
                               'cat /dev/null; exit 7'], input=b'hello\n', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 7)
        self.assertEqual(done.stdout, b'got hello\n')
        self.assertEqual(done.stderr, b'oops\n')
        t = Trace(trace)
        self.assertEqual(t.events['start'], 1)
        self.assertEqual(t.events['fork'], 2)
        self.assertEqual(t.events['exec'], 1)
        self.assertEqual(t.events['exit'], 3)
        # Children's accesses are their own: the shell's half of the fork and cat's beginning are of different tasks.
        tasks = {line.split()[1] for line in t.text.splitlines() if line.startswith('@') and len(line.split()) == 2}
        self.assertEqual(tasks, {'0', '1', '2'})

    def test_record_asks_the_program_where_it_is_and_what_it_is(self):
        """Relative paths are below the folder it was started in; its image has its file's name, segment by segment."""
        self.write('input', 'x')
        trace = self.path('r.pgt')
        run('record', '-o', trace, '--', '/bin/sh', '-c', 'read x < input; sleep 0.2', cwd=self.dir)
        text = Trace(trace).text
        self.assertIn(f' open name={os.path.realpath(self.dir)}/input\n', text)
        image = re.findall(r'^@\d+ 0 mmap at=(\w+)\+(\d+) prot=(\d) flags=48 offset=(\d+) name=(.*)$', text, re.M)
        shell = [m for m in image if m[4] == os.path.realpath('/bin/sh')]
        self.assertGreaterEqual(len(shell), 2)
        self.assertEqual(len({m[3] for m in shell}), len(shell))
        self.assertLess(len(image), 40)

    def test_record_follows_programs_that_close_everything(self):
        trace = self.path('r.pgt')
        run('record', '-o', trace, '--', '/bin/bash', '-c',
            'n=$(ulimit -n); for ((fd = 3; fd < n + 40; fd = fd == 20 ? n - 10 : fd + 1)); do eval "exec $fd>&-"; done; /bin/true')
        events = Trace(trace).events
        self.assertEqual(events['exec'], 1)
        self.assertEqual(events['exit'], 1 + events['fork'])

    def test_record_passes_signals_on(self):
        run('record', '-o', self.path('r.pgt'), '--', '/bin/sh', '-c', 'kill -TERM $$', status=128 + 15)
        self.assertEqual(Trace(self.path('r.pgt')).events['exit'], 1)

    def test_a_program_that_is_not_there_leaves_no_trace(self):
        _, error = run('record', '-o', self.path('r.pgt'), '--', '/nonexistent/program', status=127)
        self.assertIn('nothing was recorded', error)
        self.assertFalse(os.path.exists(self.path('r.pgt')))


if __name__ == '__main__':
    if '--valgrind' in sys.argv:
        if not shutil.which('valgrind'):
            print('no valgrind here')
            sys.exit(77)
        suite = Valgrind
    else:
        suite = MadeUp
    done = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(suite))
    sys.exit(not done.wasSuccessful())
