#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
What every command of the CLI does alike: help on standard output, one line on standard error that names the command,
exit status 2 for a command line that makes no sense. Runs over whatever commands the CLI under test lists.

    test_frame.py PATH/TO/pagesim PATH/TO/docs/commands
"""
import os
import re
import subprocess
import sys
import unittest

PAGESIM = None
MANUAL = None


def run(*args, **kwargs):
    kwargs.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([PAGESIM, *args], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=60, **kwargs)


def commands():
    """The names below "Commands:" in the overview."""
    lines = run("--help").stdout.splitlines()
    return [line.split()[0] for line in lines[lines.index("Commands:") + 1:]]


class Frame(unittest.TestCase):
    def expect_usage_error(self, done, start):
        self.assertEqual(done.returncode, 2, done)
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith(start), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_overview_lists_the_commands_on_standard_output(self):
        for args in (["--help"], ["-h"], ["help"]):
            done = run(*args)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("Usage: pagesim COMMAND", done.stdout)
            self.assertIn("  help ", done.stdout)

    def test_no_command_is_a_usage_error_that_shows_the_overview(self):
        done = run()
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("Usage: pagesim COMMAND", done.stderr)

    def test_version_is_the_project_s(self):
        self.assertRegex(run("--version").stdout, r"\Apagesim \d+\.\d+\.\d+\n\Z")

    def test_every_command_explains_itself(self):
        for name in commands():
            with self.subTest(command=name):
                done = run(name, "--help")
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertIn(f"pagesim {name}", done.stdout.splitlines()[1])
                self.assertEqual(run("help", name).stdout, done.stdout)

    def test_every_command_refuses_an_option_it_does_not_know(self):
        for name in commands():
            with self.subTest(command=name):
                self.expect_usage_error(run(name, "--no-such-option"), f"pagesim: {name}: ")

    def test_manual_and_help_know_the_same_options(self):
        for name in commands():
            with self.subTest(command=name):
                helped = set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", run(name, "--help").stdout, re.M)) - {"--help"}
                with open(os.path.join(MANUAL, name + ".scd"), encoding="utf-8") as f:
                    documented = set(re.findall(r"\*(--[\w-]+)\*", "".join(re.findall(r"^\*-.*$", f.read(), re.M))))
                self.assertEqual(helped, documented, f"--help of {name} and docs/commands/{name}.scd")

    def test_slip_of_the_fingers_is_met_with_the_nearest_name(self):
        for slip in ("hepl", "hlp", "helpp", "hekp"):
            with self.subTest(slip=slip):
                done = run(slip)
                self.expect_usage_error(done, f"pagesim: unknown command '{slip}'")
                self.assertIn("did you mean 'help'?", done.stderr)
        for name in commands():
            with self.subTest(command=name):
                self.assertIn(f"did you mean '{name}'?", run(name + "x").stderr)

    def test_word_that_resembles_nothing_gets_no_guess(self):
        for word in ("", "qqqqqqqqqqqq", "x" * 5000, "\u00e4\u00f6\u00fc\u00df\u00e4\u00f6"):
            with self.subTest(word=word[:20]):
                done = run(word)
                self.expect_usage_error(done, "pagesim: unknown command '")
                self.assertNotIn("did you mean", done.stderr)

    def test_unknown_option_before_the_command_is_refused(self):
        self.expect_usage_error(run("--frobnicate"), "pagesim: unknown option '--frobnicate'")

    def test_words_behind_two_dashes_are_arguments(self):
        self.assertEqual(run("help", "--", "help").stdout, run("help", "--help").stdout)
        self.expect_usage_error(run("help", "--", "--help"), "pagesim: unknown command '--help'")
        self.expect_usage_error(run("help", "--", "--", "x"), "pagesim: help: one command at a time")

    @unittest.skipUnless(os.path.exists("/dev/full"), "no /dev/full")
    def test_output_that_cannot_be_written_is_a_failure(self):
        for args in (["--help"], ["--version"], ["help"]):
            with self.subTest(args=args), open("/dev/full", "w") as full:
                done = run(*args, stdout=full)
                self.assertEqual(done.returncode, 1)
                self.assertIn("cannot write to standard output: No space left on device", done.stderr)


if __name__ == "__main__":
    PAGESIM, MANUAL = sys.argv[1:3]
    del sys.argv[1:3]
    unittest.main(verbosity=2)
