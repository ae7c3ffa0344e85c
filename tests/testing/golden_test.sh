#!/bin/bash
# Runs a golden_test.py: that a fast path costs what it promises. x86-64 only: it reads that disassembly.
set -euo pipefail
if [ "$(uname -m)" != x86_64 ]; then
  echo "left out: golden counts are of x86-64 instructions"
  exit 0
fi
PYTHONPATH=tests/testing exec python3 -B "$@"
