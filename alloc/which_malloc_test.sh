#!/bin/bash
# Each static program runs on the malloc that its BUILD file names.
set -u
failed=0
for kind in jemalloc plimsoll libc; do
  said=$("$1_$kind" 2>&1)
  status=$?
  want="$kind; resident: follows what is held"
  [ $kind = libc ] && want="libc; resident: not told"
  if [ $status != 0 ] || [ "$said" != "$want" ]; then
    echo "FAILED $1_$kind: status $status, said \"$said\", not \"$want\""
    failed=1
  fi
done
exit $failed
