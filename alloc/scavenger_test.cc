#include "plimsoll/alloc/scavenger.h"

#include <gtest/gtest.h>

namespace plimsoll::alloc {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr int64_t kStepNs = 100'000'000;

TEST(ScavengerTest, TenSecondsAfterASpikeLittleMoreThanTheLiveMemoryIsHeld) {
  const struct {
    uint64_t live, spike;
  } kCases[] = {{0, 100}, {10, 1024}, {100, 100}, {1000, 64 * 1024}, {5, 6}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.live << " MiB live after " << c.spike);
    Scavenger scavenger;
    uint64_t idle = c.spike * kMiB;
    for (int64_t now = 0; now <= 10'000'000'000; now += kStepNs) {
      const uint64_t release = scavenger.Plan(now, c.live * kMiB, idle, UINT64_MAX);
      ASSERT_LE(release, idle);
      idle -= release;
    }
    EXPECT_LE(c.live * kMiB + idle, c.live * kMiB * 5 / 4 + 16 * kMiB);
  }
}

TEST(ScavengerTest, ReturnsEvenlyRatherThanInOneGo) {
  Scavenger scavenger;
  uint64_t idle = 1024 * kMiB;
  uint64_t most = 0;
  for (int64_t now = 0; now <= 10'000'000'000; now += kStepNs) {
    const uint64_t release = scavenger.Plan(now, 0, idle, UINT64_MAX);
    most = std::max(most, release);
    idle -= release;
  }
  EXPECT_LE(most, 32 * kMiB);
}

TEST(ScavengerTest, KeepsMemoryThatIsUsedAgainWithinTheSecond) {
  Scavenger scavenger;
  for (int64_t now = 0, step = 0; now <= 20'000'000'000; now += kStepNs, ++step) {
    const uint64_t idle = step % 5 == 0 ? 0 : 500 * kMiB;  // needed twice a second
    EXPECT_EQ(scavenger.Plan(now, 500 * kMiB - idle, idle, UINT64_MAX), 0u) << now;
  }
}

TEST(ScavengerTest, NinetyPercentOfALimitIsHeldAtOnce) {
  Scavenger scavenger;
  EXPECT_EQ(scavenger.Plan(0, 50 * kMiB, 60 * kMiB, 100 * kMiB), 20 * kMiB);
  EXPECT_EQ(scavenger.Plan(kStepNs, 95 * kMiB, 3 * kMiB, 100 * kMiB), 3 * kMiB);  // all there is
  EXPECT_EQ(scavenger.Plan(2 * kStepNs, 50 * kMiB, 40 * kMiB, 100 * kMiB), 0u);
}

TEST(ScavengerTest, AClockThatStandsStillReleasesNothing) {
  Scavenger scavenger;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(scavenger.Plan(7, 0, 900 * kMiB, UINT64_MAX), 0u);
}

}  // namespace
}  // namespace plimsoll::alloc
