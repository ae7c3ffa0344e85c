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

// The order is not asserted: two that are late together may be woken on two Ps at once.
TEST(SleepTest, ManySleepersWakeEachAtItsOwnTime) {
  constexpr int kSleepers = 200;
  Channel<absl::Duration> early(kSleepers);
  for (int i = 0; i < kSleepers; ++i) {
    Go([=] {
      const absl::Duration d = absl::Microseconds(137 * (i % 50));
      const absl::Duration start = MonotonicNow();
      Sleep(d);
      early.Send(d - (MonotonicNow() - start));
    });
  }
  for (int i = 0; i < kSleepers; ++i) EXPECT_LE(*early.Recv(), absl::ZeroDuration());
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
