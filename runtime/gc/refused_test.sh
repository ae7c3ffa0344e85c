#!/bin/bash
# refused_test.sh refused.cc describe.h: compiles each case of refused.cc, which must fail with the
# text beside it.
set -u
source_file=$1
root=$(cd "$(dirname "$2")/../.." && pwd)
cxx=${CXX:-c++}
command -v "$cxx" > /dev/null || { echo "refused_test: no compiler \"$cxx\""; exit 1; }
mkdir -p "$TEST_TMPDIR/include"
ln -s "$root" "$TEST_TMPDIR/include/plimsoll"

compile() {
  "$cxx" -std=c++20 -fsyntax-only -I "$TEST_TMPDIR/include" -DCASE="$1" "$source_file" 2>&1
}

if ! output=$(compile 0); then
  echo "FAIL: case 0, which has no mistake, does not compile:"
  echo "$output" | head -20
  exit 1
fi
failed=0
cases=0
while IFS=: read -r number text; do
  cases=$((cases + 1))
  if output=$(compile "$number"); then
    echo "FAIL: case $number compiles; expected: $text"
    failed=1
  elif ! grep -qF -- "$text" <<< "$output"; then
    echo "FAIL: case $number does not say: $text"
    echo "$output" | grep -E "error" | head -5
    failed=1
  fi
done < <(sed -n 's/^#\(if\|elif\) CASE == \([0-9]*\) *\/\/ \(.*\)$/\2:\3/p' "$source_file")
[[ $cases -ge 20 ]] || { echo "FAIL: only $cases cases were found"; exit 1; }
exit $failed
