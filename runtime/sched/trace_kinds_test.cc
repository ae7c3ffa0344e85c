// That each kind of event is told at all, where goroutines are stolen, preempted and in blocking
// calls. (Polls: trace_poll_test.)

#include <atomic>
#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace.h"

namespace plimsoll::sched {
namespace {

struct Counts {
  std::atomic<uint64_t> of[static_cast<size_t>(TraceKind::kCount)] = {};
  std::atomic<uint64_t> stolen{0};
  std::atomic<uint64_t> returned_with_p{0};
  std::atomic<uint64_t> returned_on_none{0};
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
    if (e.kind == TraceKind::kCall && (e.proc < 0 || e.thread < 0 || e.g == 0)) {
      wrong.fetch_add(1, std::memory_order_relaxed);
    }
    if (e.kind == TraceKind::kReturn) {
      returned_with_p.fetch_add(e.count, std::memory_order_relaxed);
      if (e.proc < 0) returned_on_none.fetch_add(1, std::memory_order_relaxed);
      // With the P that it left, or another one, or none.
      const bool same = e.proc >= 0 && static_cast<uint64_t>(e.proc) == e.other;
      if (e.g == 0 || e.thread < 0 || e.count > 1 || (e.count == 1 && !same)) {
        wrong.fetch_add(1, std::memory_order_relaxed);
      }
    }
    if (e.kind == TraceKind::kRetake && e.proc < 0) wrong.fetch_add(1, std::memory_order_relaxed);
    if (e.kind == TraceKind::kTimer && (e.proc < 0 || e.thread < 0)) {
      wrong.fetch_add(1, std::memory_order_relaxed);
    }
  }
};

TEST(TraceKindsTest, AStopOfTheWorldIsToldWithItsReasonAndItsStart) {
  struct Stops {
    std::atomic<int> stops{0}, starts{0}, wrong{0};
    void Trace(const TraceEvent& e) noexcept {
      if (e.kind != TraceKind::kStop && e.kind != TraceKind::kStart) return;
      wrong.fetch_add(e.stop != StopReason::kTrim || e.g != GoroutineId(CurrentG()));
      if (e.kind == TraceKind::kStop) {
        wrong.fetch_add(stops.fetch_add(1) != starts.load());
      } else {
        wrong.fetch_add(starts.fetch_add(1) + 1 != stops.load());
      }
    }
  } told;
  ASSERT_TRUE(StartTracing(told));
  for (int i = 0; i < 5; ++i) {
    StopTheWorld(StopReason::kTrim);
    EXPECT_EQ(told.stops.load(), i + 1);
    EXPECT_EQ(told.starts.load(), i);
    StartTheWorld();
    EXPECT_EQ(told.starts.load(), i + 1);
  }
  StopTracing();
  EXPECT_EQ(told.wrong.load(), 0);
  for (size_t i = 0; i < static_cast<size_t>(StopReason::kCount); ++i) {
    EXPECT_FALSE(StopReasonText(static_cast<StopReason>(i)).empty());
  }
}

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

TEST(TraceKindsTest, BlockingCallsAndWhatBecameOfTheirPsAreTold) {
  Counts counts;
  BlockingCall([&] { EXPECT_TRUE(true); });
  ASSERT_TRUE(StartTracing(counts));
  uint64_t calls = 0;
  // Sysmon may come between the two, but not each time.
  while (counts.returned_with_p.load() == 0) {
    BlockingCall([&] { EXPECT_EQ(counts.Of(TraceKind::kCall), calls + 1); });
    ++calls;
    EXPECT_EQ(counts.Of(TraceKind::kReturn), calls);
  }
  // Within a call, another one is nothing.
  BlockingCall([] { BlockingCall([] {}); });
  ++calls;
  EXPECT_EQ(counts.Of(TraceKind::kCall), calls);
  // One that stays loses its P, and where others keep both there is none for it when it is back.
  std::atomic<bool> stop{false};
  std::atomic<int> left{2};
  std::atomic<int> running{0};
  for (int i = 0; i < 2; ++i) {
    Go([&] {
      running.fetch_add(1);
      while (!stop.load(std::memory_order_relaxed)) Yield();
      left.fetch_sub(1);
    });
  }
  BlockingCall([&] {
    while (counts.Of(TraceKind::kRetake) == 0 || running.load() < 2) {
    }
  });
  ++calls;
  EXPECT_EQ(counts.Of(TraceKind::kReturn), calls);
  while (counts.returned_on_none.load() == 0) {
    const uint64_t retaken = counts.Of(TraceKind::kRetake);
    BlockingCall([&] {
      while (counts.Of(TraceKind::kRetake) == retaken) {
      }
    });
    ++calls;
  }
  stop.store(true);
  while (left.load() > 0) Yield();
  StopTracing();
  EXPECT_EQ(counts.wrong.load(), 0u);
  EXPECT_EQ(counts.Of(TraceKind::kCall), calls);
  EXPECT_EQ(counts.Of(TraceKind::kReturn), calls);
  EXPECT_GE(counts.Of(TraceKind::kRetake), 1u);
  BlockingCall([] {});
  EXPECT_EQ(counts.Of(TraceKind::kCall), calls);
}

TEST(TraceKindsTest, TimersAreToldAsTheyFire) {
  Counts counts;
  ASSERT_TRUE(StartTracing(counts));
  for (uint64_t i = 1; i <= 20; ++i) {
    WakeClaim claim;
    const uint32_t woken_by =
        ParkUntil(WaitReason::kSleep, NowNanos() + 1000, claim, nullptr, nullptr);
    EXPECT_EQ(woken_by, WakeClaim::kTimedOut);
    EXPECT_GE(counts.Of(TraceKind::kTimer), i);
  }
  StopTracing();
  EXPECT_EQ(counts.wrong.load(), 0u);
}

}  // namespace
}  // namespace plimsoll::sched
