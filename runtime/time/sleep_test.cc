#include "plimsoll/runtime/time/sleep.h"

#include <time.h>

#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"

namespace plimsoll {
namespace {

absl::Duration MonotonicNow() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

TEST(SleepTest, IsNeverShort) {
  for (const absl::Duration d : {absl::Nanoseconds(1), absl::Microseconds(50),
                                 absl::Milliseconds(3), absl::Nanoseconds(10) / 3}) {
    const absl::Duration start = MonotonicNow();
    Sleep(d);
    EXPECT_GE(MonotonicNow() - start, d) << absl::FormatDuration(d);
  }
}

TEST(SleepTest, ZeroOrLessReturnsAtOnce) {
  for (const absl::Duration d :
       {absl::ZeroDuration(), absl::Nanoseconds(-1), -absl::InfiniteDuration()}) {
    Sleep(d);  // the test's own time limit is the assertion
  }
}

TEST(SleepTest, SleepersWakeInTheOrderOfTheirTimes) {
  Channel<int> order(3);
  for (const int ms : {30, 10, 20}) {
    Go([=] {
      Sleep(absl::Milliseconds(ms));
      order.Send(ms);
    });
  }
  std::vector<int> got;
  for (int i = 0; i < 3; ++i) got.push_back(*order.Recv());
  EXPECT_EQ(got, (std::vector<int>{10, 20, 30}));
}

TEST(SleepTest, ATimeBeyondTheClockDoesNotOverflow) {
  for (const absl::Duration d : {absl::InfiniteDuration(), absl::Hours(24 * 365 * 400),
                                 absl::Nanoseconds(std::numeric_limits<int64_t>::max())}) {
    Channel<bool> woke;
    Go([=] {
      Sleep(d);
      woke.Close();
    });
    EXPECT_EQ(woke.TryRecvFor(absl::Milliseconds(5)).status, RecvStatus::kEmpty)
        << absl::FormatDuration(d);
  }
}

}  // namespace
}  // namespace plimsoll
