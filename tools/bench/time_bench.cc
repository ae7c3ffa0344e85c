// Goroutines that sleep.

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

// How late do n sleeps of up to a second end that all begin at once, and what do they cost?
void Timers(const Args& args) {
  const size_t n = static_cast<size_t>(args.n);
  std::vector<double> late_us(n);
  WaitGroup group;
  group.Add(static_cast<int>(args.n));
  std::mt19937_64 random(1);
  std::uniform_int_distribution<int64_t> up_to_a_second(0, 999'999'999);
  const double cpu_before = CpuSeconds();
  Stopwatch watch;
  for (double& late : late_us) {
    Go([&late, &group, ns = up_to_a_second(random)] {
      Stopwatch slept;
      Sleep(absl::Nanoseconds(ns));
      late = slept.Seconds() * 1e6 - static_cast<double>(ns) * 1e-3;
      group.Done();
    });
  }
  group.Wait();
  const double seconds = watch.Seconds();
  const double cpu = CpuSeconds() - cpu_before;
  std::sort(late_us.begin(), late_us.end());
  Report(args, args.n, seconds,
         absl::StrFormat("p50_us=%.0f p99_us=%.0f p999_us=%.0f cpu_s=%.2f rss_mb=%d",
                         late_us[n / 2], late_us[n * 99 / 100], late_us[n / 1000 * 999], cpu,
                         StatusBytes("VmHWM:") >> 20));
}

constexpr Bench kBenches[] = {
    {"timers", "N goroutines sleep for up to a second each", Timers},
};

}  // namespace

std::span<const Bench> TimeBenches() { return kBenches; }

}  // namespace plimsoll::bench
