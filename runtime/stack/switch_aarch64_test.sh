#!/bin/bash
# The aarch64 switch assembles, and defines what switch.h declares. It is not run: this is an x86-64.
set -euo pipefail
source=$1
if ! command -v clang-19 >/dev/null; then
  echo "skipped: clang-19 is not installed (tools/bring_tools.sh --all)"
  if [[ -n "${XML_OUTPUT_FILE:-}" ]]; then
    echo '<testsuites><testsuite name="switch_aarch64_test"><testcase name="needs clang-19"><skipped/></testcase></testsuite></testsuites>' >"$XML_OUTPUT_FILE"
  fi
  exit 0
fi
object=$(mktemp)
trap 'rm -f "$object"' EXIT
clang-19 --target=aarch64-linux-gnu -c "$source" -o "$object"
symbols=$(readelf -sW "$object")
for symbol in plimsoll_switch plimsoll_goroutine_start; do
  if ! grep -Eq "FUNC +GLOBAL +DEFAULT +[0-9]+ $symbol\$" <<<"$symbols"; then
    echo "$source does not define $symbol"
    exit 1
  fi
done
