#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The guest and pagesim read scripts with the same parser: every golden script and a list of bad ones mean the same to both,
word for word, errors included.

    test_parser.py PATH/TO/pagesim PATH/TO/oracle-init PATH/TO/tests/golden
"""
import glob
import os
import subprocess
import sys
import tempfile
import unittest

PAGESIM = INIT = GOLDEN = None

BAD = ["A strat\n", "A start\nA mmap r 63K anon\n", "A start\nA store r[4:4]\n", "A start\nend\n", "A start now\n",
       "A start\nA madvise r gently\n", "A start\nA \x7f\n", "A start # fine\nkernel boil\n", "A start\nA mmap r 4K file /etc/passwd\n",
       "A start\nA move_pages r[0] to\n"]


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60)


class Parser(unittest.TestCase):
    def parsed(self, path):
        done = run(INIT, "--parse", path)
        self.assertEqual(done.stderr, b"")
        return done.stdout.decode()

    def test_golden_scripts_are_read_as_recorded(self):
        """Expect the statements of the transcript, all of them, in order; up to where it ends in an error."""
        outs = glob.glob(f"{GOLDEN}/**/*.out", recursive=True)
        self.assertGreater(len(outs), 100)
        for out in outs:
            with open(out, encoding="utf-8") as f:
                lines = f.readlines()
            wanted = [line for line in lines if line.startswith("> ")]
            parsed = self.parsed(out.removesuffix(".out") + ".pgs").splitlines(True)
            ended = lines[-1].startswith(os.path.basename(out).removesuffix(".out") + ".pgs:")
            self.assertEqual(parsed[:len(wanted)] if ended else parsed, wanted, out)

    def test_bad_scripts_get_the_same_message(self):
        with tempfile.TemporaryDirectory() as folder:
            for number, text in enumerate(BAD):
                path = os.path.join(folder, f"bad{number}.pgs")
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
                guest = self.parsed(path).splitlines()[-1]
                here = run(PAGESIM, "replay", path, "--machine", "linux-6.1").stderr.decode().strip()
                with self.subTest(script=text):
                    self.assertIn(f"bad{number}.pgs:", guest)
                    self.assertEqual(guest.split(f"bad{number}.pgs:")[1], here.split(f"bad{number}.pgs:")[1])

    def test_outside_of_a_guest_it_does_nothing_else(self):
        for arguments in ([], ["--own-node"], ["--parse"]):
            done = run(INIT, *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, b""))
            self.assertIn(b"--parse", done.stderr)
        done = run(INIT, "--parse", "/no/such/file.pgs")
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"/no/such/file.pgs: cannot read", done.stderr)


if __name__ == "__main__":
    GOLDEN, INIT, PAGESIM = sys.argv.pop(), sys.argv.pop(), sys.argv.pop()
    unittest.main()
