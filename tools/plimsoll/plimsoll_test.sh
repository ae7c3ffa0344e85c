#!/bin/bash
# The command as its users call it: output, exit status, and errors that name the flag and the text.
set -u
plimsoll="$PWD/$1"
failed=0
fail() { echo "FAILED: $*"; failed=1; }

# expect STATUS WORDS COMMAND...: it ends with STATUS and prints WORDS.
expect() {
  local status="$1" words="$2" output got
  shift 2
  output="$("$@" 2>&1)"
  got=$?
  [[ "$got" == "$status" ]] || fail "$* exits $got, not $status: $output"
  [[ "$output" == *"$words"* ]] || fail "$* does not say '$words': $output"
}

unset GOMAXPROCS GOMEMLIMIT OMP_NUM_THREADS MALLOC_ARENA_MAX
root="$(mktemp -d "${TEST_TMPDIR:-/tmp}/root-XXXXXX")"
mkdir -p "$root/proc/self" "$root/sys/fs/cgroup/app"
echo '0::/app' >"$root/proc/self/cgroup"
echo '30 23 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw' >"$root/proc/self/mountinfo"
echo '150000 100000' >"$root/sys/fs/cgroup/cpu.max"
echo 'max 100000' >"$root/sys/fs/cgroup/app/cpu.max"
echo '134217728' >"$root/sys/fs/cgroup/app/memory.max"
box=(--root "$root" --affinity 8 --mem-total 17179869184 --page-size 4096)

expect 0 'quota 1.5 CPUs at /sys/fs/cgroup (cpu.max), 1 level above our own' "$plimsoll" limits "${box[@]}"
expect 0 'P = 2' "$plimsoll" limits "${box[@]}"
expect 0 'memory limit 128 MiB at /sys/fs/cgroup/app (memory.max), our own level' "$plimsoll" limits "${box[@]}"
expect 0 '* cpu.max' "$plimsoll" limits "${box[@]}"
expect 0 '"quota": [3, 2]' "$plimsoll" limits --json "${box[@]}"
expect 0 'P = 1' "$plimsoll" limits "${box[@]}" --rounding=floor --min 1
expect 0 'P = 6' "$plimsoll" limits "${box[@]}" --min 6
expect 0 'P = 1 (quota 1.5 CPUs rounded up, at most 1;' "$plimsoll" limits "${box[@]}" --max 1
expect 0 'P = 5 (GOMAXPROCS in the environment)' env GOMAXPROCS=5 "$plimsoll" limits "${box[@]}"
expect 0 'ignored [environment] GOMAXPROCS: "abc" is not a positive number' env GOMAXPROCS=abc "$plimsoll" limits "${box[@]}"
expect 0 'heap limit 100 MiB' env GOMEMLIMIT=100MiB "$plimsoll" limits "${box[@]}"
expect 0 'plimsoll limits' "$plimsoll" limits --help
expect 0 'GOMEMLIMIT' "$plimsoll" exec --help
expect 0 'plimsoll limits' "$plimsoll" --help
expect 0 'P = ' "$plimsoll" limits

expect 2 'unknown flag --jsn' "$plimsoll" limits --jsn
expect 2 '--affinity: "many" is not a number' "$plimsoll" limits --affinity many
for size in 3 0 2048 4097 12288 2147483648; do
  expect 2 "--page-size: \"$size\" is not a power of two from 4096 to 1073741824" \
    "$plimsoll" limits --page-size "$size"
done
expect 0 'P = 2' "$plimsoll" limits "${box[@]}" --page-size 65536
expect 0 'heap limit 1 byte (' env GOMEMLIMIT=1 "$plimsoll" limits "${box[@]}"
expect 2 '--rounding: "up" is not ceil, floor or nearest' "$plimsoll" limits --rounding up
expect 2 '--root needs a value' "$plimsoll" limits --root
expect 2 '"more" is not a flag' "$plimsoll" limits more
expect 2 'unknown command "limit"' "$plimsoll" limit
expect 2 'plimsoll limits' "$plimsoll"
expect 1 "--root $root/none: No such file or directory" "$plimsoll" limits --root "$root/none"
expect 1 'not a directory' "$plimsoll" limits --root "$root/proc/self/cgroup"
expect 0 'ignored [not-exposed] /proc/self/cgroup: cannot be read' "$plimsoll" limits --root "$root/sys"

all='GOMAXPROCS=2
OMP_NUM_THREADS=2
MALLOC_ARENA_MAX=2
GOMEMLIMIT=120795955'
expect 0 "$all" "$plimsoll" exec "${box[@]}" --print
expect 0 '2 2 2 120795955' "$plimsoll" exec "${box[@]}" -- \
  sh -c 'echo $GOMAXPROCS $OMP_NUM_THREADS $MALLOC_ARENA_MAX $GOMEMLIMIT'
expect 0 '4 1' env OMP_NUM_THREADS=1 GOMAXPROCS=4 "$plimsoll" exec "${box[@]}" \
  sh -c 'echo $GOMAXPROCS $OMP_NUM_THREADS'
