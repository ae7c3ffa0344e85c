// Making goroutines, letting them go, and keeping many.

#include "absl/strings/str_cat.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

// How fast is a goroutine that does nothing made, run and waited for, a thousand at a time?
void SpawnJoin(const Args& args) {
  Stopwatch watch;
  WaitGroup group;
  for (int64_t i = 0; i < args.n; i += 1000) {
    group.Add(1000);
    for (int j = 0; j < 1000; ++j) Go([&group] { group.Done(); });
    group.Wait();
  }
  Report(args, args.n, watch.Seconds());
}

// What do n goroutines cost that wait for one channel: to make, in memory, to release?
void Parked(const Args& args) {
  const int64_t rss = StatusBytes("VmRSS:");
  Channel<char> gate;
  WaitGroup ready, done;
  ready.Add(static_cast<int>(args.n));
  done.Add(static_cast<int>(args.n));
  Stopwatch making;
  for (int64_t i = 0; i < args.n; ++i) {
    Go([&ready, &done, gate] {
      ready.Done();
      (void)gate.Recv();
      done.Done();
    });
  }
  ready.Wait();
  const double made = making.Seconds();
  const int64_t peak = StatusBytes("VmHWM:");
  const int64_t tables = StatusBytes("VmPTE:");
  Stopwatch releasing;
  gate.Close();
  done.Wait();
  const double released = releasing.Seconds();
  Report(args, args.n, made,
         absl::StrCat("release_ns=", released * 1e9 / static_cast<double>(args.n),
                      " bytes_per_g=", (peak - rss) / args.n, " pte_per_g=", tables / args.n));
}

// What does letting another goroutine run cost?
void YieldTwo(const Args& args) {
  Stopwatch watch;
  WaitGroup group;
  group.Add(2);
  for (int g = 0; g < 2; ++g) {
    Go([&] {
      for (int64_t i = 0; i < args.n / 2; ++i) plimsoll::Yield();
      group.Done();
    });
  }
  group.Wait();
  Report(args, args.n, watch.Seconds());
}

// Sums `size` numbers from `first` by a tree of goroutines, ten children each.
void Skynet(const Channel<int64_t>& result, int64_t first, int64_t size) {
  if (size == 1) {
    result.Send(first);
    return;
  }
  const Channel<int64_t> parts;
  for (int64_t i = 0; i < 10; ++i) {
    Go([parts, part = first + i * (size / 10), size = size / 10] { Skynet(parts, part, size); });
  }
  int64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += *parts.Recv();
  result.Send(sum);
}

// What does a goroutine cost that hands its number to the one that made it? (The "skynet 1 million
// micro-thread benchmark" of Alexander Temerev.)
void SkynetRun(const Args& args) {
  Stopwatch watch;
  const Channel<int64_t> result;
  Go([result, n = args.n] { Skynet(result, 0, n); });
  (void)result.Recv();
  Report(args, args.n, watch.Seconds());
}

int64_t Fibonacci(int64_t n) {
  if (n < 2) return n;
  WaitGroup other;
  int64_t a = 0;
  other.Add(1);
  Go([&] {
    a = Fibonacci(n - 1);
    other.Done();
  });
  const int64_t b = Fibonacci(n - 2);
  other.Wait();
  return a + b;
}

// What does a call cost that forks one goroutine and joins it?
void FibonacciRun(const Args& args) {
  Stopwatch watch;
  (void)Fibonacci(args.n);
  const double seconds = watch.Seconds();
  int64_t a = 0, b = 1;  // inner calls: Fibonacci(n + 1) - 1
  for (int64_t i = 0; i < args.n + 1; ++i) {
    const int64_t sum = a + b;
    a = b;
    b = sum;
  }
  Report(args, a - 1, seconds);
}

constexpr Bench kBenches[] = {
    {"spawn_join", "make, run and join N empty goroutines, 1,000 at a time", SpawnJoin},
    {"parked", "N goroutines wait on one channel: time, bytes each, release", Parked},
    {"yield", "two goroutines yield to each other, N times in all", YieldTwo},
    {"skynet", "a tree of goroutines with N leaves, ten children each", SkynetRun},
    {"fib", "Fibonacci of N, a goroutine for every other call", FibonacciRun},
};

}  // namespace

std::span<const Bench> SchedBenches() { return kBenches; }

}  // namespace plimsoll::bench
