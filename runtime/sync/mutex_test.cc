#include "plimsoll/runtime/sync/mutex.h"

#include <memory>
#include <mutex>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// An unlock by one who did not lock, which clang's analysis takes for a mistake.
void UnlockAnyway(Mutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.unlock(); }
void LockAnyway(Mutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.lock(); }

// Keeps its processor for `ns`, as a goroutine at work does.
void Spin(int64_t ns) {
  for (const int64_t end = sched::NowNanos() + ns; sched::NowNanos() < end;) {
  }
}

TEST(MutexTest, LetsOneGoroutineInAtATime) {
  Mutex mu;
  WaitGroup wg;
  int64_t counter = 0;  // plain: TSan sees a lock that does not exclude
  for (int g = 0; g < 8; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 5000; ++i) {
        std::lock_guard hold(mu);
        ++counter;
        if (i % 64 == 0) sched::Yield();  // with the lock held: the others must park
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(counter, 40'000);
}

TEST(MutexTest, GoroutinesAndThreadsExcludeEachOther) {
  Mutex mu;
  WaitGroup wg;
  int64_t counter = 0;
  auto work = [&] {
    for (int i = 0; i < 3000; ++i) {
      std::lock_guard hold(mu);
      ++counter;
    }
  };
  std::thread thread(work);
  for (int g = 0; g < 3; ++g) wg.Go(work);
  wg.Wait();
  thread.join();
  EXPECT_EQ(counter, 12'000);
}

TEST(MutexTest, TryLockRefusesAHeldMutex) {
  Mutex mu;
  if (!mu.try_lock()) FAIL() << "it is free";
  EXPECT_FALSE(mu.try_lock());
  mu.unlock();
  if (!mu.try_lock()) FAIL() << "it is free again";
  mu.unlock();
}

TEST(MutexTest, MayBeUnlockedByAnotherGoroutine) {
  Mutex mu;
  WaitGroup wg;
  mu.lock();
  wg.Go([&] { UnlockAnyway(mu); });
  LockAnyway(mu);
  mu.unlock();
  wg.Wait();
}

TEST(MutexTest, AWaiterGetsInAgainstAHogThatHardlyEverLetsGo) {
  // Go's TestMutexFairness: the hog releases and retakes at once, the other sleeps between tries.
  Mutex mu;
  std::atomic<bool> stop{false};
  WaitGroup wg;
  wg.Go([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      std::lock_guard hold(mu);
      Spin(100'000);
    }
  });
  wg.Go([&] {
    for (int i = 0; i < 10; ++i) {
      Spin(100'000);
      std::lock_guard hold(mu);
    }
    stop.store(true, std::memory_order_relaxed);
  });
  wg.Wait();  // the test's own time limit is the assertion
}

TEST(MutexTest, MayDieAsSoonAsNobodyNeedsIt) {
  // The one that finds itself last deletes the mutex while the other is still within unlock().
  struct Shared {
    Mutex mu;
    int refs = 3;
    static void Release(Shared* s) {
      s->mu.lock();
      sched::Yield();
      const bool last = --s->refs == 0;
      s->mu.unlock();
      if (last) delete s;
    }
  };
  for (int round = 0; round < 300; ++round) {
    auto* shared = new Shared;
    WaitGroup wg;
    for (int g = 0; g < 3; ++g) wg.Go([shared] { Shared::Release(shared); });
    wg.Wait();
  }
}

TEST(MutexDeathTest, UnlockOfAnUnlockedMutexIsFatalAndNoPanic) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Mutex mu;
        mu.lock();
        mu.unlock();
        try {
          UnlockAnyway(mu);
        } catch (...) {
          _exit(0);
        }
      },
      testing::ExitedWithCode(2), "fatal error: sync: unlock of unlocked mutex");
}

}  // namespace
}  // namespace plimsoll
