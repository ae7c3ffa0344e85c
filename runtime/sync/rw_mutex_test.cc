#include "plimsoll/runtime/sync/rw_mutex.h"

#include <atomic>
#include <mutex>
#include <shared_mutex>

#include "absl/base/thread_annotations.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// Clang's analysis knows one owner of a lock: what many do at once goes past it.
void LockAnyway(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.lock(); }
void ReadAnyway(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.lock_shared(); }
bool TryRead(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { return mu.try_lock_shared(); }
void EndRead(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.unlock_shared(); }
bool TryWrite(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { return mu.try_lock(); }
void EndWrite(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.unlock(); }

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
  ASSERT_TRUE(TryRead(mu));
  wg.Go([&] {
    std::lock_guard hold(mu);
    EXPECT_FALSE(second_reader_in.load());
    written.store(true);
  });
  while (TryRead(mu)) {  // until the writer has announced itself
    EndRead(mu);
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
  EndRead(mu);
  wg.Wait();
  EXPECT_TRUE(second_reader_in.load());
}

TEST(RWMutexTest, TryLocksRefuseWhatWouldWait) {
  RWMutex mu;
  ASSERT_TRUE(TryRead(mu));
  ASSERT_TRUE(TryRead(mu));
  EXPECT_FALSE(TryWrite(mu));
  EndRead(mu);
  EndRead(mu);
  ASSERT_TRUE(TryWrite(mu));
  EXPECT_FALSE(TryWrite(mu));
  EXPECT_FALSE(TryRead(mu));
  EndWrite(mu);
  ASSERT_TRUE(TryRead(mu));
  EndRead(mu);
}

TEST(RWMutexTest, MayBeUnlockedByAnotherGoroutine) {
  RWMutex mu;
  WaitGroup wg;
  LockAnyway(mu);
  wg.Go([&] { EndWrite(mu); });
  ReadAnyway(mu);
  wg.Go([&] { EndRead(mu); });
  LockAnyway(mu);
  EndWrite(mu);
  wg.Wait();
}

TEST(RWMutexDeathTest, UnlockingWhatIsNotLockedIsFatalAndNoPanic) {
  EXPECT_EXIT(
      {
        try {
          RWMutex mu;
          EndWrite(mu);
        } catch (...) {
          _exit(0);
        }
      },
      testing::ExitedWithCode(2), "fatal error: sync: Unlock of unlocked RWMutex");
  EXPECT_EXIT(
      {
        RWMutex mu;
        EndRead(mu);
      },
      testing::ExitedWithCode(2), "fatal error: sync: RUnlock of unlocked RWMutex");
  EXPECT_EXIT(
      {
        RWMutex mu;
        LockAnyway(mu);
        EndRead(mu);
      },
      testing::ExitedWithCode(2), "fatal error: sync: RUnlock of unlocked RWMutex");
}

}  // namespace
}  // namespace plimsoll
