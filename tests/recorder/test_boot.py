#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The real thing: a handful of golden scripts played on the kernel in the cache, compared with what was recorded; and pagesim verify
--on-linux over them. Skipped (exit status 77) where there is no emulator, or no kernel has been fetched: nothing is
installed or fetched for a test.

    test_boot.py SOURCE PATH/TO/pagesim
"""
import os
import subprocess
import sys
import tempfile

SCRIPTS = ["golden/anon-move", "golden/errors", "golden/swap-thp", "golden/pin-pages", "golden/ext4-file", "golden/splits"]
# A process of several threads forks and ends before its children: whoever waits for descriptors to close waits for ever.
FAMILY = """A start
A mmap r 16K anon
A store r =1
A thread T
T fork B
A fork C
A exit
B thread U
U fork D
B exit
C check r =1
D check r =1
D exit
C exit
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def run(*command):
    print("$", " ".join(command), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, check=False)
    print(done.stdout, flush=True)
    return done


def main():
    source, pagesim = sys.argv[1:]
    oracle = os.path.join(source, "tools", "oracle")
    ready = run(oracle, "--prepare", "--no-install", "--pagesim", pagesim)
    if ready.returncode:
        why = ready.stdout.strip().splitlines()[-1]
        assert "must be installed first" in why or "has not been fetched" in why, "the oracle cannot be made ready"
        skip(why)
    with open(os.path.join(source, "tests/golden/linux-6.1/golden/anon-move.out"), encoding="utf-8") as f:
        recorded_on = f.readline().split(",")[0]
    golden = [os.path.join(source, "tests/golden/linux-6.1", name + ".pgs") for name in SCRIPTS]
    with tempfile.TemporaryDirectory() as folder:
        family = os.path.join(folder, "family.pgs")
        with open(family, "w", encoding="utf-8") as f:
            f.write(FAMILY)
        done = run(oracle, "--no-install", "--pagesim", pagesim, "--output", folder, "--timeout", "120", family, *golden)
        assert done.returncode == 0, "some script was lost"
        for path in golden:
            name = os.path.basename(path).replace(".pgs", ".out")
            with open(path.replace(".pgs", ".out"), encoding="utf-8") as f:
                want = f.read()
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                have = f.read()
            if have.split(",")[0] != recorded_on:
                skip(f"the kernel in the cache is another ({have.splitlines()[0]}), and may behave otherwise")
            assert have == want, f"{name} is not what was recorded"
        with open(os.path.join(folder, "family.out"), encoding="utf-8") as f:
            assert f.read().count("  = 0\n") == 3, "mmap and two checks"
        done = run(pagesim, "verify", "--on-linux", family, golden[0])
        assert done.returncode == 0 and "2 agree, 0 differ, 0 not supported of 2" in done.stdout, "verify --on-linux"


main()
