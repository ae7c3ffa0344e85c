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
expect 0 'P = 1' "$plimsoll" limits "${box[@]}" --max 1
expect 0 'P = 5 (GOMAXPROCS in the environment)' env GOMAXPROCS=5 "$plimsoll" limits "${box[@]}"
expect 0 'ignored [environment] GOMAXPROCS: "abc" is not a positive number' env GOMAXPROCS=abc "$plimsoll" limits "${box[@]}"
expect 0 'heap limit 100 MiB' env GOMEMLIMIT=100MiB "$plimsoll" limits "${box[@]}"
expect 0 'plimsoll limits' "$plimsoll" limits --help
expect 0 'GOMEMLIMIT' "$plimsoll" exec --help
expect 0 'plimsoll limits' "$plimsoll" --help
expect 0 'P = ' "$plimsoll" limits

expect 2 'unknown flag --jsn' "$plimsoll" limits --jsn
expect 2 '--affinity: "many" is not a number' "$plimsoll" limits --affinity many
expect 2 '--rounding: "up" is not ceil, floor or nearest' "$plimsoll" limits --rounding up
expect 2 '--root needs a value' "$plimsoll" limits --root
expect 2 '"more" is not a flag' "$plimsoll" limits more
expect 2 'unknown command "limit"' "$plimsoll" limit
expect 2 'plimsoll limits' "$plimsoll"
expect 1 'not a directory' "$plimsoll" limits --root "$root/none"
expect 0 'ignored [unreadable] /proc/self/cgroup: cannot be read' "$plimsoll" limits --root "$root/sys"

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
