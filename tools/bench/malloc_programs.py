#!/usr/bin/env python3
"""Runs programs that nobody here wrote on libplimsoll_malloc.so, glibc and jemalloc, and prints the table.

    tools/bench/malloc_programs.py [--runs N] [--only NAME,...] [--library SO]

The same work with each malloc: its output must be the same, its status 0. Time is wall seconds, the
median of N; memory is the peak RSS of the process tree's largest process. A program that this machine
lacks is named and left out. Exit 1 when a result differs or a program dies.
"""

import argparse
import hashlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

JEMALLOC = ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2")

GIT = """
git init -q repo && cd repo
for i in $(seq 300); do seq $i 3999 > f$i; done
git add -A && git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q -m one
for i in $(seq 1 3 300); do seq $i 2 4500 > f$i; done
git add -A && git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q -m two
git -c gc.autoDetach=false -c pack.threads=2 gc -q --aggressive && git fsck --full 2>&1
git log --format=%s --stat | md5sum; git blame f1 | cut -c60- | md5sum
"""
PYTHON = "python3 -m test -q test_gc test_dict test_list test_json 2>&1 | grep -E '^(Result|Tests result|[0-9]+ test)'"
SQLITE = """
sqlite3 db <<'SQL'
pragma journal_mode=memory; pragma cache_size=20000;
create table t(a integer, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 400000)
insert into t select i, hex(i * 7919) || i, i * 0.5 from n;
create index ti on t(b);
select count(*), sum(length(b)), min(b), max(b) from t;
select a % 10, count(*), sum(c) from t group by 1 order by 1;
delete from t where a % 3 = 0; vacuum; pragma integrity_check;
select count(*) from t x join t y on x.b = y.b;
SQL
"""
GXX = """
cat > t.cc <<'CC'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct F { static int f(std::map<int, std::string>& m) { m[N] = std::to_string(N); return F<N - 1>::f(m); } };
template <> struct F<0> { static int f(std::map<int, std::string>& m) { return m.size(); } };
int main() {
  std::map<int, std::string> m;
  std::unordered_map<std::string, std::vector<std::shared_ptr<std::function<int(int)>>>> u;
  for (int i = 0; i < 100; ++i) u[std::to_string(i)].push_back(std::make_shared<std::function<int(int)>>([i](int x) { return x + i; }));
  std::regex r("(a|b)*c{2,3}");
  std::cout << F<400>::f(m) << " " << u.size() << " " << std::regex_match("abacc", r) << "\\n";
}
CC
g++ -O2 -std=c++20 t.cc -o t && ./t && g++ -O2 -std=c++20 -S t.cc -o - | md5sum
"""
NODE = """
cat > t.js <<'JS'
const { Worker, isMainThread, parentPort } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto');
function work(seed) {
  const m = new Map(); let s = seed;
  for (let i = 0; i < 400000; i++) { s = (s * 1103515245 + 12345) & 0x7fffffff; m.set(s % 50000, 'v' + s); }
  const text = JSON.stringify([...m].sort((a, b) => a[0] - b[0]));
  const packed = zlib.gzipSync(text);
  return crypto.createHash('sha256').update(zlib.gunzipSync(packed)).digest('hex');
}
if (isMainThread) {
  let left = 3; const out = [];
  for (let i = 0; i < 3; i++) { const w = new Worker(__filename, { env: { SEED: String(i) } });
    w.on('message', (m) => { out[m.i] = m.h; }); w.on('exit', () => { if (--left == 0) console.log(work(99), out.join(' ')); }); }
} else { parentPort.postMessage({ i: +process.env.SEED, h: work(+process.env.SEED) }); }
JS
node t.js
"""
PROGRAMS = [("git", "git", GIT), ("python3 -m test", "python3", PYTHON), ("sqlite3", "sqlite3", SQLITE),
            ("g++", "g++", GXX), ("node", "node", NODE), ("redis", "redis-server", None)]


def mallocs(library):
    """Name to what is preloaded."""
    found = {"glibc": ""}
    for path in JEMALLOC:
        if os.path.exists(path):
            found["jemalloc"] = path
    found["plimsoll"] = library
    return found


def environment(preload):
    """The caller's, with the malloc to use; mallopt-like variables of others out of the way."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "MALLOC_CONF", "PLIMSOLL_DEBUG")}
    env.update({"GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
                "LC_ALL": "C", "PYTHONHASHSEED": "0"})
    if preload:
        env["LD_PRELOAD"] = preload
    return env


def peak_of_children():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def in_child(function):
    """Runs `function` in a process of its own, so that its children's peak is theirs alone."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "w") as out:
            out.write(repr(function()))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return eval(text)  # our own child's repr of numbers and texts


