// What the tests of Go's sync package assert, in tests of our own. go_tests.md tells which of
// theirs is which of ours.

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sync/cond.h"
#include "plimsoll/runtime/sync/map.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/once.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/semaphore.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// mutex_test.go: TestSemaphore.
TEST(GoSyncTest, ASemaphoreOfOneKeepsOthersOut) {
  Semaphore s(1);
  WaitGroup wg;
  int inside = 0;  // plain: TSan sees a semaphore that lets two in
  for (int g = 0; g < 10; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 500; ++i) {
        s.Acquire();
        EXPECT_EQ(++inside, 1);
        --inside;
        s.Release();
      }
    });
  }
  wg.Wait();
}

// mutex_test.go: TestMutex.
TEST(GoSyncTest, TryLockAnswersByWhetherTheMutexIsHeld) {
  Mutex mu;
  mu.lock();
  EXPECT_FALSE(mu.try_lock());
  mu.unlock();
  EXPECT_TRUE(mu.try_lock());
  mu.unlock();
  WaitGroup wg;
  for (int g = 0; g < 10; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 1000; ++i) {
        if (i % 3 == 0 && mu.try_lock()) {
          mu.unlock();
          continue;
        }
        mu.lock();
        mu.unlock();
      }
    });
  }
  wg.Wait();
  EXPECT_TRUE(mu.try_lock());
  mu.unlock();
}

// rwmutex_test.go: TestParallelReaders. All readers are in at once: each waits for all the others
// before it leaves.
TEST(GoSyncTest, AllReadersAreInAtOnce) {
  for (const int readers : {1, 3, 4, 10}) {
    RWMutex mu;
    const Channel<bool> in(static_cast<size_t>(readers)), leave, out(static_cast<size_t>(readers));
    for (int i = 0; i < readers; ++i) {
      Go([&, in, leave, out] {
        {
          std::shared_lock read(mu);
          in.Send(true);
          (void)leave.Recv();
        }
        out.Send(true);
      });
    }
    for (int i = 0; i < readers; ++i) (void)in.Recv();
    EXPECT_FALSE(mu.try_lock());
    leave.Close();
    for (int i = 0; i < readers; ++i) (void)out.Recv();
    EXPECT_TRUE(mu.try_lock());
    mu.unlock();
  }
}

