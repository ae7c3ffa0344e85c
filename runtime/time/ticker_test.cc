#include "plimsoll/runtime/time/ticker.h"

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace {

TEST(TickerTest, TicksAgainAndAgainAndNotTooFast) {
  const absl::Time start = absl::Now();
  Ticker ticker(absl::Milliseconds(2));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(ticker.C().Recv().has_value());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(9));
}

TEST(TickerTest, AfterStopNoTickIsReceived) {
  for (int i = 0; i < 500; ++i) {
    Ticker ticker(absl::Microseconds(1));
    if (i % 2 == 0) ticker.C().Recv();
    ticker.Stop();
    ASSERT_EQ(ticker.C().TryRecv().status, RecvStatus::kEmpty) << i;
  }
}

TEST(TickerTest, APeriodThatIsNotPositivePanics) {
  for (const absl::Duration period : {absl::ZeroDuration(), absl::Nanoseconds(-1)}) {
    try {
      Ticker ticker(period);
      FAIL() << "no panic";
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), "non-positive interval for NewTicker");
    }
    Ticker ticker(absl::Hours(1));
    try {
      ticker.Reset(period);
      FAIL() << "no panic";
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), "non-positive interval for Ticker.Reset");
    }
  }
}

}  // namespace
}  // namespace plimsoll
