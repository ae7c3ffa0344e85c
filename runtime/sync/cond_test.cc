#include "plimsoll/runtime/sync/cond.h"

#include <atomic>
#include <deque>
#include <mutex>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

TEST(CondTest, SignalWakesOneInTheOrderOfTheWaits) {
  Mutex mu;
  Cond cond;
  WaitGroup wg;
  constexpr int kWaiters = 8;
  int waiting = 0;
  std::vector<int> woken;  // both guarded by mu
  for (int i = 0; i < kWaiters; ++i) {
    wg.Go([&, i] {
      std::unique_lock hold(mu);
      ++waiting;
      cond.Wait(hold);
      woken.push_back(i);
    });
    for (bool queued = false; !queued; sched::Yield()) {
      std::lock_guard hold(mu);
      queued = waiting == i + 1;
    }
  }
  for (int i = 0; i < kWaiters; ++i) {
    cond.Signal();
    for (bool done = false; !done; sched::Yield()) {
      std::lock_guard hold(mu);
      ASSERT_LE(woken.size(), static_cast<size_t>(i + 1)) << "a Signal woke more than one";
      done = woken.size() == static_cast<size_t>(i + 1);
    }
  }
  wg.Wait();
  for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(woken[static_cast<size_t>(i)], i);
}

TEST(CondTest, BroadcastWakesAll) {
  Mutex mu;
  Cond cond;
  WaitGroup wg;
  bool go = false;
  int waiting = 0;
  for (int i = 0; i < 20; ++i) {
    wg.Go([&] {
      std::unique_lock hold(mu);
      ++waiting;
      cond.Wait(hold, [&] { return go; });
    });
  }
  for (bool all = false; !all; sched::Yield()) {
    std::lock_guard hold(mu);
    all = waiting == 20;
  }
  {
    std::lock_guard hold(mu);
    go = true;
  }
  cond.Broadcast();
  wg.Wait();
}

TEST(CondTest, ASignalToNobodyIsNotKept) {
  Mutex mu;
  Cond cond;
  WaitGroup wg;
  cond.Signal();
  cond.Broadcast();
  std::atomic<bool> woke{false};
  std::atomic<bool> waits{false};
  wg.Go([&] {
    std::unique_lock hold(mu);
    waits.store(true);
    cond.Wait(hold);
    woke.store(true);
  });
  while (!waits.load()) sched::Yield();
  {
    std::lock_guard hold(mu);
  }  // it has unlocked: its ticket is drawn
  for (int i = 0; i < 200; ++i) sched::Yield();
  EXPECT_FALSE(woke.load());
  cond.Signal();
  wg.Wait();
}

TEST(CondTest, NoSignalIsLostBetweenProducersAndConsumers) {
  // Each value is announced by one Signal, as soon as it is there: a lost one leaves a value behind
  // and the test does not end.
  Mutex mu;
  Cond not_empty;
  std::deque<int> queue;  // guarded by mu
  WaitGroup wg;
  constexpr int kEach = 3000;
  std::atomic<int64_t> sum{0};
  for (int c = 0; c < 4; ++c) {
    wg.Go([&] {
      for (int i = 0; i < kEach; ++i) {
        std::unique_lock hold(mu);
        not_empty.Wait(hold, [&] { return !queue.empty(); });
        sum.fetch_add(queue.front());
        queue.pop_front();
      }
    });
    wg.Go([&] {
      for (int i = 0; i < kEach; ++i) {
        {
          std::lock_guard hold(mu);
          queue.push_back(1);
        }
        not_empty.Signal();
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(sum.load(), 4 * kEach);
}

}  // namespace
}  // namespace plimsoll
