# SPDX-License-Identifier: MIT
"""
What the public headers declare and leave to the library to define, as the compiler sees it.

gcc's -aux-info lists every function it saw with file, line and storage class, so declarations over several lines, with
attributes, or made by macros are found, and static inline functions are known for what they are. Variables, which
-aux-info leaves out, are the `extern` declarations in the preprocessed text that are not functions.
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

import tree

HEADERS = "include/pagesim"


def compiler():
    return os.environ.get("PAGESIM_GCC", "gcc").split()


def glib_flags():
    done = subprocess.run(["pkg-config", "--cflags", "glib-2.0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return done.stdout.split() if done.returncode == 0 else []


def strip_balanced(text, opening):
    """@text without what follows each match of @opening up to its closing bracket."""
    out = []
    at = 0
    for m in opening.finditer(text):
        if m.start() < at:
            continue
        out.append(text[at:m.start()])
        depth = 1
        at = m.end()
        while depth and at < len(text):
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[at], 0)
            at += 1
    out.append(text[at:])
    return " ".join(out)


ATTRIBUTES = re.compile(r"\b(?:__attribute__|__attribute|__asm__|asm|__asm|__typeof__|typeof|_Alignas)\s*\(")
BRACES = re.compile(r"\{")
SQUARES = re.compile(r"\[")


def variables(preprocessed, root):
    """The `extern` variables of the public headers: {name: header}."""
    own = {}
    current = None
    marker = re.compile(r'^# \d+ "(.*?)"')
    for line in preprocessed.splitlines():
        m = marker.match(line)
        if m:
            path = os.path.relpath(os.path.join(root, m[1]), root)
            current = path if os.path.dirname(path) == HEADERS else None
        elif current and not line.startswith("#"):
            own.setdefault(current, []).append(line)
    found = {}
    for header, lines in own.items():
        text = strip_balanced(strip_balanced("\n".join(lines), ATTRIBUTES), BRACES)
        for declaration in re.findall(r"\bextern\b([^;]*);", text):
            plain = strip_balanced(declaration, SQUARES)
            pointer = re.match(r".*?\(\s*\*\s*(?:const\s+)?(\w+)\s*\)\s*\(", plain, re.S)
            if pointer:
                found[pointer[1]] = header
                continue
            if "(" in plain:
                continue
            for declarator in plain.split(","):
                words = re.findall(r"\w+", declarator)
                if words:
                    found[words[-1]] = header
    return found


def compiled(root, headers):
    """What gcc says of a file that includes @headers: (the text of -aux-info, the preprocessed text)."""
    with tempfile.TemporaryDirectory() as scratch:
        source = os.path.join(scratch, "headers.c")
        aux = os.path.join(scratch, "aux")
        with open(source, "w", encoding="utf-8") as f:
            f.writelines(f"#include <pagesim/{os.path.basename(h)}>\n" for h in headers)
        command = [*compiler(), "-std=gnu11", "-w", "-I", os.path.join(root, "include"), *glib_flags()]
        subprocess.run([*command, "-fsyntax-only", "-aux-info", aux, source], check=True)
        preprocessed = subprocess.run([*command, "-E", source], check=True, stdout=subprocess.PIPE, text=True).stdout
        with open(aux, encoding="utf-8") as f:
            return f.read(), preprocessed


def exported(root):
    """
    What the public headers declare and do not define: {name: header}. Each header is compiled by itself; that all can be
    included together is another question (check-headers).
    """
    headers = tree.files(root, [HEADERS], [".h"])
    found = {}
    defined = set()
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        answers = list(pool.map(lambda header: compiled(root, [header]), headers))
    for declared, preprocessed in answers:
        for m in re.finditer(r"^/\* (.*?):\d+:\S+ \*/ (.*)$", declared, re.M):
            header = os.path.relpath(os.path.join(root, m[1]), root)
            if os.path.dirname(header) != HEADERS:
                continue
            # Past the return type: the name is the word before the first bracket that is not an attribute's or a "(*".
            name = re.search(r"(\w+) \((?!\*)", strip_balanced(m[2], ATTRIBUTES))
            if not name:
                sys.exit(f"cannot read what gcc says of {m[1]}: {m[2]}")
            if m[2].startswith("static"):
                defined.add(name[1])
            else:
                found[name[1]] = header
        found.update(variables(preprocessed, root))
    return {name: header for name, header in found.items() if name not in defined}