expect 0 '2 2' env OMP_NUM_THREADS=1 GOMAXPROCS=4 "$plimsoll" exec --overwrite "${box[@]}" \
  sh -c 'echo $GOMAXPROCS $OMP_NUM_THREADS'
expect 7 '' "$plimsoll" exec sh -c 'exit 7'
expect 127 'No such file' "$plimsoll" exec /nonexistent/program
expect 126 'Permission denied' "$plimsoll" exec "$root/proc/self/cgroup"
expect 125 'no command given' "$plimsoll" exec
expect 125 'unknown flag --foo' "$plimsoll" exec --foo sh

expect 125 "--root $root/none: No such file or directory" "$plimsoll" exec --root "$root/none" true

# A limit that cannot be read is told before the program runs, and nonsense is not passed on.
bad="$(mktemp -d "${TEST_TMPDIR:-/tmp}/bad-XXXXXX")"
cp -r "$root/proc" "$root/sys" "$bad"
echo 'a lot' >"$bad/sys/fs/cgroup/cpu.max"
rm "$bad/sys/fs/cgroup/app/memory.max"
badbox=(--root "$bad" --affinity 8 --mem-total 17179869184 --page-size 4096)
expect 0 'plimsoll exec: [bad-value] /sys/fs/cgroup/cpu.max: period "lot" is not a positive' \
  "$plimsoll" exec "${badbox[@]}" true
expect 0 'ignored [bad-value]' "$plimsoll" exec --report "${badbox[@]}" true
expect 0 'plimsoll exec: [environment] GOMAXPROCS: "abc" is not a positive number; replaced
2' env GOMAXPROCS=abc "$plimsoll" exec "${box[@]}" sh -c 'echo $GOMAXPROCS'
expect 0 'GOMEMLIMIT: "lots" is not a number of bytes, KiB, MiB, GiB or TiB, nor "off"; replaced
120795955' env GOMEMLIMIT=lots "$plimsoll" exec "${box[@]}" sh -c 'echo $GOMEMLIMIT'
expect 0 'nor "off"; taken away
none' env GOMEMLIMIT=lots "$plimsoll" exec "${badbox[@]}" sh -c 'echo ${GOMEMLIMIT-none}'
expect 0 '99999999 2 2' env GOMAXPROCS=99999999 "$plimsoll" exec "${box[@]}" \
  sh -c 'echo $GOMAXPROCS $OMP_NUM_THREADS $MALLOC_ARENA_MAX'
expect 0 '2 2' env GOMAXPROCS= OMP_NUM_THREADS= "$plimsoll" exec "${box[@]}" \
  sh -c 'echo $GOMAXPROCS $OMP_NUM_THREADS'

# Output that is lost is no success.
full='standard output: No space left on device'
to_full() { "$@" >/dev/full; }
expect 1 "plimsoll limits: $full" to_full "$plimsoll" limits "${box[@]}"
expect 1 "plimsoll limits: $full" to_full "$plimsoll" limits --json "${box[@]}"
expect 1 "plimsoll limits: $full" to_full "$plimsoll" limits --watch "${box[@]}"
expect 1 "plimsoll limits: $full" to_full "$plimsoll" limits --help
expect 1 "plimsoll: $full" to_full "$plimsoll" --help
expect 125 "plimsoll exec: $full" to_full "$plimsoll" exec --print "${box[@]}"
expect 125 "plimsoll exec: $full" to_full "$plimsoll" exec --help

# --watch ends when its reader has gone, though no limit changes.
gone="$bad/watch.err"
{
  "$plimsoll" limits --watch "${box[@]}" 2>"$gone"
  echo "exit $?" >>"$gone"
} | read -r _
[[ "$(cat "$gone")" == *'nobody reads it any more
exit 1' ]] || fail "--watch without a reader: $(cat "$gone")"

# A cgroup's name is printed as a name, whatever is in it.
forged="$(mktemp -d "${TEST_TMPDIR:-/tmp}/forged-XXXXXX")"
cp -r "$root/proc" "$root/sys" "$forged"
name=$'x\e[2J (cpu.max), our own level'
mv "$forged/sys/fs/cgroup/app" "$forged/sys/fs/cgroup/$name"
echo "0::/$name" >"$forged/proc/self/cgroup"
expect 0 'own directory "/sys/fs/cgroup/x\x1b[2J (cpu.max), our own level"' "$plimsoll" limits --root "$forged"
[[ "$("$plimsoll" limits --root "$forged"; "$plimsoll" limits --json --root "$forged")" == *$'\e'* ]] &&
  fail 'an escape sequence came through'

# --watch: a write to a file is told within its interval; the pipe's end ends the wait.
exec 3< <(exec "$plimsoll" limits --watch "${box[@]}")
watcher=$!
seen=
while read -r -t 60 -u 3 line; do
  [[ "$line" == *'Plimsoll'* && -z "$seen" ]] && { seen=first; echo '450000 100000' >"$root/sys/fs/cgroup/cpu.max"; }
  [[ "$line" == 'changed: P 2 -> 5' ]] && { seen=changed; break; }
done
kill "$watcher"
[[ "$seen" == changed ]] || fail "--watch did not tell of the change (got as far as '$seen')"

((failed)) || echo 'all good'
exit "$failed"
