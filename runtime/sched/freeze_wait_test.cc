#include "plimsoll/runtime/sched/freeze_wait.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kAsked = 1'000'000 * kMs;

// How long one is waited for that is always in `state` and uses `cpu_percent` of a CPU.
int64_t WaitedMs(FreezeWait wait, char state, int64_t cpu_percent) {
  wait.For(0);
  for (int64_t ms = 0;; ++ms) {
    if (!wait.GoesOn(kAsked + ms * kMs, state, ms * kMs * cpu_percent / 100)) return ms;
  }
}

TEST(FreezeWaitTest, OneThatGetsNoCpuIsWaitedFor) {
  const struct {
    const char* what;
    char state;
    int64_t cpu_percent;
    int64_t ms;
  } kCases[] = {
      {"gets no CPU at all", 'R', 0, 10'000},
      {"gets a hundredth of one", 'R', 1, 10'000},
      {"gets a fiftieth, and runs on", 'R', 2, 5'000},
      {"runs on: it blocks the signal", 'R', 100, 100},
      {"sleeps and blocks the signal", 'S', 0, 100},
      {"reads a disk that does not answer", 'D', 0, 100},
      {"is stopped", 'T', 0, 100},
      {"cannot be seen", '\0', 0, 1'000},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    EXPECT_EQ(WaitedMs(FreezeWait(kAsked), c.state, c.cpu_percent), c.ms);
  }
}

TEST(FreezeWaitTest, OneThatWakesHasItsTimeFromThereOn) {
  FreezeWait wait(kAsked);
  wait.For(0);
  EXPECT_TRUE(wait.GoesOn(kAsked + 99 * kMs, 'D', 0));
  EXPECT_TRUE(wait.GoesOn(kAsked + 3'000 * kMs, 'R', 0));
  EXPECT_TRUE(wait.GoesOn(kAsked + 3'099 * kMs, 'D', 0));
  EXPECT_FALSE(wait.GoesOn(kAsked + 3'100 * kMs, 'D', 0));
}

TEST(FreezeWaitTest, ThoseThatSleepHaveTheirTimeTogetherAndAllHaveTenSeconds) {
  FreezeWait wait(kAsked);
  wait.For(7 * kMs);
  EXPECT_FALSE(wait.GoesOn(kAsked + 100 * kMs, 'S', 7 * kMs));
  wait.For(0);
  EXPECT_FALSE(wait.GoesOn(kAsked + 100 * kMs, 'S', 0));
  wait.For(500 * kMs);
  EXPECT_TRUE(wait.GoesOn(kAsked + 9'999 * kMs, 'R', 599 * kMs));
  EXPECT_FALSE(wait.GoesOn(kAsked + 10'000 * kMs, 'R', 599 * kMs));
  wait.For(0);
  EXPECT_FALSE(wait.GoesOn(kAsked + 10'001 * kMs, 'R', 0));
}

}  // namespace
}  // namespace plimsoll::sched
