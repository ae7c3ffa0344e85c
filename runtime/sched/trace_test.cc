// What a small program's scheduler tells, event by event: one P, and no slices but those that end
// at scheduling points, so that there is one order.

#include "plimsoll/runtime/sched/trace.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/trace_buffer.h"

namespace plimsoll::sched {
namespace {

// "park 2 (semacquire)", with goroutines numbered as the test wants them named.
std::string TextOf(const TraceEvent& e, const std::vector<uint64_t>& ids) {
  const auto name = [&](uint64_t id) {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] == id) return std::string(i == 0 ? "main" : i == 1 ? "a" : "b");
    }
    return "goroutine " + std::to_string(id);
  };
  std::string text(TraceKindText(e.kind));
  text += " " + name(e.g);
  if (e.kind == TraceKind::kSpawn || e.kind == TraceKind::kReady) {
    text += " by " + (e.other == 0 ? std::string("nobody") : name(e.other));
  }
  if (e.kind == TraceKind::kPark) text += " (" + std::string(WaitReasonText(e.reason)) + ")";
  return text;
}

// A place where one goroutine waits.
struct Gate {
  base::SpinLock mu;
  G* waiting = nullptr;

  void Wait() {
    NoPreempt guard;
    mu.lock();
    waiting = CurrentG();
    ParkAndUnlock(WaitReason::kSemacquire, mu);
  }
  bool HasOne() {
    NoPreempt guard;
    base::SpinLockHolder hold(mu);
    return waiting != nullptr;
  }
  void Open() {
    NoPreempt guard;
    G* g;
    {
      base::SpinLockHolder hold(mu);
      g = waiting;
      waiting = nullptr;
    }
    Ready(g);
  }
};

TEST(TraceTest, TellsASmallProgramInOrder) {
  TraceBuffer buffer(1000);
  Gate mains, bs;
  std::vector<uint64_t> ids = {GoroutineId(CurrentG()), 0, 0};
  ASSERT_TRUE(StartTracing(buffer));
  // Nowhere is there more than one to choose from: a slice that is over changes the order in which
  // runnext and the ring are asked.
  Go([&] {
    ids[1] = GoroutineId(CurrentG());
    Go([&] {
      ids[2] = GoroutineId(CurrentG());
      bs.Wait();
    });
    Yield();
    bs.Open();
    Yield();
    mains.Open();
  });
  mains.Wait();
  StopTracing();
  EXPECT_EQ(buffer.lost(), 0u);

  std::vector<std::string> told;
  int64_t last_ns = 0;
  for (const TraceEvent& e : buffer.events()) {
    told.push_back(TextOf(e, ids));
    EXPECT_GE(e.when_ns, last_ns);
    last_ns = e.when_ns;
    if (e.kind != TraceKind::kHandOff) {
      EXPECT_EQ(e.proc, 0) << told.back();
    }
  }
  const std::vector<std::string> expected = {
      "spawn a by main",
      "park main (semacquire)",
      "run a",
      "spawn b by a",
      "yield a",
      "run b",
      "park b (semacquire)",
      "run a",
      "ready b by a",
      "yield a",
      "run b",
      "end b",
      "run a",
      "ready main by a",
      "end a",
      "run main",
  };
  EXPECT_EQ(told, expected);
}

TEST(TraceTest, OneTracerAtATimeAndNoneAfterwards) {
  struct Counts {
    std::atomic<int> events{0};
    void Trace(const TraceEvent&) noexcept { events.fetch_add(1); }
  } first, second;
  static_assert(Tracer<Counts>);
  static_assert(!Tracer<int>);
  ASSERT_TRUE(StartTracing(first));
  EXPECT_FALSE(StartTracing(second));
  Go([] {});
  Yield();
  EXPECT_GT(first.events.load(), 0);
  EXPECT_EQ(second.events.load(), 0);
  StopTracing();
  StopTracing();  // for nothing
  const int at_end = first.events.load();
  Go([] {});
  Yield();
  EXPECT_EQ(first.events.load(), at_end);
  ASSERT_TRUE(StartTracing(second));
  Go([] {});
  Yield();
  StopTracing();
  EXPECT_GT(second.events.load(), 0);
  EXPECT_EQ(first.events.load(), at_end);
}

TEST(TraceTest, AForeignThreadsReadyIsToldAsNobodys) {
  TraceBuffer buffer(1000);
  Gate gate;
  ASSERT_TRUE(StartTracing(buffer));
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void* arg) -> void* {
                  auto* g = static_cast<Gate*>(arg);
                  while (!g->HasOne()) sched_yield();
                  g->Open();
                  return nullptr;
                },
                &gate),
            0);
  gate.Wait();
  StopTracing();
  pthread_join(thread, nullptr);
  int readied = 0;
  for (const TraceEvent& e : buffer.events()) {
    if (e.kind != TraceKind::kReady) continue;
    ++readied;
    EXPECT_EQ(e.g, GoroutineId(CurrentG()));
    EXPECT_EQ(e.other, 0u);
    EXPECT_EQ(e.proc, -1);
    EXPECT_EQ(e.thread, -1);
  }
  EXPECT_EQ(readied, 1);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::sched::Run({.procs = 1, .preempt = false}, plimsoll::internal::kEntryOps<decltype(run)>,
                       &run, &exit_code);
}
