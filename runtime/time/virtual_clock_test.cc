// What a timer and a ticker do once their time has passed, on the seeded mode's virtual clock:
// timers fire in the order of their deadlines, so whatever is due before a Sleep's end has fired
// when the Sleep returns, and hours cost nothing. The clock moves wherever the seed may let another
// goroutine run; a NoPreempt holds it still.

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/time/sleep.h"
#include "plimsoll/runtime/time/ticker.h"
#include "plimsoll/runtime/time/timer.h"
#include "plimsoll/tests/testing/seeds.h"

namespace plimsoll {
namespace {

using testing::ForEachSeed;

constexpr uint64_t kSeeds = 300;

TEST(TimerTest, ATimeThatNobodyReceivedIsTakenBackByStopAndCountsAsPrevented) {
  ForEachSeed(kSeeds, [] {
    Timer timer(absl::Nanoseconds(1));
    Sleep(absl::Hours(1));
    EXPECT_TRUE(timer.Stop());
    EXPECT_EQ(timer.C().TryRecv().status, RecvStatus::kEmpty);
  });
}

TEST(TimerTest, ATimeThatNobodyReceivedStaysUntilSomebodyDoes) {
  ForEachSeed(kSeeds, [] {
    Timer timer(absl::Nanoseconds(1));
    Sleep(absl::Hours(1));
    EXPECT_EQ(timer.C().TryRecv().status, RecvStatus::kValue);
    EXPECT_EQ(timer.C().TryRecv().status, RecvStatus::kEmpty);
  });
}

TEST(TimerTest, ItsChannelLooksUnbuffered) {
  ForEachSeed(kSeeds, [] {
    Timer timer(absl::Nanoseconds(1));
    Sleep(absl::Hours(1));
    EXPECT_EQ(timer.C().Len(), 0u);
    EXPECT_EQ(timer.C().Cap(), 0u);
  });
}

TEST(TickerTest, ASlowReaderFindsOneTick) {
  ForEachSeed(kSeeds, [] {
    Ticker ticker(absl::Hours(1));
    Sleep(absl::Hours(10));  // ten ticks are due
    sched::NoPreempt no_tick_meanwhile;
    EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kValue);
    EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kEmpty);
  });
}

TEST(TickerTest, AfterResetNoTickOfBeforeIsReceived) {
  ForEachSeed(kSeeds, [] {
    Ticker ticker(absl::Hours(1));
    Sleep(absl::Hours(10));
    {
      sched::NoPreempt no_tick_meanwhile;
      ticker.Reset(absl::Hours(2));
      EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kEmpty);
    }
    Sleep(absl::Hours(3));
    EXPECT_EQ(ticker.C().TryRecv().status, RecvStatus::kValue);
  });
}

TEST(TickerTest, ItsChannelLooksUnbuffered) {
  ForEachSeed(kSeeds, [] {
    Ticker ticker(absl::Hours(1));
    Sleep(absl::Hours(2));
    EXPECT_EQ(ticker.C().Len(), 0u);
    EXPECT_EQ(ticker.C().Cap(), 0u);
  });
}

}  // namespace
}  // namespace plimsoll
