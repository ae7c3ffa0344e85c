#include "plimsoll/runtime/sync/rw_mutex.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// Lets every goroutine that can run do so. What has not happened by then does not happen by itself.
void LetOthersRun() {
  for (int i = 0; i < 200; ++i) sched::Yield();
}

TEST(RWMutexTest, ReadersAreInTogether) {
  RWMutex mu;
  WaitGroup wg;
  std::atomic<int> inside{0};
  for (int i = 0; i < 4; ++i) {
    wg.Go([&] {
      std::shared_lock hold(mu);
      inside.fetch_add(1);
      while (inside.load() != 4) sched::Yield();  // ends only if all four are in at once
    });
  }
  wg.Wait();
}

TEST(RWMutexTest, AWriterIsAlone) {
  RWMutex mu;
  WaitGroup wg;
  int64_t value = 0;  // plain: TSan sees a lock that does not exclude
  std::atomic<int> writers_inside{0};
  std::atomic<int> readers_inside{0};
  for (int w = 0; w < 3; ++w) {
    wg.Go([&] {
      for (int i = 0; i < 1000; ++i) {
        std::lock_guard hold(mu);
        ASSERT_EQ(writers_inside.fetch_add(1), 0);
        ASSERT_EQ(readers_inside.load(), 0);
        ++value;
        if (i % 16 == 0) sched::Yield();
        writers_inside.fetch_sub(1);
      }
    });
  }
  int64_t seen[4] = {};
  for (int r = 0; r < 4; ++r) {
    wg.Go([&, r] {
      for (int i = 0; i < 1000; ++i) {
        std::shared_lock hold(mu);
        readers_inside.fetch_add(1);
        ASSERT_EQ(writers_inside.load(), 0);
        seen[r] = value;
        if (i % 16 == 0) sched::Yield();
        readers_inside.fetch_sub(1);
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(value, 3000);
}

TEST(RWMutexTest, AWaitingWriterKeepsNewReadersOut) {
  RWMutex mu;
  WaitGroup wg;
  std::atomic<bool> written{false};
  std::atomic<bool> second_reader_in{false};
  mu.lock_shared();
  wg.Go([&] {
    std::lock_guard hold(mu);
    EXPECT_FALSE(second_reader_in.load());
    written.store(true);
  });
  while (mu.try_lock_shared()) {  // until the writer has announced itself
    mu.unlock_shared();
    sched::Yield();
  }
  wg.Go([&] {
    std::shared_lock hold(mu);
    second_reader_in.store(true);
    EXPECT_TRUE(written.load());
  });
  LetOthersRun();
  EXPECT_FALSE(written.load());
  EXPECT_FALSE(second_reader_in.load());
  mu.unlock_shared();
  wg.Wait();
  EXPECT_TRUE(second_reader_in.load());
}

TEST(RWMutexTest, TryLocksRefuseWhatWouldWait) {
  RWMutex mu;
  ASSERT_TRUE(mu.try_lock_shared());
  ASSERT_TRUE(mu.try_lock_shared());
  EXPECT_FALSE(mu.try_lock());
  mu.unlock_shared();
  mu.unlock_shared();
  ASSERT_TRUE(mu.try_lock());
  EXPECT_FALSE(mu.try_lock());
  EXPECT_FALSE(mu.try_lock_shared());
  mu.unlock();
  ASSERT_TRUE(mu.try_lock_shared());
  mu.unlock_shared();
}

TEST(RWMutexTest, MayBeUnlockedByAnotherGoroutine) {
  RWMutex mu;
  WaitGroup wg;
  mu.lock();
  wg.Go([&] { mu.unlock(); });
  mu.lock_shared();
  wg.Go([&] { mu.unlock_shared(); });
  mu.lock();
  mu.unlock();
  wg.Wait();
}

TEST(RWMutexDeathTest, UnlockingWhatIsNotLockedIsFatalAndNoPanic) {
  EXPECT_EXIT(
      {
        try {
          RWMutex().unlock();
        } catch (...) {
          _exit(0);
        }
      },
      testing::ExitedWithCode(2), "fatal error: sync: Unlock of unlocked RWMutex");
  EXPECT_EXIT(RWMutex().unlock_shared(), testing::ExitedWithCode(2),
              "fatal error: sync: RUnlock of unlocked RWMutex");
  EXPECT_EXIT(
      {
        RWMutex mu;
        mu.lock();
        mu.unlock_shared();
      },
      testing::ExitedWithCode(2), "fatal error: sync: RUnlock of unlocked RWMutex");
}

}  // namespace
}  // namespace plimsoll
