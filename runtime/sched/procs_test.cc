#include "plimsoll/runtime/sched/procs.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::sched {
namespace {

int64_t TestSeconds() {
  const char* text = getenv("PLIMSOLL_TEST_SECONDS");
  return text != nullptr ? atoi(text) : 1;
}

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

class ProcsTest : public testing::Test {
 protected:
  ~ProcsTest() override { SetProcs({.procs = 2, .spin_quota = kNoQuota}); }
};

TEST_F(ProcsTest, ReturnsTheOldNumberAndLessThanOneOnlyAsks) {
  EXPECT_EQ(SetProcs({.procs = 0}), 2);
  EXPECT_EQ(SetProcs({.procs = -1}), 2);
  EXPECT_EQ(SetProcs({.procs = 5}), 2);
  EXPECT_EQ(GetStats().procs, 5);
  EXPECT_EQ(SetProcs({.procs = 1}), 5);
  EXPECT_EQ(SetProcs({.procs = 0}), 1);
}

TEST_F(ProcsTest, MoreThanTheMostIsTheMost) {
  SetProcs({.procs = 1'000'000});
  EXPECT_EQ(SetProcs({.procs = 0}), kMaxProcs);
}

TEST_F(ProcsTest, NewPsRunGoroutinesAtOnce) {
  // Each waits, without parking, for all to have started.
  constexpr int kAtOnce = 6;
  SetProcs({.procs = kAtOnce + 1});
  std::atomic<int> started{0}, done{0};
  for (int i = 0; i < kAtOnce; ++i) {
    Go([&] {
      started.fetch_add(1);
      while (started.load() < kAtOnce) {
      }
      done.fetch_add(1);
    });
  }
  while (done.load() < kAtOnce) Yield();
}

TEST_F(ProcsTest, GoroutinesAndTimersOfAPThatGoesMoveToOneThatStays) {
  SetProcs({.procs = 8});
  std::atomic<int> ran{0}, fired{0};
  std::vector<std::unique_ptr<SchedTimer>> timers;
  constexpr int kEach = 400;
  for (int i = 0; i < kEach; ++i) {
    Go([&] { ran.fetch_add(1); });
    timers.push_back(std::make_unique<SchedTimer>(
        [](void* arg, int64_t) { static_cast<std::atomic<int>*>(arg)->fetch_add(1); }, &fired));
    timers.back()->Arm(NowNanos() + 2'000'000 + i * 1'000);
    if (i % 16 == 0) Yield();  // so that other Ps steal, and arm timers of their own
  }
  SetProcs({.procs = 1});
  while (ran.load() < kEach || fired.load() < kEach) Yield();
  for (auto& t : timers) EXPECT_FALSE(t->Disarm());
}

TEST_F(ProcsTest, WithoutABudgetOnesLooksAreShortAndFindWorkAllTheSame) {
  const struct {
    const char* what;
    double quota;
    bool held;
    bool is_short;
  } kCases[] = {
      {"no quota", kNoQuota, false, false},          {"a quota of one", 1.0, false, true},
      {"a quota of half a CPU", 0.5, false, true},   {"throttled", kNoQuota, true, true},
      {"throttled no more", kNoQuota, false, false},
  };
  constexpr uint64_t kLooks = 50;
  constexpr uint64_t kSteals = 5;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    HoldSpinning(c.held);
    SetProcs({.procs = 2, .spin_quota = c.quota});  // nobody is in the middle of a look
    const Stats before = GetStats();
    Stats after;
    // This P is kept: what is queued here runs where another one finds it.
    do {
      std::atomic<int> ran{0};
      for (int i = 0; i < 4; ++i) Go([&] { ran.fetch_add(1); });
      while (ran.load() < 4) {
      }
      after = GetStats();
    } while (after.looks - before.looks < kLooks || after.steals - before.steals < kSteals);
    const uint64_t looks = after.looks - before.looks;
    const uint64_t short_looks = after.short_looks - before.short_looks;
    if (c.is_short) {
      EXPECT_GE(short_looks + 2, looks) << "one on each P may be counted in part";
      EXPECT_FALSE(CanSpin(0));
    } else {
      EXPECT_EQ(short_looks, 0u);
    }
    EXPECT_GT(after.look_ns, before.look_ns);
  }
}

TEST_F(ProcsTest, PAndTheQuotaAreSetEachByItself) {
  SetProcs({.procs = 2, .spin_quota = 1.5});
  EXPECT_TRUE(sched.spin_budget.counts());
  // GoMaxProcs(n): the quota is the container's all the same.
  SetProcs({.procs = 3});
  EXPECT_TRUE(sched.spin_budget.counts());
  // The container's limits change after that.
  EXPECT_EQ(SetProcs({.spin_quota = 0.5}), 3);
  EXPECT_EQ(GetStats().procs, 3);
  EXPECT_FALSE(CanSpin(0));
  EXPECT_EQ(SetProcs({.spin_quota = kNoQuota}), 3);
  EXPECT_FALSE(sched.spin_budget.counts());
  EXPECT_TRUE(sched.spin_budget.open());
}

TEST_F(ProcsTest, WhatWasSpunBeforeThereWasAQuotaIsNotCharged) {
  // An hour of it.
  sched.all_ps[0]->stat_spins.fetch_add(3'600'000'000);
  const auto sysmon_looks = [] {
    for (int i = 0; i < 3; ++i) {
      const int64_t last = sched.coarse_now_ns.load();
      while (sched.coarse_now_ns.load() == last) Yield();
    }
  };
  sysmon_looks();
  SetProcs({.procs = 2, .spin_quota = 1.5});
  sysmon_looks();
  EXPECT_TRUE(sched.spin_budget.open());
}

TEST_F(ProcsTest, NothingIsLostWhileTheNumberChangesUnderLoad) {
  std::atomic<bool> stop{false};
  std::atomic<int64_t> made{0}, ended{0}, slept{0}, woken{0};
  constexpr int kWorkers = 24;
  for (int w = 0; w < kWorkers; ++w) {
    Go([&, w] {
      while (!stop.load(std::memory_order_relaxed)) {
        switch (w % 3) {
          case 0:
            made.fetch_add(1);
            Go([&] { ended.fetch_add(1); });
            break;
          case 1: {
            slept.fetch_add(1);
            WakeClaim claim;
            ParkUntil(WaitReason::kSleep, NowNanos() + 20'000, claim, nullptr, nullptr);
            woken.fetch_add(1);
            break;
          }
          default:
            break;
        }
        Yield();
      }
      made.fetch_add(1);
      ended.fetch_add(1);
    });
  }
  const int64_t end = NowNanos() + TestSeconds() * 300'000'000;
  const int64_t long_end = TestSeconds() > 1 ? NowNanos() + TestSeconds() * 1'000'000'000 : end;
  int changes = 0;
  uint64_t random = 12345;
  while (NowNanos() < long_end) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const int n = 1 + static_cast<int>((random >> 33) % 64);
    SetProcs({.procs = n});
    ASSERT_EQ(GetStats().procs, n);
    ++changes;
    Yield();
  }
  stop.store(true);
  SetProcs({.procs = 2});
  while (ended.load() < made.load() || woken.load() < slept.load() || GetStats().goroutines > 1) {
    Yield();
  }
  EXPECT_GE(made.load(), kWorkers);
  printf("%d changes, %ld goroutines, %ld sleeps, none lost\n", changes,
         static_cast<long>(made.load()), static_cast<long>(slept.load()));
}

TEST_F(ProcsTest, CallEachSecondRunsOnAGoroutineThatIsNotCounted) {
  static std::atomic<int> calls{0};
  const int64_t before = GetStats().goroutines;
  CallEachSecond([] { calls.fetch_add(1); });
  while (calls.load() == 0) Yield();
  EXPECT_EQ(GetStats().goroutines, before);
}

}  // namespace
}  // namespace plimsoll::sched
