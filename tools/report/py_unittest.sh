#!/bin/bash
# Starts the interpreter by name: Debian's Bazel knows of no Python toolchain.
exec python3 -B tools/report/py_unittest.py "$@"
