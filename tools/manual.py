# SPDX-License-Identifier: MIT
"""
Put the manual page together: the frame, with the section of every command of commands.def in place of its line @COMMANDS@.

    manual.py docs/pagesim.1.scd tools/pagesim/commands.def docs/commands
"""
import os
import re
import sys


def main():
    frame_path, commands_path, folder = sys.argv[1:]
    sections = []
    with open(commands_path, encoding="utf-8") as f:
        commands = re.findall(r"^COMMAND\((\w+),", f.read(), re.M)
    for name in commands:
        path = os.path.join(folder, name + ".scd")
        try:
            with open(path, encoding="utf-8") as f:
                text = f.read()
        except FileNotFoundError:
            sys.exit(f"{path}: the command '{name}' has no section in the manual; write it there")
        lines = [line for line in text.strip().splitlines() if not line.startswith(";")]
        sections.append("\n".join(lines).strip())
    with open(frame_path, encoding="utf-8") as f:
        for line in f:
            if line.strip() == "@COMMANDS@":
                print("\n\n".join(sections))
            else:
                print(line, end="")


main()
