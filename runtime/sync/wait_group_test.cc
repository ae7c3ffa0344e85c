#include "plimsoll/runtime/sync/wait_group.h"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {
namespace {

TEST(WaitGroupTest, WaitReturnsAtOnceWhenNothingIsCounted) {
  WaitGroup wg;
  wg.Wait();
  wg.Add(2);
  wg.Done();
  wg.Done();
  wg.Wait();
}

TEST(WaitGroupTest, WaitSeesWhatPrecededEveryDone) {
  for (int round = 0; round < 50; ++round) {
    WaitGroup wg;
    int written[16] = {};  // plain: TSan sees a Wait that does not order
    for (int& slot : written) wg.Go([&slot] { slot = 7; });
    wg.Wait();
    for (int slot : written) ASSERT_EQ(slot, 7);
  }
}

TEST(WaitGroupTest, EveryWaiterGoesOn) {
  WaitGroup work;
  WaitGroup waiters;
  std::atomic<int> went_on{0};
  work.Add(1);
  for (int i = 0; i < 10; ++i) {
    waiters.Go([&] {
      work.Wait();
      went_on.fetch_add(1);
    });
  }
  for (int i = 0; i < 100; ++i) sched::Yield();
  EXPECT_EQ(went_on.load(), 0);
  work.Done();
  waiters.Wait();
  EXPECT_EQ(went_on.load(), 10);
}

TEST(WaitGroupTest, MayBeReusedOnceWaitHasReturned) {
  WaitGroup wg;
  int done = 0;
  for (int round = 0; round < 100; ++round) {
    wg.Go([&] { ++done; });
    wg.Wait();
  }
  EXPECT_EQ(done, 100);
}

TEST(WaitGroupTest, MayDieAsSoonAsWaitReturns) {
  // ASan sees a Done that touches its WaitGroup after it let the waiter go.
  for (int round = 0; round < 2000; ++round) {
    auto wg = std::make_unique<WaitGroup>();
    wg->Add(1);
    Go([wg = wg.get()] { wg->Done(); });
    wg->Wait();
  }
}

TEST(WaitGroupTest, GoCountsAGoroutineThatEndsByAnException) {
  WaitGroup wg;
  wg.Go([] {
    try {
      throw Panic("boom");
    } catch (const Panic&) {
    }
  });
  wg.Wait();
}

TEST(WaitGroupTest, ACountBelowZeroPanics) {
  WaitGroup wg;
  wg.Add(1);
  wg.Done();
  try {
    wg.Done();
    FAIL() << "no panic";
  } catch (const Panic& panic) {
    EXPECT_STREQ(panic.what(), "sync: negative WaitGroup counter");
    EXPECT_EQ(panic.where().line(), static_cast<unsigned>(__LINE__ - 4));
  }
}

TEST(WaitGroupTest, GoCountsTheEndOfWhatTheFunctionHolds) {
  struct SlowToEnd {
    std::atomic<bool>* ended;
    SlowToEnd(std::atomic<bool>* e) : ended(e) {}
    SlowToEnd(SlowToEnd&& other) noexcept : ended(std::exchange(other.ended, nullptr)) {}
    ~SlowToEnd() {
      if (ended == nullptr) return;
      for (int i = 0; i < 100; ++i) sched::Yield();
      ended->store(true);
    }
  };
  std::atomic<bool> ended{false};
  WaitGroup wg;
  wg.Go([held = SlowToEnd(&ended)] {});
  wg.Wait();
  EXPECT_TRUE(ended.load());
}

TEST(WaitGroupTest, GoCountsNothingWhereTheFunctionCannotBeTaken) {
  struct ThrowsWhenCopied {
    ThrowsWhenCopied() = default;
    ThrowsWhenCopied(const ThrowsWhenCopied&) { throw std::runtime_error("a copy"); }
    void operator()() const {}
  } f;
  WaitGroup wg;
  EXPECT_THROW(wg.Go(f), std::runtime_error);
  wg.Wait();
}

}  // namespace
}  // namespace plimsoll
