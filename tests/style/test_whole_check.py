#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Tests of tools/check and tools/dev as a whole, on a project of one C file: CI believes their last line and their exit status, so
these must be true whatever happens before.

    test_whole_check.py PATH/TO/tools
"""
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

TOOLS = None


class WholeCheck(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="pagesim-check-")
        self.addCleanup(shutil.rmtree, self.root)
        os.mkdir(os.path.join(self.root, "tools"))
        for name in ("check", "dev", "lib.sh", "tally.py", "tree.py", "check-docs"):
            shutil.copy(os.path.join(TOOLS, name), os.path.join(self.root, "tools"))
        self.write("meson.build", """\
            project('tiny', 'c', default_options: ['warning_level=2'])
            run = executable('run', 'run.c')
            test('good', run)
            test('skipped', run, args: ['77'])
            custom_target('page', output: 'pagesim.1', command: ['touch', '@OUTPUT@'])
            subdir('docs')
            """)
        self.write("docs/meson.build", "custom_target('page2', output: 'pagesim.1', command: ['touch', '@OUTPUT@'])\n")
        self.write("run.c", """\
            #include <stdlib.h>
            int main(int argc, char **argv)
            {
            	return argc > 1 ? atoi(argv[1]) : 0;
            }
            """)

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(textwrap.dedent(text))

    def append(self, path, text):
        with open(os.path.join(self.root, path), "a", encoding="utf-8") as f:
            f.write(text)

    def check(self, *command):
        environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CFLAGS", "LD_LIBRARY_PATH", "MALLOC_PERTURB_")}
        done = subprocess.run([os.path.join(self.root, "tools", command[0]), *command[1:]], stdin=subprocess.DEVNULL, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.returncode, done.stdout.splitlines()[-1], done.stdout

    def test_all_well(self):
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last), (0, "2 passed, 0 failed, 2 skipped"), output)

    def test_test_that_fails_under_every_build_counts_each_time(self):
        self.append("meson.build", "test('bad', run, args: ['3'])\n")
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last), (1, "2 passed, 2 failed, 2 skipped"), output)
        self.assertIn("\n  gcc: bad\n  asan: bad\n", output)

    def test_fault_that_only_a_sanitizer_sees_fails(self):
        self.append("run.c", "__attribute__((constructor)) static void f(void) { volatile int x = 2147483647; x = x + 1; }\n")
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last), (1, "1 passed, 2 failed, 1 skipped"), output)
        self.assertIn("signed integer overflow", output)

    def test_warning_is_a_failure_and_the_rest_still_runs(self):
        self.append("run.c", "static int unused(void) { return 0; }\n")
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last), (1, "1 passed, 2 failed, 1 skipped"), output)
        self.assertIn("gcc: does not build", output)
        self.assertIn("clang: does not build", output)

    def test_project_that_cannot_be_configured_is_a_failure(self):
        self.append("meson.build", "dependency('no-such-thing')\n")
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last.split(",")[0]), (1, "0 passed"), output)
        self.assertNotIn("0 failed", last)
        self.assertIn("gcc: cannot be configured", output)

    def test_document_in_disorder_is_a_failure(self):
        self.write("README.md", "[gone](gone.md)\n")
        status, last, output = self.check("check", "--no-deps")
        self.assertEqual((status, last), (1, "2 passed, 1 failed, 2 skipped"), output)

    def test_dev_runs_what_it_is_asked_to(self):
        status, last, output = self.check("dev", "good")
        self.assertEqual((status, last), (0, "1 passed, 0 failed, 0 skipped"), output)
        status, last, output = self.check("dev", "no-such-test")
        self.assertEqual((status, last), (1, "0 passed, 1 failed, 0 skipped"), output)
        status, last, output = self.check("dev", "--frobnicate")
        self.assertEqual(status, 2, output)


if __name__ == "__main__":
    TOOLS = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
