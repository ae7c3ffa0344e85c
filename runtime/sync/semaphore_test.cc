#include "plimsoll/runtime/sync/semaphore.h"

#include <atomic>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

TEST(SemaphoreTest, LetsInNoMoreThanItsWeight) {
  Semaphore sem(3);
  WaitGroup wg;
  std::atomic<int64_t> inside{0};
  for (int64_t weight : {1, 2, 3, 1, 2, 3, 1, 1}) {
    wg.Go([&, weight] {
      for (int i = 0; i < 300; ++i) {
        sem.Acquire(weight);
        ASSERT_LE(inside.fetch_add(weight) + weight, 3);
        sched::Yield();
        inside.fetch_sub(weight);
        sem.Release(weight);
      }
    });
  }
  wg.Wait();
}

TEST(SemaphoreTest, AHeavyRequestIsNotOvertaken) {
  Semaphore sem(2);
  WaitGroup wg;
  std::atomic<bool> heavy_in{false};
  sem.Acquire(1);
  wg.Go([&] {
    sem.Acquire(2);
    heavy_in.store(true);
    sem.Release(2);
  });
  // Until the heavy one waits, a light one gets in.
  while (sem.TryAcquire(1)) {
    sem.Release(1);
    sched::Yield();
  }
  EXPECT_FALSE(heavy_in.load());
  sem.Release(1);
  wg.Wait();
  EXPECT_TRUE(heavy_in.load());
}

TEST(SemaphoreTest, ATimedRequestThatEndsLetsThoseBehindItIn) {
  Semaphore sem(2);
  WaitGroup wg;
  sem.Acquire(1);
  std::atomic<bool> light_in{false};
  // Again and again: its time may be over before we have looked.
  std::atomic<bool> seen{false};
  wg.Go([&] {
    do {
      EXPECT_FALSE(sem.TryAcquireFor(2, absl::Milliseconds(20)));
    } while (!seen.load());
  });
  while (sem.TryAcquire(1)) {
    sem.Release(1);
    sched::Yield();
  }
  seen.store(true);
  wg.Go([&] {
    sem.Acquire(1);  // free, but the heavy one is first
    light_in.store(true);
    sem.Release(1);
  });
  wg.Wait();
  EXPECT_TRUE(light_in.load());
  EXPECT_FALSE(sem.TryAcquireFor(2, absl::ZeroDuration()));
  sem.Release(1);
  EXPECT_TRUE(sem.TryAcquireFor(2, absl::Milliseconds(1)));
  sem.Release(2);
}

TEST(SemaphoreTest, ReleasingMoreThanIsHeldPanics) {
  Semaphore sem(2);
  sem.Acquire(1);
  EXPECT_THROW(sem.Release(2), Panic);
  sem.Release(1);
  EXPECT_THROW(sem.Release(1), Panic);
}

}  // namespace
}  // namespace plimsoll
