#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""generate.py OUTDIR FIRST COUNT: random scripts of the trace language, numbered FIRST, FIRST + 1, ... A script follows
from its number alone. Only words that both pagesim and a real kernel have; what depends on things a script cannot control
(inode numbers under interleave, readahead, memory pressure) is left out. Each script gets a few themes, and statements of
those themes only, so that states become deep instead of broad; from number 5000 on scripts are longer and mix more, from 7000 on memory goes to swap and comes back. Every few statements everything is shown."""
import os, random, sys

THEMES = ['thp', 'file', 'disk', 'private', 'shared', 'mlock', 'pin', 'get', 'policy', 'remap', 'lazy', 'cut', 'interleave',
          'hugefile', 'prot', 'threads', 'soft', 'caches', 'truncate', 'holes', 'smaps', 'errors', 'poor', 'forkflags']


class Region:
    def __init__(self, name, pages, kind, path=None, at=0):
        self.name, self.pages, self.kind, self.path, self.at = name, pages, kind, path, at


class Script:
    def __init__(self, number):
        self.r = random.Random(number)
        r = self.r
        deep = number >= 5000
        self.length = r.randint(70, 120) if deep else r.randint(25, 55)
        self.themes = set(r.sample(THEMES, r.randint(7, 13) if deep else r.randint(3, 7)))
        if deep:
            self.themes.add('thp')
        if number >= 7000:
            self.themes.add('swap')
        if 'interleave' in self.themes:  # where shared pages are born depends on inode numbers
            self.themes -= {'shared', 'file', 'hugefile', 'disk', 'truncate', 'caches', 'private'}
        self.out = ['# random scenario %d: %s' % (number, ' '.join(sorted(self.themes)))]
        self.spaces, self.space_of, self.holds = {}, {}, {}
        self.nr, self.value, self.unprivileged, self.files = 0, 0, set(), {}
        self.threads, self.threaded = {}, set()

    def say(self, *words):
        self.out.append(' '.join(str(w) for w in words))

    def has(self, theme):
        return theme in self.themes

    # ---- choosing
    def task(self):
        return self.r.choice(sorted(self.space_of))

    def regions(self, t):
        return self.spaces[self.space_of[t]]

    def region(self, t):
        regions = [x for x in self.regions(t).values() if x.kind != 'reserved']
        return self.r.choice(regions) if regions else None

    def span(self, x, steps=True):
        r, n = self.r, x.pages
        k = r.random()
        if k < 0.3 or n == 1:
            return x.name
        if k < 0.5:
            return '%s[%d]' % (x.name, self.edge(n) if n >= 512 else r.randrange(n))
        a, b = sorted((self.edge(n + 1), self.edge(n + 1)))
        if a == b:
            return '%s[%d]' % (x.name, min(a, n - 1))
        if steps and k > 0.92 and b - a > 2:
            step = r.choice([2, 3, 5]) if n < 512 else r.choice([64, 100, 256])
            if b - a > step:
                return '%s[%d:%d:%d]' % (x.name, a, b, step)
        return '%s[%d:%d]' % (x.name, a, b)

    def edge(self, n):
        r = self.r
        if n > 512:
            return min(n - 1, r.choice([0, 1, 3, 100, 255, 256, 511, 512, 513, n - 1, n - 2, n // 2, r.randrange(n)]))
        return r.randrange(n)

    def node(self):
        if self.has('errors') and self.r.random() < 0.12:
            return self.r.choice([5, 7, 9, 1000, -2])
        return self.r.randrange(3)

    def nodes(self):
        if self.has('errors') and self.r.random() < 0.1:
            return self.r.choice(['9', '0,9', '5', '7,1'])
        return ','.join(str(n) for n in sorted(self.r.sample(range(3), self.r.choice([1, 1, 1, 2, 2, 3]))))

    def policy(self):
        kinds = ['default', 'bind', 'bind', 'preferred']
        if self.has('interleave'):
            kinds += ['interleave'] * 4
        k = self.r.choice(kinds)
        if k == 'default':
            return k
        return k + ' ' + (str(self.r.randrange(3)) if k == 'preferred' and self.r.random() < 0.9 else self.nodes())

    # ---- statements
    def mmap(self, t):
        r = self.r
        kinds = ['anon'] * 3 + ['thp'] * (4 if self.has('thp') else 0) + ['file'] * (3 if self.has('file') else 0) + \
            ['disk'] * (3 if self.has('disk') else 0) + ['shared'] * (2 if self.has('shared') else 0) + \
            ['hugefile'] * (3 if self.has('hugefile') else 0)
        kind = r.choice(kinds)
        self.nr += 1
        name, prot, extra = 'r%d' % self.nr, '', ''
        if self.has('prot') and r.random() < 0.3:
            prot = r.choice([' ro', ' none', ' rw'])
        if r.random() < (0.25 if self.has('holes') else 0.08):
            extra = ' populate'
        if kind == 'thp':
            size = r.choice(['2M', '2M', '4M'])
            pages = {'2M': 512, '4M': 1024}[size]
            if self.has('shared') and r.random() < 0.3:
                extra = ' shared' + prot + extra
            else:
                extra = prot + extra
            self.say(t, 'mmap', name, size, 'anon' + extra)
            self.say(t, 'madvise', name, 'hugepage')
            x = Region(name, pages, kind)
        elif kind in ('anon', 'shared'):
            pages = r.choice([1, 4, 8, 16, 32])
            self.say(t, 'mmap', name, '%dK' % (4 * pages), 'anon' + (' shared' if kind == 'shared' else '') + prot + extra)
            x = Region(name, pages, kind)
        else:
            at = r.choice([0, 0, 0, 1, 3]) if kind != 'hugefile' else r.choice([0, 0, 0, 512])
            pages = r.choice([4, 8, 16]) if kind != 'hugefile' else r.choice([512, 1024, 512, 700])
            path = {'file': '/t/', 'disk': '/d/', 'hugefile': '/t/'}[kind] + \
                (r.choice('fg') if kind != 'hugefile' else 'h')
            private = self.has('private') and r.random() < 0.45
            self.say(t, 'mmap', name, '%dK' % (4 * pages), 'file', path + (' at=%d' % at if at else '') +
                     (' private' if private else '') + prot + extra)
            self.files[path] = max(self.files.get(path, 0), at + pages)
            if kind == 'hugefile' and r.random() < 0.85:
                self.say(t, 'madvise', name, 'hugepage')
            x = Region(name, pages, kind, path, at)
        self.regions(t)[name] = x
        if r.random() < 0.8 and not extra:
            self.touch(t, x)

    def touch(self, t, x=None):
        x = x or self.region(t)
        if not x:
            return
        k = self.r.random()
        if k < 0.55:
            self.value += 1
            self.say(t, 'store', self.span(x), '=%d' % self.value)
        elif k < 0.8:
            self.say(t, 'load', self.span(x))
        else:
            self.say(t, 'check', self.span(x), '=%d' % self.value)

    def move(self, t):
        r = self.r
        x = self.region(t)
        if not x:
            return
        all_ = ' all' if r.random() < 0.4 else ''
        if r.random() < 0.15:
            items = []
            for _ in range(r.randint(2, 4)):
                y = self.region(t)
                items.append('%s[%d] to %d' % (y.name, self.edge(y.pages), self.node()))
            self.say(t, 'move_pages', ', '.join(items) + all_)
        else:
            self.say(t, 'move_pages', self.span(x), 'to', str(self.node()) + all_)

    def mbind(self, t):
        x = self.region(t)
        if x:
            if x.kind in ('file', 'hugefile', 'shared') and self.has('interleave'):
                return
            words = self.r.choice(['', '', ' move', ' move', ' move_all', ' strict', ' move strict', ' move_all strict'])
            self.say(t, 'mbind', self.span(x, steps=False), self.policy() + words)

    def migrate(self, t):
        if self.r.random() < 0.25:
            self.say(t, 'migrate_pages', self.r.choice(['0,1,2', '0,1', '1,2', '0,2']), 'to',
                     self.r.choice(['0,1,2', '1,0', '1,2', '0,2', '2', '1']))
        else:
            self.say(t, 'migrate_pages', self.nodes(), 'to', self.nodes())

    def range_verb(self, verb, *words):
        def emit(t):
            x = self.region(t)
            if x:
                self.say(t, verb, self.span(x), *(self.r.choice(w) for w in words))
        return emit

    def remap(self, t):
        x = self.region(t)
        if not x:
            return
        self.nr += 1
        name = 'd%d' % self.nr
        self.say(t, 'reserve', name, '%dK' % (4 * x.pages))
        r = self.r
        if r.random() < 0.5:
            self.say(t, 'mremap', x.name, 'to', name)
        else:
            a, b = sorted((self.edge(x.pages), self.edge(x.pages) + 1))
            a = min(a, b - 1)
            to = a if r.random() < 0.6 or x.pages < 512 else r.choice([0, 1, a])
            if to + b - a > x.pages:
                to = a
            self.say(t, 'mremap', '%s[%d:%d]' % (x.name, a, b), 'to', '%s[%d]' % (name, to))
        self.regions(t)[name] = Region(name, x.pages, x.kind)

    def hold(self, verb):
        def emit(t):
            x = self.region(t)
            if not x:
                return
            span = self.span(x, steps=False)
            self.say(t, verb, span)
            self.holds.setdefault(t, []).append((verb, span))
        return emit

    def unhold(self, t):
        held = self.holds.get(t)
        if held:
            verb, span = held.pop(self.r.randrange(len(held)))
            self.say(t, {'get': 'put', 'pin': 'unpin'}[verb], span)

    def fork(self, t):
        free = [n for n in 'BCDE' if n not in self.space_of]
        if not free or len(self.space_of) > 3:
            return
        child = free[0]
        if self.has('threads') and t not in self.threads and self.r.random() < 0.5:
            self.say(t, 'thread', child)
            self.space_of[child] = self.space_of[t]
            self.threads[child] = t
            self.threaded.add(self.space_of[t])
        elif self.space_of[t] not in self.threaded:  # the recorder cannot fork from a process of several threads
            self.say(t, 'fork', child)
            self.spaces[child] = dict(self.regions(t))
            self.space_of[child] = child
            if t in self.unprivileged:
                self.unprivileged.add(child)

    def exit(self, t):
        if t == 'A':
            return
        if any(self.space_of[o] == self.space_of[t] and o != t for o in self.space_of) and t not in self.threads:
            return
        self.say(t, 'exit')
        self.space_of.pop(t)
        self.threads.pop(t, None)
        self.holds.pop(t, None)
        self.unprivileged.discard(t)

    def privileges(self, t):
        if t != 'A' and t not in self.unprivileged and t not in self.threads:
            self.say(t, 'unprivileged')
            self.unprivileged.add(t)

    def file_verb(self, t):
        r = self.r
        paths = sorted(self.files) or ([p for p, th in (('/t/f', 'file'), ('/d/f', 'disk')) if self.has(th)])
        if not paths:
            return
        p = r.choice(paths)
        n = max(self.files.get(p, 8), 2)
        a, b = sorted((self.edge(n), self.edge(n) + 1))
        a = min(a, b - 1)
        k = r.random()
        if k < 0.4:
            self.value += 1
            if n > 64:
                b = min(b, a + 20)
            self.say(t, 'pwrite', '%s[%d:%d]' % (p, a, b), '=%d' % self.value)
            self.files[p] = max(self.files.get(p, 0), b)
        elif k < 0.6 and p in self.files:
            self.say(t, 'pread', '%s[%d:%d]' % (p, a, b))
        elif k < 0.75 and p in self.files:
            self.say(t, 'fsync', p)
        elif k < 0.9 and p in self.files:
            self.say(t, 'fadvise', p + r.choice(['', '', '[%d:%d]' % (a, b)]), 'dontneed')
        elif self.has('truncate'):
            self.say(t, 'truncate', p, r.choice([0, a, b, n // 2, n + 3]))
            self.files.setdefault(p, n)

    def kernel(self, t):
        self.say('kernel', self.r.choice(['drop_caches 1', 'drop_caches 1', 'drop_caches 2', 'drop_caches 3', 'vmstat', 'drain']))

    def show(self):
        for t in sorted(self.space_of):
            if t in self.threads:
                continue
            for x in self.regions(t).values():
                self.say(t, 'show', x.name)
                if self.has('smaps') and self.r.random() < 0.3:
                    self.say(t, 'smaps', self.span(x, steps=False))

    def smaps(self, t):
        x = self.region(t)
        if x:
            self.say(t, 'smaps', self.span(x, steps=False))

    def split(self, t):
        x = self.region(t)
        if x:
            self.say(t, 'split', self.span(x, steps=False))

    def cpu(self, t):
        self.say(t, 'cpu', self.r.randrange(2))

    def write(self):
        r = self.r
        menu = [(self.mmap, 8), (self.touch, 22), (self.move, 16), (self.migrate, 3), (self.fork, 4), (self.exit, 2),
                (self.cpu, 1), (self.range_verb('status'), 2), (self.range_verb('madvise', ['dontneed']), 2)]

        def add(theme, *items):
            if self.has(theme):
                menu.extend(items)
        advice = ['populate_read', 'populate_write', 'willneed']
        add('thp', (self.split, 3), (self.range_verb('madvise', ['hugepage', 'nohugepage']), 2))
        add('hugefile', (self.split, 2), (self.file_verb, 3))
        add('file', (self.file_verb, 5))
        add('disk', (self.file_verb, 7))
        add('truncate', (self.file_verb, 5), (self.range_verb('madvise', ['remove']), 3))
        add('mlock', (self.range_verb('mlock'), 5), (self.range_verb('munlock'), 3))
        add('pin', (self.hold('pin'), 5), (self.unhold, 4))
        add('get', (self.hold('get'), 5), (self.unhold, 4))
        add('policy', (self.mbind, 8), (lambda t: self.say(t, 'mempolicy', self.policy()), 3))
        add('interleave', (self.mbind, 8), (lambda t: self.say(t, 'mempolicy', self.policy()), 2))
        add('remap', (self.remap, 6))
        add('lazy', (self.range_verb('madvise', ['free', 'cold']), 6))
        add('cut', (self.range_verb('munmap'), 3), (self.range_verb('madvise', ['dontneed']), 4))
        add('prot', (self.range_verb('mprotect', ['none', 'ro', 'rw', 'rw']), 8))
        add('soft', (lambda t: self.say(t, 'clear_refs'), 4))
        add('caches', (self.kernel, 4))
        add('holes', (self.range_verb('madvise', advice), 6), (self.range_verb('load'), 4))
        add('threads', (self.fork, 2))
        add('poor', (self.privileges, 2), (self.fork, 1), (self.move, 4), (self.migrate, 3))
        add('forkflags', (self.range_verb('madvise', ['dontfork', 'dofork']), 4), (self.fork, 2))
        add('smaps', (self.smaps, 4))
        add('swap', (self.range_verb('madvise', ['pageout', 'pageout', 'pageout', 'willneed', 'free']), 16), (self.touch, 8),
            (self.fork, 2))
        self.space_of['A'], self.spaces['A'] = 'A', {}
        self.say('A', 'start' + r.choice(['', '', ' cpu=1']))
        self.mmap('A')
        functions, weights = zip(*menu)
        for _ in range(self.length):
            r.choices(functions, weights)[0](self.task())
            if r.random() < 0.22:
                self.show()
        self.show()
        while len(self.space_of) > 1 and r.random() < 0.7:
            self.exit(r.choice(sorted(set(self.space_of) - {'A'})))
            self.show()
        return '\n'.join(self.out) + '\n'


def main():
    outdir, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.makedirs(outdir, exist_ok=True)
    for number in range(first, first + count):
        with open('%s/%04d.pgs' % (outdir, number), 'w') as out:
            out.write(Script(number).write())


if __name__ == '__main__':
    main()
