#!/bin/bash
# golden_test.sh PROGRAM GOLDEN [ARGUMENT...]: runs the program, and fails unless it exits 0 and
# writes to its output exactly what the golden file holds. (What it writes to stderr is shown.)
set -u
program=$1 golden=$2
shift 2
got="$("$program" "$@" && echo "exit 0" || echo "exit $?")"
want="$(cat "$golden" && echo "exit 0")"
if [[ "$got" != "$want" ]]; then
  diff <(printf '%s\n' "$want") <(printf '%s\n' "$got") | sed 's/^/  /'
  echo "FAIL: '<' is what $golden holds, '>' is what $program wrote"
  exit 1
fi
