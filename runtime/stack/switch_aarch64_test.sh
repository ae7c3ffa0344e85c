#!/bin/bash
# The aarch64 switch assembles and defines what switch.h declares; where Debian's cross compiler and
# qemu-user are installed, it runs, and the symboliser compiles for it.
set -euo pipefail
source=$1
root=$PWD
skipped=()

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if command -v clang-19 >/dev/null; then
  clang-19 --target=aarch64-linux-gnu -c "$source" -o "$work/switch.o"
elif command -v aarch64-linux-gnu-gcc >/dev/null; then
  aarch64-linux-gnu-gcc -c "$source" -o "$work/switch.o"
else
  skipped+=("assembling needs clang-19 or gcc-aarch64-linux-gnu")
fi
if [[ -f "$work/switch.o" ]]; then
  symbols=$(readelf -sW "$work/switch.o")
  for symbol in plimsoll_switch plimsoll_goroutine_start; do
    if ! grep -Eq "FUNC +GLOBAL +DEFAULT +[0-9]+ $symbol\$" <<<"$symbols"; then
      echo "$source does not define $symbol"
      exit 1
    fi
  done
  echo "assembled"
fi

cross=aarch64-linux-gnu-g++
if command -v $cross >/dev/null; then
  ln -s "$root" "$work/plimsoll"
  flags=(-std=c++20 -O2 -Wall -Wextra -Werror -fno-omit-frame-pointer "-I$work")
  for unit in demangle elf_file line_table modules symbolizer unwind; do
    $cross "${flags[@]}" -c "runtime/symbolize/$unit.cc" -o "$work/$unit.o"
  done
  echo "the symboliser compiled"
  if command -v qemu-aarch64 >/dev/null; then
    $cross "${flags[@]}" -static -o "$work/switch" runtime/stack/switch_aarch64_main.cc \
      runtime/stack/switch.cc "$source"
    said=$(qemu-aarch64 "$work/switch")
    if [[ "$said" != ok ]]; then
      echo "under qemu-aarch64 the switch said: $said"
      exit 1
    fi
    echo "ran under qemu-aarch64"
  else
    skipped+=("running needs qemu-user")
  fi
else
  skipped+=("compiling needs g++-aarch64-linux-gnu")
fi

if ((${#skipped[@]} > 0)); then
  printf 'skipped: %s\n' "${skipped[@]}"
  if [[ -n "${XML_OUTPUT_FILE:-}" ]]; then
    {
      echo '<testsuites><testsuite name="switch_aarch64_test">'
      printf '<testcase name="%s"><skipped/></testcase>\n' "${skipped[@]}"
      echo '</testsuite></testsuites>'
    } >"$XML_OUTPUT_FILE"
  fi
fi
