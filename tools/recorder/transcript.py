# SPDX-License-Identifier: MIT
"""
Transcripts as files: a first line that says where it was recorded, and what the script printed. Two are equal when all but the
first line is.
"""


def body(text):
    """A transcript without its first line."""
    return text.partition("\n")[2]


def first_difference(ours, theirs):
    """
    Where two bodies part. Return: None when they do not; else (line number in the file, statement, our line, their line),
    where a line is None behind the end.
    """
    a, b = ours.splitlines(), theirs.splitlines()
    statement = ""
    for i in range(max(len(a), len(b))):
        mine, other = (lines[i] if i < len(lines) else None for lines in (a, b))
        if mine != other:
            return i + 2, statement, mine, other
        if mine.startswith("> "):
            statement = mine
    return None if ours == theirs else (len(a) + 2, statement, "(no newline at the end)", "")
