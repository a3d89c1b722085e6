# SPDX-License-Identifier: MIT
"""
What the checks of tools/ share: which files the project has, what the layers are, and how a finding is reported.

A finding is one line `FILE:LINE: what is wrong and what would be right`, on standard output; a check that found anything
exits with 1. Every check takes --root DIR, so that its own tests can show it a tree with a planted fault.
"""
import argparse
import os
import re
import subprocess
import sys

SKIPPED_FOLDERS = re.compile(r"^(build.*|\.git|__pycache__|subprojects)$")
SKIP = 77


def parse_arguments(doc, extra=()):
    """Options every check has. @extra: (args, kwargs) of further add_argument() calls."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", metavar="DIR", default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                        help="the tree to look at (default: the one this script lies in)")
    for args, kwargs in extra:
        parser.add_argument(*args, **kwargs)
    options = parser.parse_args()
    options.root = os.path.abspath(options.root)
    return options


def files(root, under=(), endings=()):
    """
    The project's own files as sorted paths relative to @root: what git tracks or would track, or, where there is no git
    (a release archive), everything outside build folders. @under: only below these folders; @endings: only with these.
    """
    found = None
    if os.path.exists(os.path.join(root, ".git")):
        try:
            listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"],
                                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
            found = [os.fsdecode(name) for name in listed.split(b"\0") if name]
        except (OSError, subprocess.CalledProcessError):
            found = None
    if found is None:
        found = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if not SKIPPED_FOLDERS.match(f)]
            found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    if under:
        found = [f for f in found if any(f == u or f.startswith(u.rstrip("/") + "/") for u in under)]
    if endings:
        found = [f for f in found if f.endswith(tuple(endings))]
    return sorted(f for f in set(found) if os.path.isfile(os.path.join(root, f)))


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def layers(root):
    """The layers and their numbers as sim/meson.build lists them: {name: number}."""
    text = read(root, "sim/meson.build")
    found = {m[1]: int(m[2]) for m in re.finditer(r"\['(\w+)',\s*(\d+),\s*(?:true|false)\]", text)}
    if not found:
        sys.exit("sim/meson.build: no list of layers like ['base', 0, true] in it")
    return found


LAYER_LINE = re.compile(r"^ \* Layer: *(\S*) *$", re.M)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


class Findings:
    def __init__(self, what):
        self.what = what
        self.count = 0

    def add(self, path, line, message):
        print(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.count += 1

    def exit(self, looked_at):
        print(f"{self.what}: {looked_at}, {self.count} finding{'' if self.count == 1 else 's'}")
        sys.exit(1 if self.count else 0)