def run_script(script, env):
    """(seconds, peak MiB, status, digest of the output, its end)"""
    with tempfile.TemporaryDirectory() as work:
        begin = time.time()
        done = subprocess.run(["bash", "-c", script], cwd=work, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        seconds = time.time() - begin
        said = done.stdout
        return (seconds, peak_of_children(), done.returncode, hashlib.md5(said).hexdigest(),
                said[-300:].decode(errors="replace"))


def redis_appends(path):
    """Strings grown by APPEND, compared after each: how many appends, and keys with a wrong byte. redis keeps
    its strings' room by malloc_usable_size(), writes up to it and counts on realloc to bring it along."""
    chance = random.Random(5)
    appends = wrong = 0
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        with server.makefile("rwb") as wire:
            def command(*words):
                wire.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
                wire.flush()
                first = wire.readline()
                if first[:1] != b"$":
                    return first
                body = wire.read(int(first[1:]))
                wire.read(2)
                return body

            for k in range(40):
                key, want = b"append%d" % k, b""
                for i in range(60):
                    piece = bytes([65 + chance.randrange(26)]) * chance.randrange(1, 20000)
                    want += piece
                    command(b"APPEND", key, piece)
                    if i % 7 == 0:
                        command(b"SETRANGE", b"range%d" % k, b"%d" % chance.randrange(200000), b"x")
                    appends += 1
                    if command(b"GET", key) != want:
                        wrong += 1
                        break
    return f"{appends} appends, {wrong} keys wrong"


def run_redis(env):
    """The same figures; seconds are those of redis-benchmark, whose client runs on glibc."""
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "redis.sock")
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
                                   "--dir", work, "--io-threads", "1"], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        for _ in range(200):
            if os.path.exists(path):
                break
            time.sleep(0.05)
        plain = environment("")
        begin = time.time()
        bench = subprocess.run(["redis-benchmark", "-s", path, "-q", "-n", "100000", "-c", "20", "-P", "16",
                                "-r", "100000", "-d", "200", "-t", "set,get,lpush,hset,sadd,zadd,mset"],
                               env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        seconds = time.time() - begin
        cli = ["redis-cli", "-s", path]
        check = subprocess.run(cli + ["eval", "for i=1,2000 do redis.call('set','k'..i,string.rep('x',i)) end "
                                      "local n=0 for i=1,2000 do n=n+#redis.call('get','k'..i) end return n", "0"],
                               env=plain, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
        info = subprocess.run(cli + ["info"], env=plain, stdout=subprocess.PIPE, text=True, check=False).stdout
        try:  # after the memory was read
            check += ", " + redis_appends(path)
        except (OSError, ValueError) as error:  # the server is gone
            check += f", appends: {error!r}"
        subprocess.run(cli + ["shutdown", "nosave"], env=plain, stdout=subprocess.DEVNULL, check=False)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.send_signal(signal.SIGKILL)
            server.wait()
        errors = re.findall(r"total_error_replies:(\d+)", info)
        peak = re.search(r"used_memory_peak_rss:(\d+)", info) or re.search(r"used_memory_rss:(\d+)", info)
        memory = int(peak.group(1)) / (1 << 20) if peak else peak_of_children()
        status = bench.returncode or server.returncode or (0 if check.endswith(" 0 keys wrong") else 1)
        return seconds, memory, status, check + repr(errors), check + "; " + bench.stdout[-300:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--library", default=".bazel/bin/alloc/libplimsoll_malloc.so")
    options = parser.parse_args()
    library = os.path.realpath(options.library)
    if not os.path.exists(library):
        sys.exit(f"malloc_programs: no {options.library}; bazel build --config=opt //alloc:libplimsoll_malloc.so")
    kinds = mallocs(library)
    print("| program | " + " | ".join(f"{k} s | {k} MiB" for k in kinds) + " | result |")
    print("|---|" + "---|" * (2 * len(kinds) + 1))
    failed = False
    for name, needed, script in PROGRAMS:
        if options.only and name.split()[0] not in options.only.split(","):
            continue
        if not shutil.which(needed):
            print(f"| {name} | left out: {needed} is not installed |")
            continue
        if needed == "python3" and subprocess.run(["python3", "-c", "import test.test_gc"], check=False,
                                                  stderr=subprocess.DEVNULL).returncode != 0:
            print(f"| {name} | left out: libpython3-testsuite is not installed |")
            continue
        got = {k: [] for k in kinds}
        for _ in range(options.runs):
            for kind, preload in kinds.items():
                env = environment(preload)
                got[kind].append(in_child(lambda: run_redis(env) if script is None else run_script(script, env)))
        answers = {(status, digest) for runs in got.values() for _, _, status, digest, _ in runs}
        good = len(answers) == 1 and next(iter(answers))[0] == 0
        cells = [f"{statistics.median(r[0] for r in runs):.2f} | {statistics.median(r[1] for r in runs):.0f}"
                 for runs in got.values()]
        print(f"| {name} | " + " | ".join(cells) + f" | {'equal' if good else 'DIFFERS'} |", flush=True)
        if not good:
            failed = True
            for kind, runs in got.items():
                print(f"  {kind}: statuses {[r[2] for r in runs]}, end of output: {runs[-1][4]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
