# SPDX-License-Identifier: MIT
"""
Count what `meson test` did, from its testlog.json (one JSON object a line): prints "PASSED FAILED SKIPPED", then the name of
every test that failed, one a line. An empty or missing log is an error: no test ran, which is not the same as none failed.

    tally.py TESTLOG.json
"""
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}
SKIPPED = {"SKIP"}


def main():
    passed = skipped = 0
    failed = []
    try:
        with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
            for line in log:
                test = json.loads(line)
                if test["result"] in PASSED:
                    passed += 1
                elif test["result"] in SKIPPED:
                    skipped += 1
                else:
                    failed.append(test["name"])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"tally: {error}")
    if not passed + skipped + len(failed):
        sys.exit("tally: no test ran")
    print(passed, len(failed), skipped)
    for name in failed:
        print(name.replace(" ", ""))


main()
