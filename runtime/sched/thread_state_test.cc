#include "plimsoll/runtime/sched/thread_state.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

TEST(ThreadStateTest, TellsAFutexWaitWithoutADeadlineFromAllElse) {
  const std::string futex = std::to_string(SYS_futex);
  const struct {
    std::string text;
    bool waits;
  } kCases[] = {
      {futex + " 0x7f1c02d3e910 0x80 0x2 0x0 0x0 0x0 0x7ffd4c1 0x7f1c\n", true},
      {futex + " 0x7f1c02d3e910 0x0 0x0 0x0 0x0 0xffffffff 0x7ffd4c1 0x7f1c\n", true},
      {futex + " 0x7f1c02d3e910 0x189 0x0 0x0 0x0 0xffffffff 0x7ffd4c1 0x7f1c\n", true},
      {futex + " 0x7f1c02d3e910 0x80 0x2 0x7ffd0010 0x0 0x0 0x7ffd4c1 0x7f1c\n", false},
      {futex + " 0x7f1c02d3e910 0x86 0x2 0x0 0x0 0x0 0x7ffd4c1 0x7f1c\n", false},  // LOCK_PI
      {futex + " 0x7f1c02d3e910 0x80", false},
      {"0 0x3 0x7ffd 0x400 0x0 0x0 0x0 0x7ffd4c1 0x7f1c\n", false},
      {"-1 0x7ffd4c1 0x7f1c\n", false},
      {"running\n", false},
      {"", false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(TellsOfFutexWait(c.text.c_str()), c.waits);
  }
}

// A thread that does one thing until it is told to end.
struct Other {
  enum class Does { kFutex, kFutexWithDeadline, kRead, kRun } does;
  std::atomic<uint32_t> word{0};
  std::atomic<int32_t> tid{0};
  int pipe[2] = {-1, -1};
  pthread_t thread{};

  void Run() {
    tid.store(static_cast<int32_t>(syscall(SYS_gettid)));
    char c;
    const timespec hour{3600, 0};
    switch (does) {
      case Does::kFutex:
        while (word.load() == 0) {
          syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
        }
        break;
      case Does::kFutexWithDeadline:
        while (word.load() == 0) {
          syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &hour, nullptr, 0);
        }
        break;
      case Does::kRead:
        EXPECT_EQ(read(pipe[0], &c, 1), 1);
        break;
      case Does::kRun:
        while (word.load() == 0) {
        }
        break;
    }
  }
  explicit Other(Does what) : does(what) {
    EXPECT_EQ(::pipe(pipe), 0);
    EXPECT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void* self) -> void* {
                    static_cast<Other*>(self)->Run();
                    return nullptr;
                  },
                  this),
              0);
    while (tid.load() == 0) sched_yield();
  }
  ~Other() {
    word.store(1);
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    EXPECT_EQ(write(pipe[1], "x", 1), 1);
    pthread_join(thread, nullptr);
    close(pipe[0]);
    close(pipe[1]);
  }
};

TEST(ThreadStateTest, AThreadInAFutexIsSeenToSleep) {
  Other other(Other::Does::kFutex);
  char text[64];
  const int fd = open("/proc/self/syscall", O_RDONLY | O_CLOEXEC);
  const bool told = fd >= 0 && read(fd, text, sizeof(text)) > 0;
  if (fd >= 0) close(fd);
  if (!told) GTEST_SKIP() << "no /proc/self/syscall here";
  while (!SleepsInFutex(other.tid.load())) sched_yield();
}

TEST(ThreadStateTest, NoOtherThreadIs) {
  for (const auto does : {Other::Does::kFutexWithDeadline, Other::Does::kRead, Other::Does::kRun}) {
    SCOPED_TRACE(static_cast<int>(does));
    Other other(does);
    for (int i = 0; i < 200; ++i) {
      EXPECT_FALSE(SleepsInFutex(other.tid.load()));
      sched_yield();
    }
  }
  EXPECT_FALSE(SleepsInFutex(2'000'000'000));  // no such thread
}

TEST(ThreadStateTest, CpuTimeIsThatOfTheThread) {
  Other runs(Other::Does::kRun);
  const int64_t before = ThreadCpuNanos(runs.tid.load());
  int64_t now;
  while ((now = ThreadCpuNanos(runs.tid.load())) < before + 1'000'000) sched_yield();
  EXPECT_GT(now, before);
  EXPECT_EQ(ThreadCpuNanos(2'000'000'000), 0);
}

TEST(ThreadStateTest, OneThatSpinsRunsAndOneThatWaitsSleeps) {
  std::atomic<bool> stop{false};
  std::atomic<int32_t> spins{0}, waits{0};
  std::thread spinner([&] {
    // What a name may hold.
    pthread_setname_np(pthread_self(), "a) R (b) S");
    spins.store(static_cast<int32_t>(syscall(SYS_gettid)));
    while (!stop.load()) {
    }
  });
  while (spins.load() == 0) {
  }
  EXPECT_EQ(ThreadState(spins.load()), 'R');
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::thread waiter([&] {
    waits.store(static_cast<int32_t>(syscall(SYS_gettid)));
    char c;
    EXPECT_EQ(read(gate[0], &c, 1), 1);
  });
  while (waits.load() == 0 || ThreadState(waits.load()) != 'S') {
  }
  stop.store(true);
  ASSERT_EQ(write(gate[1], "x", 1), 1);
  spinner.join();
  waiter.join();
  close(gate[0]);
  close(gate[1]);
  EXPECT_EQ(ThreadState(0x7fffffff), 0);
}

}  // namespace
}  // namespace plimsoll::sched
