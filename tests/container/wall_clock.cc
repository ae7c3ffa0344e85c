// T5: a step of the wall clock, by NTP or by hand, moves no timer. A GoogleTest program for a
// machine of its own, whose clock it sets by an hour and back while something waits: v2_vm_test
// boots one.
//
// A wait that followed the wall clock would end early by the step ahead, which is asserted, or an
// hour late by the step back, which is the test's time limit.

#include <errno.h>
#include <string.h>
#include <time.h>

#include <atomic>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/sync/semaphore.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"
#include "plimsoll/runtime/time/ticker.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

constexpr absl::Duration kWait = absl::Milliseconds(300);

absl::Duration MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// Runs `wait`, which is to take `least`, while the wall clock goes an hour ahead, and again while
// it goes an hour back; and again where the machine was so late that the wait was over by then.
template <typename Wait>
void AcrossSteps(absl::Duration least, Wait wait) {
  for (const int hours : {1, -1}) {
    for (bool within = false; !within;) {
      std::atomic<bool> stepped{false};
      WaitGroup wg;
      const absl::Time wall = absl::Now();
      const absl::Duration start = MonotonicNow();
      wg.Go([&] {
        Sleep(kWait / 6);
        timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        now.tv_sec += hours * 3600;
        EXPECT_EQ(clock_settime(CLOCK_REALTIME, &now), 0) << strerror(errno);
        stepped = true;
      });
      wait();
      within = stepped.load();
      EXPECT_GE(MonotonicNow() - start, least) << hours;
      wg.Wait();
      // The step was one.
      ASSERT_GT((absl::Now() - wall) * hours, absl::Minutes(50));
    }
  }
}

TEST(WallClockTest, AStepMovesNoSleep) {
  AcrossSteps(kWait, [] { Sleep(kWait); });
}

TEST(WallClockTest, AStepMovesNoTimerAndNoTicker) {
  AcrossSteps(kWait, [] { (void)Timer(kWait).C().Recv(); });
  AcrossSteps(kWait, [] {
    const Channel<bool> ran;
    const Timer timer = AfterFunc(kWait, [ran] { ran.Send(true); });
    (void)ran.Recv();
  });
  AcrossSteps(kWait, [] {
    Ticker ticker(kWait / 3);
    for (int i = 0; i < 3; ++i) (void)ticker.C().Recv();
  });
}

TEST(WallClockTest, AStepMovesNoTimedFormOfAWait) {
  const Channel<int> never;
  AcrossSteps(kWait, [&] { EXPECT_EQ(never.TryRecvFor(kWait).status, RecvStatus::kEmpty); });
  AcrossSteps(kWait, [&] { EXPECT_EQ(Select(OnRecv(never), Timeout(kWait)), 1); });
  AcrossSteps(kWait, [] {
    Semaphore none(0);
    EXPECT_FALSE(none.TryAcquireFor(1, kWait));
  });
}

TEST(WallClockTest, AStepMovesNoDeadlineOfAContext) {
  AcrossSteps(kWait, [] {
    auto [ctx, cancel] = WithTimeout(Background(), kWait);
    (void)ctx.Done().Recv();
    EXPECT_EQ(ctx.Err().message(), "context deadline exceeded");
  });
  // Told as a time of the wall clock, it is a duration from the moment it was told, as in Go. What
  // passes between absl::Now() and there is its own: hence less than kWait.
  AcrossSteps(kWait * 0.9, [] {
    auto [ctx, cancel] = WithDeadline(Background(), absl::Now() + kWait);
    (void)ctx.Done().Recv();
    EXPECT_EQ(ctx.Err().message(), "context deadline exceeded");
  });
}

}  // namespace
}  // namespace plimsoll
