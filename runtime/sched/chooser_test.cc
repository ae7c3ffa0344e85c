// Seeded mode: the same seed gives the same interleaving, and time is the Chooser's.

#include "plimsoll/runtime/sched/chooser.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/tests/testing/seeds.h"

namespace plimsoll::sched {
namespace {

using plimsoll::testing::RunSeed;

// Goroutines that each log thrice: the order tells the interleaving.
std::vector<int> Interleave(uint64_t seed, int goroutines) {
  std::vector<int> order;
  RunSeed(seed, [&order, goroutines] {
    for (int id = 0; id < goroutines; ++id) {
      Go([&order, id] {
        for (int i = 0; i < 3; ++i) {
          order.push_back(id);
          Yield();
        }
      });
    }
  });
  return order;
}

TEST(ChooserTest, TheSameSeedInterleavesTheSameWay) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::vector<int> first = Interleave(seed, 5);
    const ChoiceTrace trace = ChoicesMade();
    EXPECT_EQ(Interleave(seed, 5), first) << "seed " << seed;
    EXPECT_EQ(ChoicesMade().hash, trace.hash) << "seed " << seed;
    EXPECT_EQ(ChoicesMade().choices, trace.choices) << "seed " << seed;
    EXPECT_EQ(trace.seed, seed);
  }
}

TEST(ChooserTest, SeedsTogetherInterleaveInEveryOrder) {
  // 6! / (3! 3!) orders of two goroutines with three steps each.
  std::set<std::vector<int>> orders;
  for (uint64_t seed = 0; seed < 5000; ++seed) orders.insert(Interleave(seed, 2));
  EXPECT_EQ(orders.size(), 20u);
}

TEST(ChooserTest, PreemptionComesAtTheEndsOfRegions) {
  // Neither yields nor parks: only the Chooser can let the other in between.
  std::set<std::string> orders;
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    std::string order;
    RunSeed(seed, [&order] {
      for (const char* id : {"a", "b"}) {
        Go([&order, id] {
          for (int i = 0; i < 2; ++i) {
            order += id;
            NoPreempt region;
          }
        });
      }
    });
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6u);  // 4! / (2! 2!)
}

TEST(ChooserTest, ASleepOfAnHourTakesNoTime) {
  RunSeed(1, [] {
    const int64_t begin = NowNanos();
    constexpr int64_t kHour = 3'600'000'000'000;
    WakeClaim claim;
    EXPECT_EQ(ParkUntil(WaitReason::kSleep, begin + kHour, claim, nullptr, nullptr),
              WakeClaim::kTimedOut);
    EXPECT_GE(NowNanos() - begin, kHour);
    EXPECT_LT(NowNanos() - begin, kHour + 60'000'000'000);
  });
}

TEST(ChooserTest, ATimerMayFireBeforeARunnableGoroutineRuns) {
  bool timer_first = false;
  bool goroutine_first = false;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RunSeed(seed, [&] {
      auto ran = std::make_shared<bool>(false);  // the goroutine may outlive this frame
      Go([ran] {
        Yield();
        *ran = true;
      });
      WakeClaim claim;
      ParkUntil(WaitReason::kSleep, NowNanos() + 1'000'000, claim, nullptr, nullptr);
      (*ran ? goroutine_first : timer_first) = true;
    });
  }
  EXPECT_TRUE(timer_first);
  EXPECT_TRUE(goroutine_first);
}

TEST(ChooserTest, ChoosesEachOfNAlikeFromSeeds) {
  RunSeed(7, [] {
    int counts[5] = {};
    for (int i = 0; i < 50000; ++i) ++counts[ChooseBelow(5)];
    for (int c : counts) EXPECT_NEAR(c, 10000, 500);
  });
}

TEST(ChooserTest, ATracedRunIsToldTheSameEachTime) {
  struct Kinds {
    std::vector<TraceKind> told;
    void Trace(const TraceEvent& e) noexcept {
      if (told.size() < told.capacity()) told.push_back(e.kind);  // never allocates
    }
  };
  const auto told = [](uint64_t seed) {
    Kinds kinds;
    kinds.told.reserve(10'000);
    RunSeed(seed, [&kinds] {
      EXPECT_TRUE(StartTracing(kinds));
      int ended = 0;
      for (int i = 0; i < 3; ++i) {
        Go([&ended] {
          Yield();
          ++ended;
        });
      }
      while (ended < 3) Yield();
      StopTracing();
    });
    return kinds.told;
  };
  for (uint64_t seed = 1; seed < 20; ++seed) {
    const std::vector<TraceKind> first = told(seed);
    EXPECT_EQ(std::count(first.begin(), first.end(), TraceKind::kSpawn), 3) << "seed " << seed;
    EXPECT_EQ(told(seed), first) << "seed " << seed;
  }
}

TEST(ChooserTest, ABlockingCallRunsInline) {
  RunSeed(3, [] {
    bool ran = false;
    EXPECT_EQ(BlockingCall([&ran] {
                ran = true;
                return CurrentThread();
              }),
              0);
    EXPECT_TRUE(ran);
  });
}

TEST(ChooserDeathTest, ADeadlockTellsItsSeed) {
  EXPECT_DEATH(
      RunSeed(42, [] { Park(WaitReason::kChanReceive, [](G*, void*) { return true; }, nullptr); }),
      "fatal error: all goroutines are asleep - deadlock! \\(seed 42, ");
}

TEST(ChooserDeathTest, AForeignThreadMayNotComeIn) {
  EXPECT_DEATH(std::thread([] { CurrentG(); }).join(), "came into a seeded run");
}

}  // namespace
}  // namespace plimsoll::sched
