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

constexpr Bench kBenches[] = {
    {"spawn_join", "make, run and join N empty goroutines, 1,000 at a time", SpawnJoin},
    {"parked", "N goroutines wait on one channel: time, bytes each, release", Parked},
    {"yield", "two goroutines yield to each other, N times in all", YieldTwo},
};

}  // namespace

std::span<const Bench> SchedBenches() { return kBenches; }

}  // namespace plimsoll::bench
