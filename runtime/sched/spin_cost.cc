// What looking for work costs a service that is woken all the time:
//
//   spin_cost QUOTA PROCS [SECONDS]        QUOTA in CPUs, or "none"
//
// Every 100 us a timer wakes a goroutine, which starts another one for 10 us of work. Prints the
// wakes, what looking took (Stats::look_ns) as a share of one CPU and of the quota, how many looks
// were cut short, and the CPU of the whole process.
//
// The quota is what the scheduler is told; the kernel need not know of it.

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"

namespace plimsoll::sched {
namespace {

double CpuSeconds() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  return static_cast<double>(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
         static_cast<double>(use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e-6;
}

void Work(int64_t ns) {
  for (const int64_t end = NowNanos() + ns; NowNanos() < end;) {
  }
}

void Serve(double quota, double seconds) {
  const double cpu_before = CpuSeconds();
  const Stats before = GetStats();
  const int64_t began = NowNanos();
  int64_t wakes = 0;
  for (int64_t next = began; static_cast<double>(next - began) < seconds * 1e9; ++wakes) {
    next += 100'000;
    WakeClaim claim;
    ParkUntil(WaitReason::kSleep, next, claim, nullptr, nullptr);
    Go([] { Work(10'000); });
  }
  const double wall = static_cast<double>(NowNanos() - began) * 1e-9;
  const Stats after = GetStats();
  const double look = static_cast<double>(after.look_ns - before.look_ns) * 1e-9;
  const double cpu = CpuSeconds() - cpu_before;
  printf(
      "quota %.2f: %.0f wakes/s, %.0f looks/s (%.0f short), looking %.2f %% of a CPU (%.2f %% of "
      "the "
      "quota), all %.1f %% of a CPU\n",
      quota, static_cast<double>(wakes) / wall,
      static_cast<double>(after.looks - before.looks) / wall,
      static_cast<double>(after.short_looks - before.short_looks) / wall, 100 * look / wall,
      100 * look / wall / quota, 100 * cpu / wall);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) {
    fprintf(stderr, "usage: spin_cost QUOTA PROCS [SECONDS]; QUOTA is in CPUs, or none\n");
    return 64;
  }
  static double quota;
  static double seconds;
  static int exit_code = 0;
  quota = strcmp(argv[1], "none") == 0 ? std::numeric_limits<double>::infinity() : atof(argv[1]);
  seconds = argc == 4 ? atof(argv[3]) : 5;
  auto run = [] { plimsoll::sched::Serve(quota, seconds); };
  plimsoll::sched::Run({.procs = atoi(argv[2]), .spin_quota = quota},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
