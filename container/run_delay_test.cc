#include "plimsoll/container/run_delay.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

constexpr int64_t kMs = 1'000'000;

int OpenDescriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

class RunDelayTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::path(testing::TempDir()) / ("task" + std::to_string(getpid()));
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void Set(int tid, int64_t run_ms, int64_t wait_ms) {
    std::filesystem::create_directories(dir_ / std::to_string(tid));
    std::ofstream(dir_ / std::to_string(tid) / "schedstat")
        << run_ms * kMs << ' ' << wait_ms * kMs << " 5\n";
  }
  void End(int tid) { std::filesystem::remove_all(dir_ / std::to_string(tid)); }

  std::filesystem::path dir_;
};

TEST_F(RunDelayTest, SumsWhatEachThreadDidSinceThePollBefore) {
  Set(10, 5, 1);
  Set(11, 7, 2);
  RunDelay threads(dir_);
  RunDelay::Step step = threads.Poll(0);
  EXPECT_EQ(step.threads, 2);
  EXPECT_EQ(step.run_ns, 12 * kMs);
  Set(10, 25, 81);
  Set(11, 7, 2);
  Set(12, 3, 4);  // born meanwhile
  step = threads.Poll(100 * kMs);
  EXPECT_EQ(step.threads, 3);
  EXPECT_EQ(step.run_ns, 23 * kMs);
  EXPECT_EQ(step.wait_ns, 84 * kMs);
}

TEST_F(RunDelayTest, CountsAThreadAsSaturatedThatRanOrWaitedAllTheTime) {
  const struct {
    int64_t run_ms, wait_ms;
    int saturated;
  } kCases[] = {{100, 0, 1}, {20, 80, 1}, {0, 95, 1}, {45, 46, 1}, {50, 30, 0}, {0, 0, 0}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.run_ms << " " << c.wait_ms);
    Set(10, 1000, 1000);
    RunDelay threads(dir_);
    EXPECT_EQ(threads.Poll(0).saturated, 0) << "the first says nothing of it";
    Set(10, 1000 + c.run_ms, 1000 + c.wait_ms);
    const RunDelay::Step step = threads.Poll(100 * kMs);
    EXPECT_EQ(step.saturated, c.saturated);
    EXPECT_EQ(step.saturated_run_ns, c.saturated != 0 ? c.run_ms * kMs : 0);
  }
}

TEST_F(RunDelayTest, AWaitThatIsUnderWayIsNotTakenForSleep) {
  // Two threads share 20 ms in each 100 of a quota out of sight. The interval ends 80 ms into a
  // wait, which the kernel has not counted yet; the one after it begins so and ends so.
  const struct {
    int64_t run_ms, wait_ms;
    int saturated;
  } kCases[] = {
      {50, 370, 1},   // one wait is missing
      {50, 450, 1},   // none is, or as much as came from before
      {50, 290, 0},   // two: it slept
      {350, 0, 0},    // works for 70 % of the time, and nobody keeps it from it
      {240, 180, 0},  // waits little: what is missing is sleep
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.run_ms << " " << c.wait_ms);
    Set(10, 0, 0);
    RunDelay threads(dir_);
    threads.Poll(0);
    Set(10, c.run_ms, c.wait_ms);
    EXPECT_EQ(threads.Poll(500 * kMs).saturated, c.saturated);
  }
}

TEST_F(RunDelayTest, ForgetsThreadsThatEndedAndStartsAnewWithTheirNumber) {
  Set(10, 50, 50);
  RunDelay threads(dir_);
  threads.Poll(0);
  End(10);
  EXPECT_EQ(threads.Poll(1).threads, 0);
  Set(10, 3, 0);
  const RunDelay::Step step = threads.Poll(2);
  EXPECT_EQ(step.threads, 1);
  EXPECT_EQ(step.run_ns, 3 * kMs);
}

TEST_F(RunDelayTest, KeepsABoundedNumberOfDescriptorsAndStillSeesEveryThread) {
  const int threads_made = static_cast<int>(RunDelay::kKeptThreads) + 40;
  for (int tid = 1; tid <= threads_made; ++tid) Set(tid, 1, 1);
  const int before = OpenDescriptors();
  {
    RunDelay threads(dir_);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(threads.Poll(i).threads, threads_made);
    EXPECT_LE(OpenDescriptors(), before + static_cast<int>(RunDelay::kKeptThreads) + 1);
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(RunDelayTest, IsUnavailableWhereNothingCanBeRead) {
  EXPECT_FALSE(RunDelay("/no/such/dir").Poll(0).available);
  EXPECT_FALSE(RunDelay(dir_).Poll(0).available) << "no threads";
  std::filesystem::create_directories(dir_ / "10");
  EXPECT_FALSE(RunDelay(dir_).Poll(0).available) << "no schedstat";
  std::ofstream(dir_ / "10" / "schedstat") << "garbage";
  EXPECT_FALSE(RunDelay(dir_).Poll(0).available) << "garbage";
}

TEST(RunDelayOfThisProcessTest, SeesThatAThreadRan) {
  RunDelay threads;
  const RunDelay::Step first = threads.Poll(0);
  if (!first.available) GTEST_SKIP() << "/proc/self/task/*/schedstat: not on this kernel";
  std::atomic<bool> stop{false};
  std::thread spinner([&] {
    timespec used;
    do {
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    } while (used.tv_sec == 0 && used.tv_nsec < 20 * kMs);
    while (!stop.load(std::memory_order_acquire)) std::this_thread::yield();
  });
  uint64_t run_ns = 0;
  while (run_ns < 20 * kMs) run_ns += threads.Poll(1).run_ns;
  stop.store(true, std::memory_order_release);
  spinner.join();
}

}  // namespace
}  // namespace plimsoll::container
