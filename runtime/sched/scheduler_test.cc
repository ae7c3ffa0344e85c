#include "plimsoll/runtime/sched/scheduler.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::sched {
namespace {

// A rendezvous of one goroutine with others, from Park and Ready alone.
class Latch {
 public:
  explicit Latch(int count) : left_(count) {}

  void CountDown() {
    G* wake = nullptr;
    {
      NoPreempt guard;
      base::SpinLockHolder hold(mu_);
      if (--left_ == 0) {
        wake = waiter_;
        waiter_ = nullptr;
      }
    }
    if (wake != nullptr) Ready(wake);
  }

  void Wait() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    NoPreempt guard;
    mu_.lock();
    if (left_ <= 0) {
      mu_.unlock();
      return;
    }
    waiter_ = CurrentG();
    ParkAndUnlock(WaitReason::kWaitGroupWait, mu_);
  }

 private:
  base::SpinLock mu_;
  int left_;
  G* waiter_ = nullptr;
};

// Tests run on the main goroutine of a scheduler with two Ps (tests/testing/goroutine_main.cc).

TEST(GoTest, RunsEachGoroutineOnceAndDestroysItsClosure) {
  constexpr int kGoroutines = 5'000;
  std::vector<std::atomic<int>> ran(kGoroutines);
  auto alive = std::make_shared<int>(0);
  Latch done(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    Go([&ran, &done, i, alive] {
      ran[static_cast<size_t>(i)].fetch_add(1, std::memory_order_relaxed);
      struct Last {
        Latch& latch;
        ~Last() { latch.CountDown(); }
      };
      (void)alive;
      done.CountDown();
    });
  }
  done.Wait();
  for (int i = 0; i < kGoroutines; ++i) ASSERT_EQ(ran[static_cast<size_t>(i)].load(), 1) << i;
  while (alive.use_count() > 1) Yield();  // a closure dies after its last statement
}

TEST(GoTest, MovesAMoveOnlyClosureAndLeavesAThrowingOneAlone) {
  Latch done(1);
  int got = 0;
  Go([p = std::make_unique<int>(7), &got, &done] {
    got = *p;
    done.CountDown();
  });
  done.Wait();
  EXPECT_EQ(got, 7);

  struct Throws {
    Throws() = default;
    Throws(Throws&&) { throw std::runtime_error("moved"); }
    void operator()() {}
  };
  const int64_t before = GetStats().goroutines;
  EXPECT_THROW(Go(Throws()), std::runtime_error);
  EXPECT_LE(GetStats().goroutines, before) << "others may have ended meanwhile";
}

