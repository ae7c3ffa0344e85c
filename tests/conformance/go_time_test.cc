// What sleep_test.go, tick_test.go and the timers' part of time_test.go assert in Go, in tests of
// our own. go_tests.md tells which of theirs is which of ours.

#include <atomic>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"
#include "plimsoll/runtime/time/ticker.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

absl::Duration MonotonicNow() { return absl::Nanoseconds(sched::NowNanos()); }

// TestAfterFunc: a function that arms the next one.
TEST(GoTimeTest, AFunctionMayArmTheNextOne) {
  struct Chain : std::enable_shared_from_this<Chain> {
    int left = 10;
    Channel<bool> done;
    void Step() {
      if (--left == 0) {
        done.Send(true);
      } else {
        (void)AfterFunc(absl::ZeroDuration(), [self = shared_from_this()] { self->Step(); });
      }
    }
  };
  const auto chain = std::make_shared<Chain>();
  (void)AfterFunc(absl::ZeroDuration(), [chain] { chain->Step(); });
  EXPECT_EQ(chain->done.Recv(), true);
}

// TestAfterStress: timers that are made, fire and go while others do.
TEST(GoTimeTest, TimersComeAndGoFromManyGoroutines) {
  std::atomic<int> fired{0};
  WaitGroup wg;
  for (int g = 0; g < 8; ++g) {
    wg.Go([&, g] {
      for (int i = 0; i < 300; ++i) {
        if (i % 2 == 0) {
          (void)After(absl::Hours(1));  // dropped while it runs
        } else {
          (void)After(absl::Microseconds((i * g) % 50)).Recv();
          ++fired;
        }
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(fired.load(), 8 * 150);
}

// TestAfter and TestAfterTick.
TEST(GoTimeTest, AfterIsNeverEarlyAloneOrInARow) {
  const absl::Duration start = MonotonicNow();
  constexpr int kCount = 10;
  for (int i = 0; i < kCount; ++i) EXPECT_TRUE(After(absl::Milliseconds(1)).Recv().has_value());
  EXPECT_GE(MonotonicNow() - start, kCount * absl::Milliseconds(1));
}

// TestAfterStop: of two timers that are stopped, neither comes; of two others, both do.
TEST(GoTimeTest, WhatIsStoppedDoesNotCome) {
  std::atomic<bool> ran{false};
  Timer never = AfterFunc(absl::Hours(1), [&] { ran = true; });
  Timer silent(absl::Hours(1));
  const RecvChannel<absl::Time> other = After(absl::Milliseconds(1));
  EXPECT_TRUE(never.Stop());
  EXPECT_TRUE(silent.Stop());
  EXPECT_TRUE(other.Recv().has_value());
  EXPECT_FALSE(ran.load());
  EXPECT_FALSE(never.Stop()) << "a second Stop prevents nothing";
  EXPECT_FALSE(silent.Stop());
  EXPECT_EQ(silent.C().TryRecv().status, RecvStatus::kEmpty);
}

// TestAfterQueuing, in what of it is a promise: each at its own time, whatever order they were made
// in.
TEST(GoTimeTest, TimersMadeInAnyOrderFireAtTheirOwnTimes) {
  constexpr int kSlots[] = {5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0};
  const absl::Duration start = MonotonicNow();
  WaitGroup wg;
  for (const int slot : kSlots) {
    wg.Go([=, after = After(slot * absl::Milliseconds(1))] {
      (void)after.Recv();
      EXPECT_GE(MonotonicNow() - start, slot * absl::Milliseconds(1));
    });
  }
  wg.Wait();
}

// TestTimerStopStress: a Stop that says true has prevented the run.
TEST(GoTimeTest, AStopThatSaysTrueHasPreventedTheRun) {
  WaitGroup wg;
  for (int i = 0; i < 100; ++i) {
    wg.Go([i] {
      auto ran = std::make_shared<std::atomic<bool>>(false);
      auto may_run = std::make_shared<std::atomic<bool>>(true);
      const Channel<bool> over(1);
      Timer t = AfterFunc(absl::Microseconds(500 + 10 * (i % 7)), [=] {
        EXPECT_TRUE(may_run->load()) << "it ran after a Stop that said true";
        *ran = true;
        over.Send(true);
      });
      Sleep(absl::Microseconds(500));
      if (t.Stop()) {
        *may_run = false;
        EXPECT_FALSE(ran->load());
      } else {
        (void)over.Recv();
        EXPECT_TRUE(ran->load());
      }
    });
  }
  wg.Wait();
}

// TestSleepZeroDeadlock.
TEST(GoTimeTest, ASleepOfZeroLeavesTheGoroutineRunnable) {
  WaitGroup wg;
  wg.Go([] {
    for (int i = 0; i < 1000; ++i) Yield();
  });
  for (int i = 0; i < 1000; ++i) {
    Sleep(absl::ZeroDuration());
    const Channel<bool> tmp(1);
    tmp.Send(true);
    EXPECT_EQ(tmp.Recv(), true);
  }
  wg.Wait();
}

// TestReset.
TEST(GoTimeTest, AResetTellsWhetherItWasActiveAndStartsAnew) {
  Timer t(absl::Hours(2));
  EXPECT_TRUE(t.Reset(absl::Hours(3))) << "it was active";
  EXPECT_EQ(t.C().TryRecv().status, RecvStatus::kEmpty);
  EXPECT_TRUE(t.Reset(absl::Milliseconds(1)));
  EXPECT_TRUE(t.C().Recv().has_value());
  EXPECT_FALSE(t.Reset(absl::Milliseconds(1))) << "it had fired";
  EXPECT_TRUE(t.C().Recv().has_value());
}

// TestOverflowSleep and TestOverflowPeriodRuntimeTimer.
TEST(GoTimeTest, TheLongestTimesNeverComeAndTheMostNegativeComeAtOnce) {
  const absl::Duration big = absl::Nanoseconds(std::numeric_limits<int64_t>::max());
  const absl::Duration negative = absl::Nanoseconds(std::numeric_limits<int64_t>::min());
  const RecvChannel<absl::Time> never = After(big);
  EXPECT_TRUE(After(negative).Recv().has_value());
  EXPECT_TRUE(After(-absl::InfiniteDuration()).Recv().has_value());
  EXPECT_EQ(never.TryRecv().status, RecvStatus::kEmpty);
  Ticker ticker(big);
  EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kEmpty);
}

// TestTimerModifiedEarlier: an hour that becomes the past comes at once.
TEST(GoTimeTest, ATimerMovedIntoThePastFiresAtOnce) {
  for (int i = 0; i < 300; ++i) {
    Timer timer(absl::Hours(1));
    for (int j = 0; j < 10; ++j) {
      (void)timer.Stop();
      (void)timer.Reset(-absl::Hours(24 * 365 * 30));
    }
    EXPECT_TRUE(timer.C().Recv().has_value());
  }
}

// TestAdjustTimers: a hundred timers, each walked through eleven states in a random order.
TEST(GoTimeTest, AHundredTimersMovedForwardAndBackEachFireWhenTheyShould) {
  const unsigned seed = std::random_device{}();
  testing::Test::RecordProperty("seed", std::to_string(seed));  // SCOPED_TRACE is a thread's
  std::mt19937 random(seed);
  constexpr size_t kTimers = 100;
  std::vector<std::optional<Timer>> timers(kTimers);
  std::vector<int> state(kTimers);
  std::vector<size_t> left(kTimers);
  std::iota(left.begin(), left.end(), size_t{0});
  while (!left.empty()) {
    const size_t at = random() % left.size();
    const size_t i = left[at];
    std::optional<Timer>& timer = timers[i];
    switch (state[i]++) {
      case 0:
        timer.emplace(absl::ZeroDuration());
        break;
      case 1:
        ASSERT_TRUE(timer->C().Recv().has_value());
        break;
      case 2:
        ASSERT_FALSE(timer->Reset(absl::Minutes(1)));
        break;
      case 4:
        ASSERT_FALSE(timer->Reset(absl::Minutes(3)));
        break;
      case 6:
        ASSERT_FALSE(timer->Reset(absl::Minutes(2)));
        break;
      case 3:
      case 5:
      case 7:
        ASSERT_TRUE(timer->Stop());
        break;
      case 8:
        ASSERT_FALSE(timer->Reset(absl::ZeroDuration()));
        break;
      case 9:
        ASSERT_TRUE(timer->C().Recv().has_value());
        break;
      default:
        left[at] = left.back();
        left.pop_back();
    }
  }
}

// TestConcurrentTimerReset and TestConcurrentTimerResetStop.
TEST(GoTimeTest, ResetsAndStopsOfOneTimerFromManyGoroutines) {
  Timer timer(absl::Hours(1));
  WaitGroup wg;
  for (int g = 0; g < 8; ++g) {
    wg.Go([&timer, g] {
      for (int i = 0; i < 1000; ++i) (void)timer.Reset(absl::Hours(1) + g * i * absl::Seconds(1));
    });
    wg.Go([&timer] { (void)timer.Stop(); });
  }
  wg.Wait();
  (void)timer.Reset(absl::ZeroDuration());
  EXPECT_TRUE(timer.C().Recv().has_value());
}

// TestTicker: n ticks take n periods, by the grid; after a Reset, the new one's.
TEST(GoTimeTest, TicksComeAtThePeriodAndAtTheNewOneAfterReset) {
  constexpr int kCount = 10;
  for (const absl::Duration period : {absl::Milliseconds(1), absl::Milliseconds(2)}) {
    const absl::Duration start = MonotonicNow();
    Ticker ticker(period);
    for (int i = 0; i < kCount / 2; ++i) (void)ticker.C().Recv();
    const absl::Duration middle = MonotonicNow();
    EXPECT_GE(middle - start, kCount / 2 * period);
    ticker.Reset(period * 2);
    for (int i = 0; i < kCount / 2; ++i) (void)ticker.C().Recv();
    EXPECT_GE(MonotonicNow() - middle, (kCount / 2 - 1) * period * 2);
    ticker.Stop();
    EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kEmpty);
  }
}

// TestTeardown.
TEST(GoTimeTest, ATickerThatEndsLeavesNothingBehind) {
  for (int i = 0; i < 1000; ++i) {
    Ticker ticker(absl::Microseconds(50));
    if (i % 10 == 0) (void)ticker.C().Recv();
    ticker.Stop();
  }
}

// TestNewTickerLtZeroDuration and TestTickerResetLtZeroDuration, with the caller's line.
TEST(GoTimeTest, ATickerOfNoPeriodPanicsInBothWaysWithTheCallersLine) {
  for (const absl::Duration d : {absl::ZeroDuration(), -absl::Seconds(1)}) {
    int line = 0;
    try {
      line = __LINE__ + 1;
      Ticker ticker(d);
      FAIL() << "no panic";
    } catch (const Panic& p) {
      EXPECT_STREQ(p.what(), "non-positive interval for NewTicker");
      EXPECT_EQ(static_cast<int>(p.where().line()), line);
    }
    Ticker ticker(absl::Hours(1));
    try {
      line = __LINE__ + 1;
      ticker.Reset(d);
      FAIL() << "no panic";
    } catch (const Panic& p) {
      EXPECT_STREQ(p.what(), "non-positive interval for Ticker.Reset");
      EXPECT_EQ(static_cast<int>(p.where().line()), line);
    }
  }
}

// T4, TestTimerFairness of the runtime's: a timer fires while every P has a goroutine that never
// stops to yield.
TEST(GoTimeTest, ATimerFiresWhileEveryPIsBusy) {
  std::atomic<bool> stop{false};
  WaitGroup wg;
  for (int p = 0; p < 4; ++p) {
    wg.Go([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  for (int i = 0; i < 5; ++i) Sleep(absl::Milliseconds(1));  // the time limit is the assertion
  stop = true;
  wg.Wait();
}

}  // namespace
}  // namespace plimsoll
