#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
pagesim replay as its user meets it: the same bytes for the same input, the formats, scripts, standard input, and every way an
input can be bad. A bad input ends with one line on standard error and status 1 (2 for the command line), never with a signal
or a hang, and what was printed before stays.

    test_replay.py PATH/TO/pagesim
"""
import csv
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

PAGESIM = None

HEAD = "# pagesim bulk trace 1\nsource test\ncommand by hand\ncreated-by test\nnote\nclock accesses\nfold 1\n"
START = "@0 0 start other=- pid=1 tid=1 name=prog\n@0 0 mmap at=100+1000 prot=3 flags=0 offset=0 name=\n"


def run(*args, data=None, timeout=120):
    return subprocess.run([PAGESIM, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                          **({} if data is not None else {"stdin": subprocess.DEVNULL}))


def body(accesses, seed=1, pages=1000, fold=1):
    """A few thousand random accesses as bulk text; @fold makes them take time."""
    rng = random.Random(seed)
    lines = []
    for at in range(0, accesses, 500):
        lines.append(f"@{at}+500 0\n")
        lines += [f" {0x100 + rng.randrange(pages):x} {rng.choice('rw')}{fold * rng.randrange(1, 4)}\n" for _ in range(500)]
    return START + "".join(lines) + "@%d 0 exit\n" % accesses


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name, content=None):
        path = os.path.join(self.folder.name, name)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content.encode() if isinstance(content, str) else content)
        return path

    def trace(self, text=None, name="t.pgt", *convert):
        """A binary trace of the text."""
        source = self.path(name + ".txt", HEAD + (body(5000) if text is None else text) + "end\n")
        done = run("convert", *convert, source, self.path(name))
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.path(name)

    def good(self, *args, **kwargs):
        done = run("replay", *args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def bad(self, says, *args, status=1, **kwargs):
        """One complaint that says so. Returns what was printed."""
        done = run("replay", *args, **kwargs)
        lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("host ")]
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(len(lines), 1, done.stderr)
        self.assertTrue(lines[0].startswith("pagesim: replay: "), lines[0])
        self.assertIn(says, lines[0])
        return done.stdout


class Output(Case):
    def test_same_input_same_bytes(self):
        trace = self.trace(body(20000, 1, 1000, 500))
        for fmt in ("table", "json", "csv", "vmstat"):
            args = [trace, "--format", fmt, "--machine", "dram-cxl,0=2M,1=16M", "--policy",
                    "numa-balancing,mode=2,scan_delay=0,scan_period_min=1,scan_size=1", "--interval", "1ms", "--seed", "7"]
            first = self.good(*args)
            self.assertTrue(first)
            self.assertEqual(first, self.good(*args), fmt)
            with open(trace, "rb") as f:
                self.assertEqual(first.replace(trace.encode(), b"-"),
                                 self.good(*(["-"] + args[1:]), data=f.read()).replace(b"<standard input>", b"-")
                                 .replace(b"standard input", b"-"), fmt)

    def test_host_figures_stay_out_of_standard_output(self):
        trace = self.trace()
        done = run("replay", trace)
        self.assertNotIn(b"host", done.stdout)
        self.assertRegex(done.stderr, rb"\Ahost speed: [\d,]+ accesses/s \([\d.]+ s\)\n"
                                      rb"host memory: \d+ bytes per resident page \([\d.]+ .iB\)\n\Z")
        done = run("replay", trace, "--host")
        self.assertIn(b"host speed: ", done.stdout)
        self.assertEqual(done.stderr, b"")
        for fmt in ("json", "csv", "vmstat"):
            done = run("replay", trace, "--format", fmt)
            self.assertNotIn(b"host", done.stdout)
            self.assertEqual(done.stderr, b"")
        self.assertIn("bytes_per_resident_page", json.loads(self.good(trace, "--format", "json", "--host"))["runs"][0]["host"])

    def test_formats_agree(self):
        trace = self.trace()
        other = self.trace(body(1000, 2), "other.pgt")
        args = [trace, other, "--interval", "100us"]
        runs = json.loads(self.good(*args, "--format", "json"))
        self.assertEqual(runs["schema"], "pagesim.report/1")
        runs = runs["runs"]
        self.assertEqual([r["trace"]["name"] for r in runs], [trace, other])
        rows = list(csv.DictReader(io.StringIO(self.good(*args, "--format", "csv").decode())))
        vmstat = self.good(*args, "--format", "vmstat").decode().split("# ")
        self.assertEqual(len(vmstat), 3)
        for index, r in enumerate(runs):
            mine = [row for row in rows if row["trace"] == r["trace"]["name"]]
            self.assertEqual([row["kind"] for row in mine], ["interval"] * (len(mine) - 1) + ["total"])
            columns = r["intervals"]["columns"]
            self.assertEqual([list(map(int, (row[c] for c in columns))) for row in mine[:-1]], r["intervals"]["rows"])
            total = mine[-1]
            self.assertEqual(int(total["accesses"]), r["accesses"]["total"])
            self.assertEqual(int(total["end_ns"]), r["elapsed_ns"])
            self.assertEqual(sum(int(row["accesses"]) for row in mine[:-1]), r["accesses"]["total"])
            self.assertEqual(sum(r["faults"].values()), int(total["faults"]))
            self.assertEqual(r["accesses"]["memory"], r["trace"]["records"])
            self.assertEqual(sum(r["program_time"].values()), r["elapsed_ns"])
            counters = dict(line.rsplit(" ", 1) for line in vmstat[index + 1].splitlines()[1:] if line)
            self.assertEqual({k: int(v) for k, v in counters.items()}, r["vmstat"])

    def test_pressure_promotes_and_demotes_and_holds_all_invariants(self):
        trace = self.trace(START.replace("+1000", "+2000") + body(20000, 3, 1900, 900)[len(START):])
        out = json.loads(self.good(trace, "--format", "json", "--check", "--machine", "dram-cxl,0=4M,1=16M", "--policy",
                                   "numa-balancing,mode=2,scan_delay=0,scan_period_min=1,scan_size=1", "--interval", "1ms"))
        r = out["runs"][0]
        self.assertGreater(r["migration"]["moved_pages"], 0)
        self.assertGreater(r["migration"]["demoted_pages"], 0)
        self.assertGreater(r["machine"]["nodes"][1]["reads"], 0)
        self.assertGreater(r["accesses"]["lost_ns"], 0)
        self.assertGreater(r["kernel_time"]["reclaim_ns"], 0)

    def test_contents_and_generation_are_taken(self):
        trace = self.trace()
        for contents in ("none", "tag", "bytes"):
            out = json.loads(self.good(trace, "--format", "json", "--contents", contents, "--generation", "6.3-batch"))
            self.assertEqual(out["runs"][0]["settings"]["contents"], contents)
            self.assertEqual(out["runs"][0]["settings"]["generation"], "6.3-batch")


class Scripts(Case):
    SCRIPT = "machine tiny\nA start\nA mmap r 8K anon   # two pages\nA store r =7\nA show r\n"

    def test_a_script_prints_its_transcript_from_a_file_and_from_a_pipe(self):
        out = self.good(self.path("s.pgs", self.SCRIPT))
        self.assertTrue(out.startswith(b"> machine tiny\n> A start\n> A mmap r 8K anon\n"), out)
        self.assertIn(b"> A show r\n  [0:2] node=0 ", out)
        self.assertEqual(out, self.good("-", data=self.SCRIPT.encode()))

    def test_a_script_inside_a_binary_trace_is_a_script(self):
        script = self.path("s.pgs", self.SCRIPT)
        self.assertEqual(run("convert", script, self.path("s.pgt")).returncode, 0)
        self.assertEqual(self.good(self.path("s.pgt")), self.good(script))

    def test_the_machine_of_the_command_line_wins(self):
        script = self.path("s.pgs", "A start\nkernel nodes\n")
        self.assertIn(b"> kernel nodes\n", self.good(script))
        self.bad("no such machine", script, "--machine", "no-such-machine")

    def test_an_error_is_the_last_line_and_the_rest_stays(self):
        for text in ("A start\nB exit\nA exit\n", "A start\nA frobnicate\n"):
            out = self.bad("s.pgs:2: ", self.path("s.pgs", text))
            self.assertTrue(out.startswith(b"> A start\n"), out)
            self.assertIn(b"s.pgs:2: ", out.splitlines()[-1])
        self.bad("2: ", "-", data=b"A start\nA frobnicate\n")

    def test_options_of_traces_are_refused(self):
        script = self.path("s.pgs", self.SCRIPT)
        for option in (["--policy", "none"], ["--format", "json"], ["--interval", "1ms"], ["--host"], ["--contents", "tag"]):
            self.assertEqual(self.bad("is a script", script, *option, status=2), b"")


class BadInput(Case):
    def test_words_of_the_command_line(self):
        trace = self.trace()
        for says, args in (
                ("expected a trace", []),
                ("unknown policy 'tpp'", [trace, "--policy", "tpp"]),
                ("expected PARAM=NUMBER", [trace, "--policy", "numa-balancing,x=1"]),
                ("expected a number from 1 to 3", [trace, "--policy", "numa-balancing,mode=9"]),
                ("expected a generation (6.1, ", [trace, "--generation", "7.0"]),
                ("expected a format (table, json, csv, vmstat), found 'xml'", [trace, "--format", "xml"]),
                ("expected contents (none, tag, bytes), found 'all'", [trace, "--contents", "all"]),
                ("expected a number as seed, found 'x'", [trace, "--seed", "x"]),
                ("expected a time as interval (10ms, 1s), found '0'", [trace, "--interval", "0"]),
                ("expected a time as interval (10ms, 1s), found 'soon'", [trace, "--interval", "soon"])):
            with self.subTest(args=args[1:]):
                self.assertEqual(self.bad(says, *args, status=2), b"")

    def test_machines_that_cannot_be(self):
        trace = self.trace()
        ini = self.path("m.ini", "[node 0]\nsize = 1G\ncpus = 0\n[read-latency]\nnode 0 = 0\n")
        for says, machine in (("no such machine", "no-such"), ("m.ini", ini), ("", "pack:0 pu:0"),
                              ("", "dram-cxl,9=1G"), ("", self.path("no.ini")), ("", "dram-cxl,0=99999999999T")):
            with self.subTest(machine=machine):
                self.assertEqual(self.bad(says, trace, "--machine", machine), b"")

    def test_files_that_are_no_traces(self):
        binary = bytes(random.Random(1).randrange(256) for _ in range(100000))
        for says, path in (("No such file", self.path("missing")), ("", self.folder.name), ("empty", self.path("empty", b"")),
                           ("", self.path("junk", binary)), ("", self.path("zeroes", bytes(5000))),
                           ("", self.path("words", "hello world\n")),
                           ("", self.path("lackey", "==1== Lackey\n==1== Command: x\nI  04001000,3\n L 1ffeffe7e8,8\n"))):
            with self.subTest(path=path):
                self.bad(says, path)
        self.bad("", "-", data=binary)
        self.bad("", "-", data=b"")

    def test_more_memory_than_there_is(self):
        trace = self.trace()
        out = self.bad("out of simulated memory (node 0: ", trace, "--machine", "one-node,0=2M", "--format", "json")
        r = json.loads(out)["runs"][0]
        self.assertFalse(r["trace"]["complete"])
        self.assertIn("after %d accesses" % r["accesses"]["total"], r["trace"]["stopped"])
        self.assertGreater(r["trace"]["records"], 100)

    def test_a_bad_second_trace_leaves_the_first(self):
        trace = self.trace()
        alone = self.good(trace)
        self.assertEqual(self.bad("missing", trace, self.path("missing"), trace), alone)
        document = json.loads(self.bad("missing", trace, self.path("missing"), "--format", "json"))
        self.assertEqual(len(document["runs"]), 1)

    def test_a_newer_format_is_refused_by_name(self):
        with open(self.trace(), "rb") as f:
            raw = bytearray(f.read())
        text = self.path("t.txt", HEAD.replace("trace 1", "trace 99") + "end\n")
        self.bad("newer", text)
        refused = 0
        for at in range(4, 16):  # the version is one of the first fields; damage elsewhere is another error
            changed = bytearray(raw)
            changed[at] = 99
            done = run("replay", self.path("newer.pgt", bytes(changed)))
            self.assertEqual(done.returncode, 1)
            refused += b"newer" in done.stderr
        self.assertGreater(refused, 0)

    def small(self):
        text = START + "@0+9 0\n" + "".join(f" {0x100 + i:x} w1\n" for i in range(9)) + "@9 0 munmap at=100+9\n"
        with open(self.trace(text, "small.pgt"), "rb") as f:
            return f.read()

    def test_every_cut_of_a_small_trace(self):
        raw = self.small()
        whole = self.good(self.path("whole.pgt", raw), "--format", "csv").splitlines()[-1].split(b",")
        seen = set()
        for n in range(len(raw)):
            out = self.bad("", self.path("cut.pgt", raw[:n]), "--format", "csv")
            for line in out.splitlines()[1:]:
                fields = line.split(b",")
                self.assertEqual(fields[2], b"partial")
                self.assertLessEqual(int(fields[5]), int(whole[5]))
                seen.add(int(fields[5]))
        self.assertIn(int(whole[5]), seen)  # cut behind the accesses: they count

    def test_every_byte_of_a_small_trace_flipped(self):
        raw = self.small()
        for n in range(len(raw)):
            changed = bytearray(raw)
            changed[n] ^= 1 << n % 8
            self.bad("", self.path("flipped.pgt", bytes(changed)), "--format", "csv")

    def test_an_impossible_trace_says_where(self):
        for says, text in (("task 0 does something after its end", "@0 0 exit\n@5 0\n 100 r1\n"),
                           ("an address space of this machine ends", "@5 0\n ffffffffffff r1\n")):
            out = self.bad(says, self.trace(START + "@0 0\n 100 w1\n 101 w1\n" + text, "i.pgt"), "--format", "csv")
            self.assertEqual(out.splitlines()[-1].split(b",")[2], b"partial")
            self.assertEqual(out.splitlines()[-1].split(b",")[5], b"2")

    def test_an_interval_too_short_for_the_run(self):
        trace = self.trace(START + "".join(f"@{i} 0\n 100 r9999\n" for i in range(3)))
        self.good(trace, "--interval", "1")


if __name__ == "__main__":
    PAGESIM = sys.argv[1]
    del sys.argv[1:2]
    unittest.main(verbosity=2)