TEST(GoTest, TakesClosuresOfAnySizeAndStacksAsAsked) {
  struct Big {
    char bytes[300'000];
    Latch* done;
    uintptr_t* at;
    void operator()() {
      *at = reinterpret_cast<uintptr_t>(this);
      bytes[299'999] = 1;
      done->CountDown();
    }
  };
  Latch done(2);
  uintptr_t at = 0;
  auto big = std::make_unique<Big>();
  big->done = &done;
  big->at = &at;
  Go(*big);
  Go(
      [&done] {
        volatile char deep[700'000];
        deep[0] = 1;
        deep[699'999] = deep[0];
        done.CountDown();
      },
      {.stack = MiB(1), .label = "deep"});
  done.Wait();
  EXPECT_NE(at, 0u);
  EXPECT_EQ(at % alignof(Big), 0u);
}

TEST(GoTest, AnswersFalseWhereNoStackOfThatSizeCanBe) {
  EXPECT_FALSE(TryGo([] {}, {.stack = GiB(2)}));
  EXPECT_FALSE(TryGo([] {}, {.stack = ByteCount(~uint64_t{0})}));
}

TEST(SchedulerTest, TwoGoroutinesRunAtOnceOnTwoThreads) {
  // Each waits, without parking, for the other to have started: with one thread that never ends.
  std::atomic<int> started{0};
  std::atomic<int> threads[2] = {-1, -1};
  Latch done(2);
  for (auto& thread : threads) {
    Go([&] {
      thread.store(CurrentThread(), std::memory_order_relaxed);
      started.fetch_add(1);
      while (started.load() < 2) {
      }
      done.CountDown();
    });
  }
  done.Wait();
  EXPECT_NE(threads[0].load(), threads[1].load());
}

TEST(SchedulerTest, AStartedGoroutineIsStolenByAnotherThread) {
  // One that has run, and yields behind a hog, is taken by the other P: its second half runs on
  // another thread than its first.
  const Stats before = GetStats();
  std::atomic<bool> moved{false};
  std::atomic<bool> first_half{false};
  std::atomic<int> thread_before{-1}, thread_after{-1};
  Latch done(1);
  while (!moved.load()) {
    first_half.store(false);
    Latch round(2);
    Go([&] {
      Go([&] {  // the hog: holds the first goroutine's P until that one runs elsewhere
        while (!first_half.load()) Yield();
        const int mine = CurrentThread();
        while (thread_before.load() == mine && thread_after.load() == -1) {
        }
        round.CountDown();
      });
      thread_before.store(CurrentThread());
      thread_after.store(-1);
      first_half.store(true);
      Yield();
      thread_after.store(CurrentThread());
      round.CountDown();
    });
    round.Wait();
    // A hog whose slice ends gives its whole P away: then it moved, and nobody stole.
    const bool stolen = GetStats().steals > before.steals;
    if (stolen && thread_after.load() != thread_before.load()) moved.store(true);
  }
  EXPECT_NE(thread_after.load(), thread_before.load());
}

TEST(SchedulerTest, AGoroutineWakesOnAnotherThreadThanItParkedOn) {
  std::atomic<int> parked_on{-1}, woke_on{-1};
  while (parked_on.load() == woke_on.load()) {
    std::atomic<G*> waiter{nullptr};
    Latch done(1);
    Go([&] {
      parked_on.store(CurrentThread());
      Park(
          WaitReason::kSemacquire,
          [](G* g, void* arg) {
            static_cast<std::atomic<G*>*>(arg)->store(g);
            return true;
          },
          &waiter);
      woke_on.store(CurrentThread());
      done.CountDown();
    });
    while (waiter.load() == nullptr) Yield();
    // The waker keeps its thread until the other one runs: that must be on another thread, which
    // took it from this one's runnext. Where the goroutine parked on that other one, try again.
    woke_on.store(-1);
    Ready(waiter.load());
    while (woke_on.load() == -1) {
    }
    done.Wait();
  }
  EXPECT_NE(parked_on.load(), woke_on.load());
}

TEST(SchedulerTest, ACommitThatRefusesLetsTheGoroutineRunOn) {
  int calls = 0;
  Park(
      WaitReason::kSemacquire,
      [](G*, void* arg) {
        ++*static_cast<int*>(arg);
        return false;
      },
      &calls);
  EXPECT_EQ(calls, 1);
}

TEST(SchedulerTest, YieldLetsEveryOtherRunnableGoroutineGoFirst) {
  // On one P two that yield in turn go turn about; a slice that ends in the middle of a round costs
  // its goroutine a turn.
  SetProcs({.procs = 1});
  const Stats before = GetStats();
  constexpr int kRounds = 2'000;
  std::atomic<int> started{0}, worst{0};
  std::atomic<int> rounds[2] = {0, 0};
  Latch done(2);
  for (int me = 0; me < 2; ++me) {
    Go([&, me] {
      started.fetch_add(1);
      while (started.load() < 2) Yield();
      for (int i = 0; i < kRounds; ++i) {
        const int ahead = rounds[me].fetch_add(1) + 1 - rounds[1 - me].load();
        if (ahead > worst.load()) worst.store(ahead);
        Yield();
      }
      done.CountDown();
    });
  }
  done.Wait();
  SetProcs({.procs = 2});
  EXPECT_EQ(rounds[0].load() + rounds[1].load(), 2 * kRounds);
  const Stats after = GetStats();
  const uint64_t lost =
      after.preemptions - before.preemptions + after.preempt_deferred - before.preempt_deferred;
  EXPECT_LE(worst.load(), 2 + static_cast<int>(lost));
}

TEST(SchedulerTest, PingPongOfTwoDoesNotStarveAThird) {
  // runnext inherits its slice, so the two cannot keep the P for ever (Go's TestPingPongHog).
  std::atomic<bool> stop{false};
  std::atomic<int> third{0}, finished{0};
  // Both Ps are kept busy by two goroutines each that ready one another through runnext.
  std::atomic<G*> slots[2] = {nullptr, nullptr};
  for (std::atomic<G*>& slot : slots) {
    for (int me = 0; me < 2; ++me) {
      Go([&] {
        while (!stop.load(std::memory_order_relaxed)) {
          Park(
              WaitReason::kSemacquire,
              [](G* g, void* arg) {
                // Whoever parks takes the other's place and wakes it.
                if (G* other = static_cast<std::atomic<G*>*>(arg)->exchange(g)) Ready(other);
                return true;
              },
              &slot);
        }
        finished.fetch_add(1);
      });
    }
  }
  Go([&] {
    for (int i = 0; i < 5; ++i) {
      third.fetch_add(1);
      Yield();
    }
    stop.store(true);
    finished.fetch_add(1);
  });
  while (finished.load() < 5) {
    if (stop.load()) {
      for (std::atomic<G*>& slot : slots) {
        if (G* parked = slot.exchange(nullptr)) Ready(parked);
      }
    }
    Yield();
  }
  EXPECT_EQ(third.load(), 5);
}

TEST(SchedulerTest, ExceptionsStayWithTheirGoroutine) {
  // Both hold a caught exception while the other runs: `throw;` must rethrow one's own.
  Latch done(2);
  std::string rethrown[2];
  for (int me = 0; me < 2; ++me) {
    Go([&, me] {
      for (int i = 0; i < 200; ++i) {
        try {
          throw std::runtime_error(me == 0 ? "mine" : "yours");
        } catch (const std::exception&) {
          Yield();
          try {
            throw;
          } catch (const std::exception& e) {
            rethrown[me] = e.what();
          }
        }
        if (rethrown[me] != (me == 0 ? "mine" : "yours")) break;
      }
      EXPECT_EQ(std::uncaught_exceptions(), 0);
      done.CountDown();
    });
  }
  done.Wait();
  EXPECT_EQ(rethrown[0], "mine");
  EXPECT_EQ(rethrown[1], "yours");
}

// Not inlined, and not taken for a function of nothing: g++ would call it once and keep the answer.
__attribute__((noinline)) int* ErrnoHere() {
  asm volatile("");
  return &errno;
}

TEST(SchedulerTest, ErrnoStaysWithItsGoroutine) {
  Latch done(2);
  std::atomic<int> wrong{0};
  for (int me = 1; me <= 2; ++me) {
    Go([&, me] {
      for (int i = 0; i < 500; ++i) {
        *ErrnoHere() = me;
        Yield();
        if (*ErrnoHere() != me) wrong.fetch_add(1);
      }
      done.CountDown();
    });
  }
  done.Wait();
  EXPECT_EQ(wrong.load(), 0);
}

TEST(SchedulerTest, AForeignThreadParksAndReadiesThroughItsProxy) {
  Latch from_thread(1), from_goroutine(1);
  std::thread foreign([&] {
    EXPECT_EQ(CurrentThread(), -1);
    EXPECT_EQ(GoroutineId(CurrentG()), 0u);
    from_thread.CountDown();
    from_goroutine.Wait();
    Go([] {});
  });
  from_thread.Wait();
  from_goroutine.CountDown();
  BlockingCall([&] { foreign.join(); });
}

TEST(BlockingCallTest, OthersRunOnTheSamePWhileItBlocks) {
  // As many blocked in read(2) as there are Ps: only a hand-off lets the writer run.
  int pipes[2][2];
  Latch done(2);
  for (auto& p : pipes) {
    ASSERT_EQ(pipe(p), 0);
    Go([&p, &done] {
      char c = 0;
      const ssize_t n = BlockingCall([&] { return read(p[0], &c, 1); });
      EXPECT_EQ(n, 1);
      EXPECT_EQ(c, 'x');
      done.CountDown();
    });
  }
  Latch wrote(1);
  Go([&] {
    for (auto& p : pipes) ASSERT_EQ(write(p[1], "x", 1), 1);
    wrote.CountDown();
  });
  wrote.Wait();
  done.Wait();
  for (auto& p : pipes) {
    close(p[0]);
    close(p[1]);
  }
}

TEST(BlockingCallTest, NestsAndGivesThePBackAtTheOutermostEnd) {
  const int inner = BlockingCall([] { return BlockingCall([] { return 7; }) + CurrentProc(); });
  EXPECT_EQ(inner, 6) << "no P inside, at either depth";
  EXPECT_GE(CurrentProc(), 0);
}

TEST(BlockingCallTest, OneAfterTheOtherDoesNotKeepThePFromOthers) {
  // As many as there are Ps: without an end of their slice a timer would wait for ever.
  std::atomic<bool> stop{false};
  Latch done(2);
  for (int i = 0; i < 2; ++i) {
    Go([&] {
      while (!stop.load()) BlockingCall([] {});
      done.CountDown();
    });
  }
  WakeClaim claim;
  EXPECT_EQ(ParkUntil(WaitReason::kSleep, NowNanos() + 1'000'000, claim, nullptr, nullptr),
            WakeClaim::kTimedOut);
  stop.store(true);
  done.Wait();
}

TEST(SchedulerTest, YieldRunsTimersThatAreDueWhenNobodyElseWantsToRun) {
  std::atomic<bool> fired{false};
  SchedTimer t([](void* arg, int64_t) { static_cast<std::atomic<bool>*>(arg)->store(true); },
               &fired);
  t.Arm(NowNanos() + 100'000);
  while (!fired.load()) Yield();
}

TEST(BlockingCallTest, KeepsErrnoAndPassesExceptionsOn) {
  EXPECT_EQ(BlockingCall([] { return close(-1); }), -1);
  EXPECT_EQ(errno, EBADF);
  EXPECT_THROW(BlockingCall([]() -> int { throw std::runtime_error("inside"); }),
               std::runtime_error);
  Yield();  // the P is ours again
}

TEST(TimerTest, FiresOnceInOrderAndNeverEarly) {
  struct Fired {
    int64_t when, at;
    Latch* done;
  };
  constexpr int kTimers = 200;
  Latch done(kTimers);
  std::vector<Fired> fired(kTimers);
  std::vector<std::unique_ptr<SchedTimer>> timers;
  const int64_t start = NowNanos();
  for (int i = 0; i < kTimers; ++i) {
    fired[static_cast<size_t>(i)] = {start + (i * 37 % kTimers) * 20'000, 0, &done};
    timers.push_back(std::make_unique<SchedTimer>(
        [](void* arg, int64_t) {
          auto* f = static_cast<Fired*>(arg);
          f->at = NowNanos();
          f->done->CountDown();
        },
        &fired[static_cast<size_t>(i)]));
  }
  for (int i = 0; i < kTimers; ++i) {
    EXPECT_FALSE(timers[static_cast<size_t>(i)]->Arm(fired[static_cast<size_t>(i)].when));
  }
  done.Wait();
  for (const Fired& f : fired) EXPECT_GE(f.at, f.when);
  for (auto& t : timers) EXPECT_FALSE(t->Disarm()) << "it has run";
}

TEST(TimerTest, DisarmPreventsTheRunAndSaysSo) {
  std::atomic<int> runs{0};
  SchedTimer never([](void* arg, int64_t) { static_cast<std::atomic<int>*>(arg)->fetch_add(1); },
                   &runs);
  EXPECT_FALSE(never.Disarm()) << "never armed";
  never.Arm(NowNanos() + 3'600'000'000'000);
  EXPECT_TRUE(never.Arm(NowNanos() + 7'200'000'000'000)) << "still pending";
  EXPECT_TRUE(never.Disarm());
  EXPECT_FALSE(never.Disarm());
  EXPECT_EQ(runs.load(), 0);
}

TEST(TimerTest, ArmAndDisarmRaceWithFiringWithoutLosingARun) {
  // Every Arm ends in exactly one of: a run, a Disarm or a re-Arm that says "was pending".
  std::atomic<int> runs{0};
  SchedTimer t([](void* arg, int64_t) { static_cast<std::atomic<int>*>(arg)->fetch_add(1); },
               &runs);
  int armed = 0, prevented = 0;
  for (int i = 0; i < 3'000; ++i) {
    if (t.Arm(NowNanos() + (i % 4) * 2'000)) ++prevented;
    ++armed;
    if (i % 3 == 0) Yield();
    if (i % 5 == 0 && t.Disarm()) ++prevented;
  }
  if (t.Disarm()) ++prevented;
  EXPECT_EQ(runs.load() + prevented, armed);
}

TEST(TimerTest, DisarmTakesBackWhatARunInProgressHasArmed) {
  struct Again {
    std::atomic<int> runs{0};
    SchedTimer timer{&Run, this};
    static void Run(void* arg, int64_t) {
      auto* again = static_cast<Again*>(arg);
      again->runs.fetch_add(1, std::memory_order_relaxed);
      again->timer.Arm(0);  // long due: it runs until it is taken back
    }
  };
  for (int i = 0; i < 200; ++i) {
    Again again;
    again.timer.Arm(0);
    while (again.runs.load(std::memory_order_relaxed) < i % 7) Yield();
    again.timer.Disarm();
    const int runs = again.runs.load(std::memory_order_relaxed);
    Yield();
    ASSERT_FALSE(again.timer.Disarm()) << "round " << i << ": it is armed";
    ASSERT_EQ(again.runs.load(std::memory_order_relaxed), runs) << "round " << i;
  }
}

TEST(TimerTest, ATimerArmedWhileAnotherThreadGoesToWaitIsNotMissed) {
  // The other M goes to wait for one deadline while this one moves it away and brings a nearer one:
  // a poller that tells another deadline than it waits for sleeps for an hour here.
  SchedTimer moving([](void*, int64_t) {}, nullptr);
  for (int i = 0; i < 3'000; ++i) {
    moving.Arm(NowNanos() + i % 3'000);
    moving.Arm(NowNanos() + 3'600'000'000'000);
    WakeClaim claim;
    ASSERT_EQ(ParkUntil(WaitReason::kSleep, NowNanos() + 20'000, claim, nullptr, nullptr),
              WakeClaim::kTimedOut);
  }
}

TEST(ParkUntilTest, ReturnsWhoWon) {
  WakeClaim nobody;
  const int64_t start = NowNanos();
  EXPECT_EQ(ParkUntil(WaitReason::kSleep, start + 2'000'000, nobody, nullptr, nullptr),
            WakeClaim::kTimedOut);
  EXPECT_GE(NowNanos() - start, 2'000'000);

  // A waker that claims first, for goroutines and for foreign threads.
  struct Shared {
    WakeClaim claim;
    std::atomic<G*> g{nullptr};
  };
  const auto publish = [](G* g, void* arg) {
    static_cast<Shared*>(arg)->g.store(g);
    return true;
  };
  for (int i = 0; i < 200; ++i) {
    Shared shared;
    Latch woken(1);
    Go([&] {
      while (shared.g.load() == nullptr) Yield();
      G* g = shared.g.load();
      if (shared.claim.TryClaim(7)) Ready(g);
      woken.CountDown();
    });
    EXPECT_EQ(
        ParkUntil(WaitReason::kSelect, NowNanos() + 60'000'000'000, shared.claim, publish, &shared),
        7u);
    woken.Wait();
  }
  Latch done(1);
  std::thread([&] {
    WakeClaim claim;
    EXPECT_EQ(ParkUntil(WaitReason::kSleep, NowNanos() + 1'000'000, claim, nullptr, nullptr),
              WakeClaim::kTimedOut);
    done.CountDown();
  }).detach();
  done.Wait();
}

TEST(ParkUntilTest, TimerAndWakerRaceToExactlyOneWakeUp) {
  struct Shared {
    WakeClaim claim;
    std::atomic<G*> g{nullptr};
  };
  int timed_out = 0, woken = 0;
  for (int i = 0; i < 2'000; ++i) {
    auto shared = std::make_shared<Shared>();
    Latch done(1);
    Go([shared, &done] {
      for (int spins = 0; spins < 50 && shared->g.load() == nullptr; ++spins) Yield();
      if (G* g = shared->g.load(); g != nullptr && shared->claim.TryClaim(1)) Ready(g);
      done.CountDown();
    });
    const uint32_t winner = ParkUntil(
        WaitReason::kSelect, NowNanos() + (i % 8) * 1'000, shared->claim,
        [](G* g, void* arg) {
          static_cast<Shared*>(arg)->g.store(g);
          return true;
        },
        shared.get());
    (winner == WakeClaim::kTimedOut ? timed_out : woken) += 1;
    done.Wait();
  }
  EXPECT_EQ(timed_out + woken, 2'000);
}

TEST(ParkUntilTest, OnAForeignThreadTheTimeAndAWakerRaceToExactlyOneWakeUp) {
  struct Shared {
    WakeClaim claim;
    std::atomic<G*> g{nullptr};
  };
  const auto publish = [](G* g, void* arg) {
    static_cast<Shared*>(arg)->g.store(g);
    return true;
  };
  constexpr int kRounds = 2'000;
  std::vector<Shared> rounds(kRounds);
  int timed_out = 0, woken = 0;
  std::thread foreign([&] {
    for (int i = 0; i < kRounds; ++i) {
      const uint32_t winner = ParkUntil(WaitReason::kSelect, NowNanos() + (i % 8) * 1'000,
                                        rounds[i].claim, publish, &rounds[i]);
      EXPECT_EQ(winner, rounds[i].claim.winner());
      (winner == WakeClaim::kTimedOut ? timed_out : woken) += 1;
    }
  });
  int readied = 0;
  for (Shared& round : rounds) {
    while (round.g.load() == nullptr) Yield();
    G* g = round.g.load();
    if (round.claim.TryClaim(1)) {
      ++readied;
      Ready(g);
    }
  }
  BlockingCall([&] { foreign.join(); });
  EXPECT_EQ(woken, readied) << "each claim that won woke it once, and no other woke it";
  EXPECT_EQ(timed_out + woken, kRounds);
}

// What a commit needs that stays until its own timer has fired on the other M.
struct SlowCommit {
  WakeClaim claim;
  std::atomic<bool> passed{false};
  // Due after the park's own, so it fires once that one's run is over.
  SchedTimer after{[](void* arg, int64_t) { static_cast<SlowCommit*>(arg)->passed.store(true); },
                   this};
  bool waited_in_vain = false;

  // The bound is for the failure alone: a run that waits for the commit.
  void AwaitTimer() {
    const int64_t now = NowNanos();
    after.Arm(now);
    while (!passed.load() && !waited_in_vain) {
      sched_yield();
      waited_in_vain = NowNanos() > now + 10'000'000'000;
    }
  }
};

TEST(ParkUntilTest, ATimerThatComesBeforeTheCommitIsDoneDoesNotWaitForIt) {
  for (int i = 0; i < 20; ++i) {
    SlowCommit slow;
    const auto commit = [](G*, void* arg) {
      static_cast<SlowCommit*>(arg)->AwaitTimer();
      return true;
    };
    EXPECT_EQ(ParkUntil(WaitReason::kSleep, NowNanos(), slow.claim, commit, &slow),
              WakeClaim::kTimedOut);
    ASSERT_FALSE(slow.waited_in_vain);
  }
}

TEST(ParkUntilTest, AWakerBeforeTheTimerThatCameDuringTheCommitWins) {
  for (int i = 0; i < 20; ++i) {
    SlowCommit slow;
    const auto commit = [](G* g, void* arg) {
      auto* slow = static_cast<SlowCommit*>(arg);
      slow->AwaitTimer();
      if (slow->claim.TryClaim(7)) Ready(g);
      return true;
    };
    EXPECT_EQ(ParkUntil(WaitReason::kSleep, NowNanos(), slow.claim, commit, &slow), 7u);
    ASSERT_FALSE(slow.waited_in_vain);
  }
}

TEST(ParkUntilTest, ACommitThatRefusesAfterItsTimerCameGoesOnOnce) {
  for (int i = 0; i < 20; ++i) {
    SlowCommit slow;
    const auto commit = [](G*, void* arg) {
      static_cast<SlowCommit*>(arg)->AwaitTimer();
      return false;
    };
    EXPECT_EQ(ParkUntil(WaitReason::kSleep, NowNanos(), slow.claim, commit, &slow),
              WakeClaim::kOpen);
    ASSERT_FALSE(slow.waited_in_vain);
  }
}

TEST(StatsTest, CountsGoroutinesAndWork) {
  const Stats before = GetStats();
  EXPECT_EQ(before.procs, 2);
  EXPECT_GE(before.threads, 2);
  EXPECT_GE(before.goroutines, 1);
  Latch done(10);
  for (int i = 0; i < 10; ++i) Go([&done] { done.CountDown(); });
  done.Wait();
  const Stats after = GetStats();
  EXPECT_GE(after.spawns, before.spawns + 10);
  EXPECT_GT(after.switches, before.switches);
}

}  // namespace
}  // namespace plimsoll::sched
