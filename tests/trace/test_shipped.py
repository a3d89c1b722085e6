#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The recordings that come with pagesim: each can be read to its end, is what its note says it is, and is small enough.

  test_shipped.py PAGESIM FOLDER
"""
import os
import re
import subprocess
import sys
import unittest

PAGESIM, FOLDER = sys.argv[1:3]
NAMES = sorted(n[:-4] for n in os.listdir(FOLDER) if n.endswith('.pgt'))


def info(name):
    return subprocess.run([PAGESIM, 'info', os.path.join(FOLDER, name + '.pgt')], check=True, stdout=subprocess.PIPE,
                          encoding='utf-8').stdout


class Shipped(unittest.TestCase):
    def test_there_are_some_and_they_are_small(self):
        self.assertGreaterEqual(len(NAMES), 3)
        size = sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(FOLDER) for f in files)
        self.assertLess(size, 20 << 20)

    def test_each_is_what_its_note_says(self):
        for name in NAMES:
            with self.subTest(name):
                with open(os.path.join(FOLDER, name + '.md'), encoding='utf-8') as f:
                    note = f.read()
                said = [line.strip() for line in note.split('says:')[1].splitlines() if line.strip()]
                found = [line.strip() for line in info(name).splitlines()]
                self.assertGreater(len(said), 4)
                for line in said:
                    self.assertIn(line, found)
                self.assertIn('- Command: `', note)
                self.assertIn('- Program: ', note)
                self.assertIn('- Input: `', note)

    def test_a_record_takes_less_than_two_bytes(self):
        for name in NAMES:
            with self.subTest(name):
                self.assertLess(float(re.search(r'([0-9.]+) bytes per record', info(name))[1]), 2)


if __name__ == '__main__':
    done = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(Shipped))
    sys.exit(not done.wasSuccessful())
