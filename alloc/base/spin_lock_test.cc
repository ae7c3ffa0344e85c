#include "plimsoll/alloc/base/spin_lock.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::base {
namespace {

TEST(SpinLockTest, LetsOneThreadInAtATime) {
  SpinLock mu;
  int64_t counter = 0;  // plain: TSan sees a lock that does not exclude
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50'000; ++i) {
        SpinLockHolder hold(mu);
        ++counter;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(counter, 200'000);
  EXPECT_FALSE(mu.held());
}

TEST(SpinLockTest, TryLockRefusesAHeldLock) {
  SpinLock mu;
  bool taken_twice = true;
  {
    SpinLockHolder hold(mu);
    std::thread([&] { taken_twice = mu.try_lock(); }).join();
  }
  EXPECT_FALSE(taken_twice);
  if (!mu.try_lock()) FAIL() << "it is free";
  mu.unlock();
}

TEST(SpinLockTest, WakesAWaiterThatSleeps) {
  SpinLock mu;
  std::atomic<bool> done{false};
  mu.lock();
  std::thread waiter([&] {
    mu.lock();
    done.store(true, std::memory_order_relaxed);
    mu.unlock();
  });
  // The waiter spins for about a microsecond; many times that many yields let it reach the futex.
  for (int i = 0; i < 2000; ++i) std::this_thread::yield();
  EXPECT_FALSE(done.load(std::memory_order_relaxed));
  mu.unlock();
  waiter.join();
  EXPECT_TRUE(done.load(std::memory_order_relaxed));
}

}  // namespace
}  // namespace plimsoll::base
