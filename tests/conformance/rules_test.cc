// Rules of the design that no header's own test shows: README.md's table names them.

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_peek.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/context/context_ops.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

using internal::ChannelPeek;

// C1 and C12: what waits for ever is told as a deadlock once nothing else can happen. Each in a
// process of its own, which exits 2.
using ForEverDeathTest = testing::Test;

constexpr char kDeadlock[] = "fatal error: all goroutines are asleep - deadlock!";

TEST(ForEverDeathTest, ANilChannelBlocksForEverInEveryWay) {
  const Channel<int> nil(nullptr);
  EXPECT_EXIT((void)nil.Recv(), testing::ExitedWithCode(2), kDeadlock);
  EXPECT_EXIT(nil.Send(1), testing::ExitedWithCode(2), kDeadlock);
  EXPECT_EXIT(Select(OnRecv(nil), OnSend(nil, 1)), testing::ExitedWithCode(2), kDeadlock);
  EXPECT_EXIT(
      {
        for (int v : nil) (void)v;
      },
      testing::ExitedWithCode(2), kDeadlock);
}

TEST(ForEverDeathTest, ASelectWithoutCasesBlocksForEver) {
  EXPECT_EXIT(Select(), testing::ExitedWithCode(2), kDeadlock);
  EXPECT_EXIT(
      {
        std::vector<Case> none;
        Select(none);
      },
      testing::ExitedWithCode(2), kDeadlock);
}

// C7: the k-th receive comes before the end of the (k + capacity)-th send.
TEST(RulesTest, ASendIsNeverFurtherAheadThanTheCapacity) {
  for (const size_t capacity : {0u, 1u, 3u, 8u}) {
    const Channel<int> ch(capacity);
    std::atomic<int64_t> received{0};
    WaitGroup wg;
    wg.Go([&] {
      for (int64_t k = 0; k < 2'000; ++k) {
        ch.Send(0);
        // k + 1 sends have ended: at least k + 1 - capacity receives have begun. One may not have
        // counted itself yet.
        ASSERT_GE(received.load() + 1, k + 1 - static_cast<int64_t>(capacity)) << capacity;
      }
      ch.Close();
    });
    while (ch.Recv().has_value()) ++received;
    wg.Wait();
  }
}

