// That each kind of event is told at all, where goroutines are stolen and preempted.

#include <atomic>
#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/trace.h"

namespace plimsoll::sched {
namespace {

struct Counts {
  std::atomic<uint64_t> of[static_cast<size_t>(TraceKind::kCount)] = {};
  std::atomic<uint64_t> stolen{0};
  std::atomic<uint64_t> wrong{0};

  uint64_t Of(TraceKind kind) const { return of[static_cast<size_t>(kind)].load(); }
  void Trace(const TraceEvent& e) noexcept {
    of[static_cast<size_t>(e.kind)].fetch_add(1, std::memory_order_relaxed);
    if (e.when_ns <= 0) wrong.fetch_add(1, std::memory_order_relaxed);
    if (e.kind == TraceKind::kSteal) {
      stolen.fetch_add(e.count, std::memory_order_relaxed);
      if (static_cast<uint64_t>(e.proc) == e.other || e.g == 0 || e.count == 0) {
        wrong.fetch_add(1, std::memory_order_relaxed);
      }
    }
    if (e.kind == TraceKind::kHandOff && (e.proc < 0 || e.thread < 0)) {
      wrong.fetch_add(1, std::memory_order_relaxed);
    }
    if (e.kind == TraceKind::kPreempt && (e.proc < 0 || e.g == 0)) {
      wrong.fetch_add(1, std::memory_order_relaxed);
    }
  }
};

TEST(TraceKindsTest, StealsHandOffsAndPreemptionsAreTold) {
  Counts counts;
  const Stats before = GetStats();
  ASSERT_TRUE(StartTracing(counts));
  // This P is kept and the other idles: what is queued here is stolen.
  std::atomic<uint64_t> ran{0};
  while (counts.Of(TraceKind::kSteal) == 0) {
    const uint64_t now = ran.load();
    for (int i = 0; i < 8; ++i) Go([&] { ran.fetch_add(1); });
    while (ran.load() < now + 8) {
    }
  }
  std::atomic<bool> stop{false};
  std::atomic<int> left{3};
  for (int i = 0; i < 3; ++i) {
    Go([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
      left.fetch_sub(1);
    });
  }
  // Three hogs and this one for two Ps: slices end.
  while (counts.Of(TraceKind::kPreempt) < 3 || counts.Of(TraceKind::kHandOff) == 0) Yield();
  stop.store(true);
  while (left.load() > 0) Yield();
  StopTracing();
  const Stats after = GetStats();
  EXPECT_EQ(counts.wrong.load(), 0u);
  EXPECT_LE(counts.Of(TraceKind::kPreempt), after.preemptions - before.preemptions);
  EXPECT_LE(counts.Of(TraceKind::kSteal), after.steals - before.steals);
  EXPECT_LE(counts.Of(TraceKind::kSpawn), after.spawns - before.spawns);
  EXPECT_GE(counts.stolen.load(), counts.Of(TraceKind::kSteal));
  EXPECT_GT(counts.Of(TraceKind::kRun), 0u);
}

}  // namespace
}  // namespace plimsoll::sched
