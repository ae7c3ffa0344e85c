#include "plimsoll/runtime/net/fd_mutex.h"

#include <atomic>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::net::internal {
namespace {

using Side = FdMutex::Side;

TEST(FdMutexTest, TheLastOneOutOfAClosedOneIsTold) {
  FdMutex mutex;
  ASSERT_TRUE(mutex.Ref());
  ASSERT_TRUE(mutex.Lock(Side::kRead));
  ASSERT_TRUE(mutex.Lock(Side::kWrite)) << "a reader does not keep a writer out";
  EXPECT_FALSE(mutex.Unlock(Side::kWrite)) << "not closed";
  ASSERT_TRUE(mutex.RefAndClose());
  EXPECT_FALSE(mutex.RefAndClose()) << "once";
  EXPECT_FALSE(mutex.Ref());
  EXPECT_FALSE(mutex.Lock(Side::kWrite));
  EXPECT_FALSE(mutex.Unref()) << "of the closer; two are left";
  EXPECT_FALSE(mutex.Unlock(Side::kRead));
  EXPECT_TRUE(mutex.Unref()) << "the last";
}

TEST(FdMutexTest, OneAtATimeHoldsASide) {
  FdMutex mutex;
  constexpr int kGoroutines = 20, kRounds = 200;
  std::atomic<int> inside[2] = {0, 0};
  int64_t counted[2] = {0, 0};  // guarded by the sides
  Channel<bool> done(kGoroutines);
  for (int g = 0; g < kGoroutines; ++g) {
    Go([&, side = g % 2] {
      const Side which = side == 0 ? Side::kRead : Side::kWrite;
      for (int i = 0; i < kRounds; ++i) {
        ASSERT_TRUE(mutex.Lock(which));
        EXPECT_EQ(inside[side].fetch_add(1), 0);
        ++counted[side];
        if (i % 8 == 0) sched::Yield();
        inside[side].fetch_sub(1);
        EXPECT_FALSE(mutex.Unlock(which));
      }
      done.Send(true);
    });
  }
  for (int g = 0; g < kGoroutines; ++g) done.Recv();
  EXPECT_EQ(counted[0], kGoroutines / 2 * kRounds);
  EXPECT_EQ(counted[1], kGoroutines / 2 * kRounds);
}

TEST(FdMutexTest, CloseWakesThoseWhoWaitForASide) {
  FdMutex mutex;
  constexpr int kWaiting = 10;
  ASSERT_TRUE(mutex.Lock(Side::kRead));
  ASSERT_TRUE(mutex.Lock(Side::kWrite));
  std::atomic<int> started{0};
  Channel<bool> got_in(kWaiting);
  for (int g = 0; g < kWaiting; ++g) {
    Go([&, g] {
      ++started;
      got_in.Send(mutex.Lock(g % 2 == 0 ? Side::kRead : Side::kWrite));
    });
  }
  while (started < kWaiting) sched::Yield();
  ASSERT_TRUE(mutex.RefAndClose());
  for (int g = 0; g < kWaiting; ++g) EXPECT_EQ(got_in.Recv(), false);
  EXPECT_FALSE(mutex.Unref());
  EXPECT_FALSE(mutex.Unlock(Side::kRead));
  EXPECT_TRUE(mutex.Unlock(Side::kWrite));
}

}  // namespace
}  // namespace plimsoll::net::internal
