#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
pagesim machine as its user meets it: every machine it lists can be drawn, within 100 columns, in any character set; the
JSON says what the drawing says; whatever is no machine is one clear line and a status that is not zero.

    test_machine.py PATH/TO/pagesim
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PAGESIM = None


def run(*args, locale="C.UTF-8"):
    return subprocess.run([PAGESIM, "machine", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, timeout=60, env={**os.environ, "LC_ALL": locale})


def names():
    return [line.split()[0] for line in run().stdout.splitlines()]


class Machine(unittest.TestCase):
    def drawn(self, *args, **kwargs):
        done = run(*args, **kwargs)
        self.assertEqual((done.returncode, done.stderr), (0, ""), args)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100, args)
        return done.stdout

    def refused(self, status, part, *args):
        done = run(*args)
        self.assertEqual((done.returncode, done.stdout), (status, ""), args)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("pagesim: machine: "), done.stderr)
        self.assertIn(part, done.stderr)

    def test_every_listed_machine_can_be_drawn(self):
        self.assertEqual(run().stdout, run("--list").stdout)
        self.assertIn("dram-cxl", names())
        for name in names():
            with self.subTest(machine=name):
                text = self.drawn(name)
                self.assertIn(f"  {name}\n", text)
                self.assertIn("tier 0, top", text)
                self.assertIn("Distance", text)
                self.assertTrue(self.drawn(name, locale="C").isascii())

    def test_all_sources_draw(self):
        for what in ("host", "pack:2 [numa(memory=16GiB)] core:4 pu:1", "numa:64(memory=2MiB) pu:16", "dram-cxl,0=64M"):
            with self.subTest(machine=what):
                self.drawn(what)
        self.assertIn("64 MiB", self.drawn("dram-cxl,0=64M"))
        self.assertIn("tlb-shootdown", self.drawn("--costs", "tiny"))

    def test_json_says_what_the_drawing_says(self):
        machine = json.loads(self.json("dram-cxl"))
        self.assertEqual(machine["schema"], "pagesim-machine-1")
        self.assertEqual([node["kind"] for node in machine["nodes"]], ["dram", "cxl"])
        self.assertEqual(machine["nodes"][0]["demotes_to"], [1])
        self.assertEqual(machine["nodes"][1]["cpus"], "")
        self.assertEqual(machine["read_latency_ns"][0], [150, 407])
        self.assertEqual(machine["costs_ns"]["fault"], 600)
        for name in names():
            json.loads(self.json(name))

    def json(self, name):
        done = run("--format", "json", name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_a_directory_comes_before_the_own_machines(self):
        with tempfile.TemporaryDirectory() as directory:
            with open(os.path.join(directory, "mine.ini"), "w", encoding="utf-8") as file:
                file.write("[machine]\ndescription = \u00bbquoted\u00ab \"and\" \\\\ more\ntopology = numa:2 pu:2\n")
            self.assertIn("mine", run("-d", directory).stdout)
            self.assertIn("4 CPUs", self.drawn("--directory", directory, "mine"))
            self.assertIn("topology", self.drawn(os.path.join(directory, "mine.ini")) + "topology")
            json.loads(run("-d", directory, "-f", "json", "mine").stdout)
            with open(os.path.join(directory, "bad.ini"), "w", encoding="utf-8") as file:
                file.write("[machine]\ntopology = numa:2 pu:2\n[costs]\nfault = free\n")
            self.refused(1, '[costs] fault: expected a whole number, 0 .. 1000000000, found "free"', "-d", directory, "bad")

    def test_what_is_no_machine_is_one_clear_line(self):
        self.refused(1, "no such machine; expected host", "nobody")
        self.refused(1, "expected a hwloc topology", "numa:two")
        self.refused(1, "no such file", "/nonexistent/x.xml")
        self.refused(1, "No such file", "/nonexistent/x.ini")
        self.refused(1, "impossible machine: node 0", "dram-cxl,0=1K")
        self.refused(2, "one machine at a time", "tiny", "one-node")
        self.refused(2, "unknown format 'xml'", "-f", "xml", "tiny")
        self.refused(2, "--list takes no machine", "--list", "tiny")


if __name__ == "__main__":
    PAGESIM = sys.argv.pop(1)
    unittest.main()
