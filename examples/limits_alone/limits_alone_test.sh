#!/bin/bash
# limits_alone_test.sh PROGRAM GOLDEN FILE...: the program prints the golden file, and nothing else,
# for a root with the FILEs in it. They are copied: no symbolic link leads out of a root.
set -euo pipefail
program=$1 golden=$2
shift 2
root=$TEST_TMPDIR/root
for file in "$@"; do
  below=${file##*/limits_alone/root/}
  mkdir -p "$root/$(dirname "$below")"
  cp -L "$file" "$root/$below"
done
diff "$golden" <("$program" "$root" 2>&1)
