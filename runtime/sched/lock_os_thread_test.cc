#include "plimsoll/runtime/sched/lock_os_thread.h"

#include <errno.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"

namespace plimsoll::sched {
namespace {

__attribute__((noinline)) pid_t Tid() {
  asm volatile("");
  return static_cast<pid_t>(syscall(SYS_gettid));
}

void SleepFor(int64_t ns) {
  WakeClaim claim;
  ParkUntil(WaitReason::kSleep, NowNanos() + ns, claim, nullptr, nullptr);
}

TEST(LockOsThreadTest, ALockedGoroutineStaysOnItsThreadAndHasItAlone) {
  std::atomic<pid_t> locked_tid{0};
  std::atomic<bool> stop{false};
  std::atomic<int> moved{0}, trespassed{0}, left{5};
  Go([&] {
    LockOsThread();
    const pid_t mine = Tid();
    locked_tid.store(mine);
    for (int i = 0; i < 300; ++i) {
      switch (i % 3) {
        case 0:
          Yield();
          break;
        case 1:
          SleepFor(10'000);
          break;
        default:
          BlockingCall([] { usleep(50); });
      }
      if (Tid() != mine) moved.fetch_add(1);
    }
    stop.store(true);
    locked_tid.store(0);
    UnlockOsThread();
    left.fetch_sub(1);
  });
  for (int i = 0; i < 4; ++i) {
    Go([&] {
      while (!stop.load()) {
        {
          NoPreempt same_thread;
          if (Tid() == locked_tid.load()) trespassed.fetch_add(1);
        }
        Yield();
      }
      left.fetch_sub(1);
    });
  }
  while (left.load() > 0) Yield();
  EXPECT_EQ(moved.load(), 0);
  EXPECT_EQ(trespassed.load(), 0);
}

TEST(LockOsThreadTest, NestsAndAnUnlockTooManyDoesNothing) {
  std::atomic<bool> done{false};
  Go([&] {
    UnlockOsThread();
    LockOsThread();
    LockOsThread();
    UnlockOsThread();
    const pid_t mine = Tid();
    for (int i = 0; i < 50; ++i) {
      SleepFor(10'000);
      EXPECT_EQ(Tid(), mine);
    }
    UnlockOsThread();
    UnlockOsThread();
    done.store(true);
  });
  while (!done.load()) Yield();
}

TEST(LockOsThreadTest, AGoroutineThatEndsLockedEndsItsThread) {
  // On the process's first thread it only leaves it unused: try until it was another.
  for (;;) {
    std::atomic<pid_t> tid{0};
    Go([&] {
      LockOsThread();
      tid.store(Tid());
    });
    while (tid.load() == 0) Yield();
    if (tid.load() == getpid()) continue;
    while (syscall(SYS_tgkill, getpid(), tid.load(), 0) == 0) Yield();
    EXPECT_EQ(errno, ESRCH);
    return;
  }
}

TEST(LockOsThreadTest, AStickyGoroutineStaysOnItsThread) {
  std::atomic<int> moved{0};
  std::atomic<bool> done{false};
  Go(
      [&] {
        const pid_t mine = Tid();
        for (int i = 0; i < 100; ++i) {
          SleepFor(10'000);
          if (Tid() != mine) moved.fetch_add(1);
        }
        done.store(true);
      },
      {.affinity = Affinity::kSticky});
  while (!done.load()) Yield();
  EXPECT_EQ(moved.load(), 0);
}

TEST(LockOsThreadTest, WhatALockedThreadHasChangedIsInheritedByNoNewThread) {
  // pthread_create copies the timer slack of its caller's thread, as it does what unshare(2)
  // changes.
  constexpr unsigned long kOurs = 123'456;
  constexpr int kCalls = 12;
  std::atomic<int> inside{0}, inherited{0}, left{kCalls + 1};
  std::atomic<bool> changed{false};
  Go([&] {
    LockOsThread();
    const int before = prctl(PR_GET_TIMERSLACK);
    EXPECT_EQ(prctl(PR_SET_TIMERSLACK, kOurs), 0);
    changed.store(true);
    // Each of them blocks until all do: threads are made meanwhile, while this one runs and parks.
    while (inside.load() < kCalls) Yield();
    EXPECT_EQ(prctl(PR_GET_TIMERSLACK), static_cast<int>(kOurs));
    prctl(PR_SET_TIMERSLACK, before);
    UnlockOsThread();
    left.fetch_sub(1);
  });
  while (!changed.load()) Yield();
  for (int i = 0; i < kCalls; ++i) {
    Go([&] {
      BlockingCall([&] {
        if (prctl(PR_GET_TIMERSLACK) == static_cast<int>(kOurs)) inherited.fetch_add(1);
        inside.fetch_add(1);
        while (inside.load() < kCalls) sched_yield();
      });
      left.fetch_sub(1);
    });
  }
  while (left.load() > 0) Yield();
  EXPECT_EQ(inherited.load(), 0);
}

TEST(LockOsThreadTest, LocksRaceWithStopsOfTheWorld) {
  std::atomic<int> left{3};
  std::atomic<bool> stop{false};
  for (int i = 0; i < 2; ++i) {
    Go([&] {
      while (!stop.load()) {
        LockOsThread();
        Yield();
        UnlockOsThread();
        Yield();
      }
      left.fetch_sub(1);
    });
  }
  Go([&] {
    for (int i = 0; i < 200; ++i) {
      StopTheWorld();
      StartTheWorld();
      Yield();
    }
    stop.store(true);
    left.fetch_sub(1);
  });
  while (left.load() > 0) Yield();
}

TEST(MigrateAlwaysTest, AParkedGoroutineGoesOnOnAnotherThreadUnlessNoneIdles) {
  // Only where the suite runs in that mode: PLIMSOLL_DEBUG=migrate=always.
  SleepFor(1'000);
  if (GetStats().resumed == 0) GTEST_SKIP() << "not in migrate=always";
  // How often no M idles is the kernel's choice, so this counts the sleeps that moved.
  int moved = 0;
  for (int sleeps = 0; moved < 2'000; ++sleeps) {
    ASSERT_LT(sleeps, 100'000) << moved << " moved";
    const uint64_t here_before = GetStats().resumed_here;
    const pid_t before = Tid();
    SleepFor(1'000);
    if (Tid() != before) {
      ++moved;
    } else {
      ASSERT_GT(GetStats().resumed_here, here_before) << "stayed, and was not counted";
    }
  }
}

TEST(SetMaxThreadsDeathTest, OneThreadTooManyEndsTheProcessWithGosWords) {
  EXPECT_EQ(SetMaxThreads(10'000), 10'000);
  EXPECT_EXIT(
      {
        SetMaxThreads(GetStats().threads + 2);
        for (int i = 0; i < 20; ++i) {
          Go([] { BlockingCall([] { pause(); }); });
        }
        for (;;) SleepFor(1'000'000);
      },
      testing::ExitedWithCode(2),
      "runtime: program exceeds [0-9]+-thread limit\nfatal error: thread exhaustion");
}

}  // namespace
}  // namespace plimsoll::sched
