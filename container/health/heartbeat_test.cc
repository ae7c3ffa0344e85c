#include "plimsoll/container/health/heartbeat.h"

#include <atomic>
#include <thread>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

std::atomic<int64_t> fake_now_ns{0};
int64_t FakeNow() { return fake_now_ns.load(std::memory_order_relaxed); }

constexpr int64_t kSecond = 1'000'000'000;

TEST(HeartbeatTest, FailsWhenTheLastBeatIsOlderThanAllowed) {
  const struct {
    int64_t age_ns;
    bool ok;
  } kCases[] = {{0, true}, {kSecond, true}, {kSecond + 1, false}, {60 * kSecond, false}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.age_ns);
    fake_now_ns = 100 * kSecond;
    Heartbeat beat(absl::Seconds(1), &FakeNow);
    beat.Beat();
    fake_now_ns += c.age_ns;
    EXPECT_EQ(beat.Check().ok(), c.ok);
  }
}

TEST(HeartbeatTest, CountsItsBirthAsABeat) {
  fake_now_ns = 7 * kSecond;
  Heartbeat beat(absl::Seconds(1), &FakeNow);
  EXPECT_TRUE(beat.Check().ok());
}

TEST(HeartbeatTest, RecoversWithTheNextBeat) {
  fake_now_ns = 0;
  Heartbeat beat(absl::Seconds(1), &FakeNow);
  fake_now_ns = 5 * kSecond;
  ASSERT_FALSE(beat.Check().ok());
  beat.Beat();
  EXPECT_TRUE(beat.Check().ok());
}

TEST(HeartbeatTest, SaysHowLongItHasBeenSilentAndHowLongItMay) {
  fake_now_ns = 0;
  Heartbeat beat(absl::Milliseconds(1500), &FakeNow);
  fake_now_ns = 4 * kSecond;
  const absl::Status status = beat.Check();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.message(), "no beat for 4s, at most 1.5s allowed");
}

TEST(HeartbeatTest, NeverSeesABeatFromTheFuture) {
  // With the real clock: a check that races with beats must not wrap round to "very old".
  Heartbeat beat(absl::Hours(1));
  std::atomic<bool> stop{false};
  std::thread beater([&] {
    while (!stop.load(std::memory_order_relaxed)) beat.Beat();
  });
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(beat.Check().ok());
  stop.store(true, std::memory_order_relaxed);
  beater.join();
}

}  // namespace
}  // namespace plimsoll::container