// rwmutex_test.go: TestRWMutex, its hammer. The count of who is inside is Go's: a writer counts
// 10,000.
TEST(GoSyncTest, ReadersAndWritersHammerOneRWMutex) {
  for (const int readers : {1, 3, 10}) {
    RWMutex mu;
    std::atomic<int> activity{0};
    WaitGroup wg;
    const auto reader = [&] {
      for (int i = 0; i < 500; ++i) {
        std::shared_lock read(mu);
        const int n = activity.fetch_add(1) + 1;
        EXPECT_TRUE(n >= 1 && n < 10'000) << n;
        if (i % 50 == 0) Yield();
        activity.fetch_sub(1);
      }
    };
    const auto writer = [&] {
      for (int i = 0; i < 200; ++i) {
        std::lock_guard write(mu);
        EXPECT_EQ(activity.fetch_add(10'000) + 10'000, 10'000);
        if (i % 50 == 0) Yield();
        activity.fetch_sub(10'000);
      }
    };
    wg.Go(writer);
    for (int i = 0; i < readers / 2; ++i) wg.Go(reader);
    wg.Go(writer);
    for (int i = readers / 2; i < readers; ++i) wg.Go(reader);
    wg.Wait();
  }
}

// waitgroup_test.go: TestWaitGroup, twice with the same two groups.
TEST(GoSyncTest, TwoWaitGroupsHoldEachOthersGoroutines) {
  WaitGroup first, second;
  for (int round = 0; round < 8; ++round) {
    constexpr int kN = 16;
    first.Add(kN);
    second.Add(kN);
    const Channel<bool> exited(kN);
    for (int i = 0; i < kN; ++i) {
      Go([&, exited] {
        first.Done();
        second.Wait();
        exited.Send(true);
      });
    }
    first.Wait();
    for (int i = 0; i < kN; ++i) {
      EXPECT_EQ(exited.TryRecv().status, RecvStatus::kEmpty) << "it did not wait for the second";
      second.Done();
    }
    for (int i = 0; i < kN; ++i) (void)exited.Recv();
  }
}

// waitgroup_test.go: TestWaitGroupMisuse.
TEST(GoSyncTest, OneDoneTooManyPanics) {
  WaitGroup wg;
  wg.Add(1);
  wg.Done();
  try {
    wg.Done();
    FAIL() << "no panic";
  } catch (const Panic& p) {
    EXPECT_STREQ(p.what(), "sync: negative WaitGroup counter");
  }
}

// waitgroup_test.go: TestWaitGroupRace. Reuse with goroutines that end at once.
TEST(GoSyncTest, AWaitGroupIsReusedAtOnceAThousandTimes) {
  for (int i = 0; i < 1000; ++i) {
    WaitGroup wg;
    std::atomic<int> n{0};
    wg.Go([&] { n.fetch_add(1); });
    wg.Go([&] { n.fetch_add(1); });
    wg.Wait();
    ASSERT_EQ(n.load(), 2);
    wg.Go([&] { n.fetch_add(1); });
    wg.Wait();
    ASSERT_EQ(n.load(), 3);
  }
}

// once_test.go: TestOnce.
TEST(GoSyncTest, OnceRunsOnceForTenWhoAskTogether) {
  Once once;
  int runs = 0;  // plain
  WaitGroup wg;
  for (int i = 0; i < 10; ++i) {
    wg.Go([&] {
      once.Do([&] { ++runs; });
      EXPECT_EQ(runs, 1);
    });
  }
  wg.Wait();
  EXPECT_EQ(runs, 1);
}

// cond_test.go: TestCondSignal.
TEST(GoSyncTest, ASignalLetsExactlyOneGoOn) {
  Mutex mu;
  Cond cond;
  constexpr int kN = 4;
  const Channel<bool> running(kN), awake(kN);
  WaitGroup wg;  // they hold the lock when they tell that they are awake
  for (int i = 0; i < kN; ++i) {
    wg.Go([&, running, awake] {
      std::unique_lock hold(mu);
      running.Send(true);
      cond.Wait(hold);
      awake.Send(true);
    });
  }
  for (int i = 0; i < kN; ++i) (void)running.Recv();
  for (int left = kN; left > 0; --left) {
    EXPECT_EQ(awake.TryRecv().status, RecvStatus::kEmpty) << "one woke by itself";
    {
      std::lock_guard hold(mu);  // who was counted as running has unlocked by now
      cond.Signal();
    }
    (void)awake.Recv();
    EXPECT_EQ(awake.TryRecv().status, RecvStatus::kEmpty) << "too many woke";
  }
  cond.Signal();
  wg.Wait();
}

// cond_test.go: TestCondSignalGenerations. The one that waits longest wakes first, whoever comes
// later.
TEST(GoSyncTest, SignalsWakeInTheOrderInWhichTheWaitsBegan) {
  Mutex mu;
  Cond cond;
  constexpr int kN = 100;
  const Channel<bool> running(kN);
  const Channel<int> awake(kN);
  WaitGroup wg;
  for (int i = 0; i < kN; ++i) {
    wg.Go([&, running, awake, i] {
      std::unique_lock hold(mu);
      running.Send(true);
      cond.Wait(hold);
      awake.Send(i);
    });
    if (i > 0) {
      EXPECT_EQ(awake.Recv(), i - 1);
    }
    (void)running.Recv();
    std::lock_guard hold(mu);
    cond.Signal();
  }
  EXPECT_EQ(awake.Recv(), kN - 1);
  wg.Wait();
}

// cond_test.go: TestCondBroadcast.
TEST(GoSyncTest, ABroadcastWakesAllOfEachRound) {
  Mutex mu;
  Cond cond;
  constexpr int kN = 50;
  constexpr int kRounds = 3;
  const Channel<int> running(kN), awake(kN);
  bool exit = false;  // guarded by mu
  WaitGroup wg;
  for (int i = 0; i < kN; ++i) {
    wg.Go([&, running, awake, i] {
      std::unique_lock hold(mu);
      while (!exit) {
        running.Send(i);
        cond.Wait(hold);
        awake.Send(i);
      }
    });
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kN; ++i) (void)running.Recv();
    {
      std::lock_guard hold(mu);
      EXPECT_EQ(awake.TryRecv().status, RecvStatus::kEmpty);
      exit = round == kRounds - 1;
      cond.Broadcast();
    }
    std::vector<bool> seen(kN);
    for (int i = 0; i < kN; ++i) {
      const size_t g = static_cast<size_t>(*awake.Recv());
      EXPECT_FALSE(seen[g]) << "twice";
      seen[g] = true;
    }
  }
  wg.Wait();
}

// cond_test.go: TestRace.
TEST(GoSyncTest, ACondHandsAValueFromOneToTheNext) {
  Mutex mu;
  Cond cond;
  int x = 0;
  WaitGroup wg;
  wg.Go([&] {
    std::unique_lock hold(mu);
    x = 1;
    cond.Wait(hold, [&] { return x != 1; });
    EXPECT_EQ(x, 2);
    x = 3;
    cond.Signal();
  });
  wg.Go([&] {
    std::unique_lock hold(mu);
    while (x != 1) {
      hold.unlock();
      Yield();
      hold.lock();
    }
    x = 2;
    cond.Signal();
    cond.Wait(hold, [&] { return x == 3; });
  });
  wg.Wait();
  EXPECT_EQ(x, 3);
}

// cond_test.go: TestCondSignalStealing. One that begins to wait after the Signal does not take it.
TEST(GoSyncTest, ASignalIsNotStolenByOneThatWaitsLater) {
  for (int i = 0; i < 500; ++i) {
    Mutex mu;
    Cond cond;
    const Channel<bool> ch, ch2(2);
    bool done = false;
    WaitGroup wg;
    wg.Go([&] {
      std::unique_lock hold(mu);
      ch.Send(true);
      cond.Wait(hold);
      ch2.Send(true);
    });
    (void)ch.Recv();
    {
      std::lock_guard hold(mu);
    }
    // It waits. Signal, while another begins to wait.
    cond.Signal();
    wg.Go([&] {
      std::unique_lock hold(mu);
      cond.Wait(hold, [&] { return done; });
    });
    (void)ch2.Recv();  // a stolen signal leaves this waiting for ever
    {
      std::lock_guard hold(mu);
      done = true;
    }
    cond.Broadcast();
    wg.Wait();
  }
}

// cond_test.go: TestCondCopy. What Go finds when it runs does not compile here.
TEST(GoSyncTest, NothingThatMustNotBeCopiedCanBe) {
  static_assert(!std::is_copy_constructible_v<Cond> && !std::is_move_constructible_v<Cond>);
  static_assert(!std::is_copy_constructible_v<Mutex> && !std::is_copy_constructible_v<RWMutex>);
  static_assert(!std::is_copy_constructible_v<WaitGroup> && !std::is_copy_constructible_v<Once>);
}

// map_test.go: TestConcurrentRange, in which every key is always there: each Range sees all.
TEST(GoSyncTest, ARangeSeesEveryKeyThatStaysThere) {
  constexpr int kKeys = 64;
  Map<int, int> map;
  for (int k = 0; k < kKeys; ++k) map.Store(k, 1);
  std::atomic<bool> stop{false};
  WaitGroup wg;
  for (int g = 0; g < 2; ++g) {
    wg.Go([&, g] {
      for (int i = 0; !stop.load(); ++i) {
        map.Store((i * 7 + g) % kKeys, i);
        if (i % 16 == 0) Yield();
      }
    });
  }
  for (int round = 0; round < 50; ++round) {
    std::array<int, kKeys> seen{};
    map.Range([&](const int& k, const int&) {
      ++seen[static_cast<size_t>(k)];
      return true;
    });
    for (int k = 0; k < kKeys; ++k) ASSERT_EQ(seen[static_cast<size_t>(k)], 1) << k;
    Yield();
  }
  stop = true;
  wg.Wait();
}

// S6: a count that begins anew before the last Wait has returned. Whoever waits was made ready and
// goes on later; should another P be faster, the next try tells. (The third text, of an Add that
// meets the last Done between two instructions, cannot be brought about.)
TEST(GoSyncTest, AReuseBeforeTheLastWaitHasReturnedPanics) {
  bool panicked = false;
  for (int i = 0; i < 10'000 && !panicked; ++i) {
    WaitGroup wg;
    wg.Add(1);
    const Channel<std::string> what(1);
    std::atomic<bool> begun{false};
    Go([&, what] {
      begun = true;
      try {
        wg.Wait();
        what.Send("");
      } catch (const Panic& p) {
        what.Send(p.what());
      }
    });
    while (!begun.load()) Yield();
    Yield();
    wg.Done();
    wg.Add(1);
    const std::string told = *what.Recv();
    wg.Done();
    if (told.empty()) continue;
    EXPECT_EQ(told, "sync: WaitGroup is reused before previous Wait has returned");
    panicked = true;
  }
  EXPECT_TRUE(panicked);
}

// S12: two writers, two readers: both readers see the same order (IRIW); and of two that each write
// one and read the other, one sees the other's write (store buffering).
TEST(GoSyncTest, AtomicsHaveOneOrderForAll) {
  for (int i = 0; i < 3'000; ++i) {
    std::atomic<int> x{0}, y{0};
    int a = 0, b = 0, c = 0, d = 0;
    std::thread w1([&] { x.store(1); });
    WaitGroup wg;
    wg.Go([&] { y.store(1); });
    wg.Go([&] {
      a = x.load();
      b = y.load();
    });
    wg.Go([&] {
      c = y.load();
      d = x.load();
    });
    wg.Wait();
    w1.join();
    ASSERT_FALSE(a == 1 && b == 0 && c == 1 && d == 0) << "the readers saw two orders";

    std::atomic<int> p{0}, q{0};
    int e = 0, f = 0;
    wg.Go([&] {
      p.store(1);
      e = q.load();
    });
    wg.Go([&] {
      q.store(1);
      f = p.load();
    });
    wg.Wait();
    ASSERT_FALSE(e == 0 && f == 0) << "neither saw the other's store";
  }
}

}  // namespace
}  // namespace plimsoll
