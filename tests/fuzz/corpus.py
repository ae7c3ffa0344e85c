"""Turns a corpus, one escaped input a line, into the folder of files that libFuzzer wants, and back.

    corpus.py unpack FOLDER CORPUS...      one file an input
    corpus.py pack FOLDER CORPUS           writes CORPUS, shortest inputs first
"""
import os
import re
import sys


def unescape(line):
    """The bytes of one line."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), line)


def escape(data):
    """`data` as one line."""
    return "".join(chr(c) if 32 <= c < 127 and c != 92 else "\\x%02x" % c for c in data)


def main():
    """Does what the first argument says."""
    command, folder, corpora = sys.argv[1], sys.argv[2], sys.argv[3:]
    if command == "unpack":
        number = 0
        for corpus in corpora:
            with open(corpus, "rb") as lines:
                for line in lines:
                    number += 1
                    with open(os.path.join(folder, "%06d" % number), "wb") as out:
                        out.write(unescape(line.rstrip(b"\n")))
    else:
        inputs = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as found:
                inputs.append(found.read())
        inputs.sort(key=lambda data: (len(data), data))
        with open(corpora[0], "w", encoding="ascii") as out:
            # What is long is rarely new to a reader and always a burden to a repository.
            out.writelines(escape(data) + "\n" for data in inputs if 0 < len(data) <= 400)


main()