// C7 as a message: what a receiver wrote before its receive is seen after the send that it let go.
// The variable is plain: TSan looks.
TEST(RulesTest, AChannelOfCapacityNIsASemaphoreOfN) {
  const Channel<int> slot(1);
  int64_t plain = 0;
  WaitGroup wg;
  for (int g = 0; g < 4; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 1'000; ++i) {
        slot.Send(1);
        ++plain;
        (void)slot.Recv();
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(plain, 4'000);
}

// C8: the receiver that a value is handed to runs next, before all that was runnable already. One
// P, so that "next" is one place. Preemption is off wherever a slice's end would change the order;
// a Park keeps it off for its goroutine.
TEST(HandOffDeathTest, TheReceiverRunsNext) {
  setenv("PLIMSOLL_TEST_PROCS", "1", 1);
  for (const size_t capacity : {0u, 1u}) {
    EXPECT_EXIT(
        {
          const Channel<int> ch(capacity);
          std::string order;
          const auto ran = [&order](char who) {
            sched::NoPreempt guard;
            order += who;
          };
          WaitGroup wg;
          wg.Go([&] {
            sched::NoPreempt guard;
            (void)ch.Recv();
            ran('r');
          });
          ChannelPeek::AwaitReceivers(ch, 1);
          {
            sched::NoPreempt guard;
            for (const char who : {'a', 'b', 'c'}) wg.Go([&ran, who] { ran(who); });
            ch.Send(1);
            if (ChannelPeek::Receivers(ch) != 0) _exit(1);
          }
          wg.Wait();
          fprintf(stderr, "order: %s\n", order.c_str());
          _exit(order.size() == 4 && sched::GetStats().procs == 1 ? 0 : 1);
        },
        testing::ExitedWithCode(0), "order: r")
        << "capacity " << capacity;
  }
  unsetenv("PLIMSOLL_TEST_PROCS");
}

// S2: with one P nobody else could let go, so nobody spins.
TEST(RulesTest, ALockedMutexIsSpunForOnlyWhereAnotherPIsBusy) {
  if (sched::GetStats().procs == 1) GTEST_SKIP() << "for two Ps";
  // While this goroutine is the only one that runs, there is nobody to spin for.
  uint64_t before = sched::GetStats().spins;
  EXPECT_FALSE(sched::CanSpin(4)) << "four times at most";
  EXPECT_EQ(sched::GetStats().spins, before);
  // Two that hold a mutex in turn, each on a P of its own, come to spin: at the latest when both
  // run at once.
  Mutex mu;
  std::atomic<bool> spun{false};
  WaitGroup wg;
  for (int g = 0; g < 2; ++g) {
    wg.Go([&] {
      while (!spun.load(std::memory_order_relaxed)) {
        mu.lock();
        for (int i = 0; i < 100; ++i) base::CpuRelax();
        mu.unlock();
        if (sched::GetStats().spins > before) spun = true;
      }
    });
  }
  wg.Wait();
  EXPECT_GT(sched::GetStats().spins, before);
}

TEST(SpinDeathTest, WithOnePNobodySpins) {
  setenv("PLIMSOLL_TEST_PROCS", "1", 1);
  EXPECT_EXIT(
      {
        Mutex mu;
        WaitGroup wg;
        for (int g = 0; g < 4; ++g) {
          wg.Go([&] {
            for (int i = 0; i < 1'000; ++i) {
              std::lock_guard hold(mu);
              Yield();
            }
          });
        }
        wg.Wait();
        _exit(sched::GetStats().procs == 1 && sched::GetStats().spins == 0 ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
  unsetenv("PLIMSOLL_TEST_PROCS");
}

// Every primitive from a plain thread, and mixed with goroutines.
TEST(RulesTest, ThreadsAndGoroutinesShareChannelsAndSelects) {
  const Channel<int> ch, other(2);
  const Channel<bool> stop;
  std::atomic<int64_t> sum{0};
  const auto receive = [&] {
    for (bool on = true; on;) {
      Select(OnRecv(ch, [&](std::optional<int> v) { sum += v.value_or(0); }),
             OnRecv(other, [&](std::optional<int> v) { sum += v.value_or(0); }),
             OnRecv(stop, [&] { on = false; }));
    }
  };
  const auto send = [&] {
    for (int i = 0; i < 500; ++i) {
      ch.Send(1);
      Select(OnSend(other, 1), OnSend(ch, 1));
    }
  };
  WaitGroup wg, receivers;
  std::thread receiving(receive);
  receivers.Go(receive);
  std::thread sending(send);
  wg.Go(send);
  wg.Wait();
  sending.join();
  while (other.Len() > 0) Yield();
  stop.Close();
  receivers.Wait();
  receiving.join();
  EXPECT_EQ(sum.load(), 2 * 500 * 2);
}

TEST(RulesTest, ThreadsWaitWithDeadlinesAndContexts) {
  std::thread([] {
    const Channel<int> never;
    EXPECT_EQ(never.TryRecvFor(absl::Milliseconds(1)).status, RecvStatus::kEmpty);
    auto [ctx, cancel] = WithTimeout(Background(), absl::Milliseconds(1));
    EXPECT_EQ(Recv(ctx, never).status().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(Select(OnRecv(never), Timeout(absl::Milliseconds(1))), 1);
  }).join();
}

// A list of cases of any number; each is taken when its turn comes.
TEST(RulesTest, AListOfAThousandCasesTakesTheOneThatIsReady) {
  constexpr size_t kN = 1'000;
  std::vector<Channel<int>> channels;
  for (size_t i = 0; i < kN; ++i) channels.emplace_back();
  size_t taken = kN;
  std::vector<Case> cases;
  for (size_t i = 0; i < kN; ++i) cases.emplace_back(OnRecv(channels[i], [&, i] { taken = i; }));
  for (size_t i = 0; i < kN; i += 37) {
    Go([ch = channels[i]] { ch.Send(1); });
    EXPECT_EQ(Select(cases), static_cast<int>(i));
    EXPECT_EQ(taken, i);
  }
  for (const Channel<int>& ch : channels) EXPECT_EQ(ChannelPeek::Receivers(ch), 0u);
}

}  // namespace
}  // namespace plimsoll
