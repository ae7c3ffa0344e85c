#!/bin/bash
# Programs that nobody here wrote give the same output on libplimsoll_malloc.so as without it.
# A program that this machine lacks is left out by name; one that differs or dies fails the test.
# Then what preloaded.cc does, case by case.
set -u
library=$(readlink -f "$1")
preloaded=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0
ran=0

# It goes into programs that are not C++ too: nothing of libstdc++ is needed, however it was built.
if readelf -d "$library" | grep -q "NEEDED.*libstdc++"; then
  echo "FAILED: the library needs libstdc++:"
  nm -D --undefined-only "$library" | grep " U .*GLIBCXX"
  failed=1
fi

# same NAME COMMAND: the command's output and status must be the same with and without the library.
same() {
  local name=$1
  shift
  if ! command -v "${1%% *}" >/dev/null; then
    echo "left out: $name is not installed"
    return
  fi
  bash -c "$*" >plain.out 2>&1
  local plain=$?
  LD_PRELOAD=$library bash -c "$*" >ours.out 2>&1
  local ours=$?
  ran=$((ran + 1))
  if [ $plain != $ours ] || ! cmp -s plain.out ours.out; then
    echo "FAILED $name: status $plain without, $ours with the library"
    diff plain.out ours.out | head -20
    failed=1
  fi
}

cat >churn.py <<'PY'
import gc, json, random, threading
random.seed(7)
def work(n, out):
    r = random.Random(n)
    d = {}
    for i in range(20000):
        d[r.randrange(5000)] = [str(i)] * r.randrange(20)
    out[n] = sum(len(v) for v in d.values())
out = {}
threads = [threading.Thread(target=work, args=(n, out)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
gc.collect()
print(json.dumps(out, sort_keys=True), len(bytearray(50_000_000)))
PY
cat >query.sql <<'SQL'
create table t(a integer, b text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
insert into t select i, hex(i * 7919) || i from n;
create index ti on t(b);
select count(*), sum(length(b)), min(b), max(b) from t;
select a % 10, count(*), group_concat(substr(b, 1, 1)) from t group by 1 order by 1;
SQL
cat >templates.cc <<'CC'
#include <algorithm>
#include <iostream>
#include <map>
#include <string>
int main() {
  std::map<std::string, int> m;
  for (int i = 0; i < 1000; ++i) m[std::to_string(i * 7 % 331)]++;
  std::cout << m.size() << "\n";
}
CC

same python3 "python3 churn.py"
same sqlite3 "sqlite3 :memory: <query.sql"
same git "git init -q repo 2>&1; cd repo; for i in \$(seq 60); do seq \$i 999 >f\$i; done; git add -A; git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q -m x --date=2000-01-01T00:00:00Z; git gc -q; git fsck --full; git log --stat | tail -2; cd ..; rm -rf repo"
same g++ "g++ -O1 -std=c++20 templates.cc -o t && ./t"
same perl "perl -e 'my %h; \$h{\$_ % 7777} .= \"x\$_\" for 1..100000; print scalar(keys %h), \" \", length(join \"\", values %h), \"\n\"'"
same sort "seq 100000 | sort -R --random-source=churn.py | sort -n --parallel=4 | md5sum"
same xz "seq 50000 | xz -T2 -6 | xz -d | md5sum"
same ls "ls / >/dev/null; echo fine"

for case in fork; do
  same "$case" "$preloaded $case"
done

PRELOADED_LIBRARY=$library "$preloaded" dlclose || {
  echo "FAILED dlclose: status $?"
  failed=1
}

if [ $ran = 0 ]; then
  echo "no program was there to run"
  exit 1
fi
echo "$ran programs ran"
exit $failed
