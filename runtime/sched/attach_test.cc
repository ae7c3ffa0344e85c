#include "plimsoll/runtime/sched/attach.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sched/locals.h"
#include "plimsoll/runtime/sched/lock_os_thread.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sched/trace_buffer.h"

// Tests run on the main goroutine of a scheduler with two Ps (tests/testing/goroutine_main.cc).

namespace plimsoll::sched {
namespace {

__attribute__((noinline)) pid_t Tid() {
  asm volatile("");
  return static_cast<pid_t>(syscall(SYS_gettid));
}

void SleepFor(int64_t ns) {
  WakeClaim claim;
  ParkUntil(WaitReason::kSleep, NowNanos() + ns, claim, nullptr, nullptr);
}

void ParkForEver() {
  Park(WaitReason::kChanReceive, [](G*, void*) { return true; }, nullptr);
}

// A thread of nobody's, whose end a goroutine waits for without keeping its P.
template <typename F>
void OnAThread(F f) {
  std::thread thread(std::move(f));
  BlockingCall([&] { thread.join(); });
}

// A token that goes back and forth between two goroutines: one may wait.
class Baton {
 public:
  void Give() {
    G* waiter = nullptr;
    {
      NoPreempt guard;
      base::SpinLockHolder hold(mu_);
      if (waiter_ == nullptr) {
        there_ = true;
      } else {
        std::swap(waiter, waiter_);
      }
    }
    if (waiter != nullptr) Ready(waiter);
  }
  void Take() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    NoPreempt guard;
    mu_.lock();
    if (there_) {
      there_ = false;
      mu_.unlock();
      return;
    }
    waiter_ = CurrentG();
    ParkAndUnlock(WaitReason::kChanReceive, mu_);
  }

 private:
  base::SpinLock mu_;
  bool there_ ABSL_GUARDED_BY(mu_) = false;
  G* waiter_ ABSL_GUARDED_BY(mu_) = nullptr;
};

class AttachTest : public testing::Test {
 protected:
  AttachTest() {
    // Those of the test before have done their work, and may not have ended: some count.
    while (GetStats().goroutines > 1) Yield();
  }
  ~AttachTest() override { SetProcs({.procs = 2}); }
};

TEST_F(AttachTest, AnAttachedThreadIsAGoroutineWithAPOnItsThread) {
  const int64_t before = GetStats().goroutines;
  OnAThread([before] {
    EXPECT_EQ(CurrentThread(), -1);
    EXPECT_EQ(CurrentProc(), -1);
    EXPECT_EQ(GoroutineId(CurrentG()), 0u);
    const pid_t mine = Tid();
    {
      AttachedThread attached;
      EXPECT_GE(CurrentThread(), 0);
      EXPECT_GE(CurrentProc(), 0);
      EXPECT_GT(GoroutineId(CurrentG()), 0u);
      EXPECT_EQ(GetStats().goroutines, before + 1);
      for (int i = 0; i < 100; ++i) {
        switch (i % 3) {
          case 0:
            Yield();
            break;
          case 1:
            SleepFor(1'000);
            break;
          default:
            BlockingCall([] { sched_yield(); });
        }
        ASSERT_EQ(Tid(), mine);
        ASSERT_GE(CurrentProc(), 0);
      }
    }
    EXPECT_EQ(CurrentThread(), -1);
    EXPECT_EQ(GoroutineId(CurrentG()), 0u);
  });
  EXPECT_EQ(GetStats().goroutines, before);
}

TEST_F(AttachTest, AtOnePItTakesItsTurnWithAGoroutine) {
  SetProcs({.procs = 1});
  Baton there, back;
  int turns = 0;  // whoever has the baton
  Go([&] {
    for (int i = 0; i < 500; ++i) {
      there.Take();
      ++turns;
      back.Give();
    }
  });
  OnAThread([&] {
    AttachedThread attached;
    for (int i = 0; i < 500; ++i) {
      there.Give();
      back.Take();
      ++turns;
    }
  });
  EXPECT_EQ(turns, 1000);
}

TEST_F(AttachTest, ManyThreadsAttachAndDetachWhileGoroutinesRun) {
  constexpr int kThreads = 8, kRounds = 40;
  std::atomic<bool> stop{false};
  std::atomic<int> left{3};
  for (int i = 0; i < 3; ++i) {
    Go([&] {
      while (!stop.load()) Yield();
      left.fetch_sub(1);
    });
  }
  const int threads_before = GetStats().threads;
  std::atomic<int> ran{0};
  OnAThread([&] {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < kRounds; ++i) {
          AttachedThread attached;
          Baton done;
          Go([&] {
            ran.fetch_add(1);
            done.Give();
          });
          done.Take();
        }
      });
    }
    for (std::thread& t : threads) t.join();
  });
  EXPECT_EQ(ran.load(), kThreads * kRounds);
  stop.store(true);
  while (left.load() > 0) Yield();
  // Of these 320 none is left; some were made to take the P of those that waited.
  EXPECT_LT(GetStats().threads, threads_before + 40);
}

TEST_F(AttachTest, ItsGoroutinesAreQueuedOnItsPAndItsMIsUsedAgain) {
  int first = -1;
  for (int i = 0; i < 20; ++i) {
    OnAThread([&] {
      AttachedThread attached;
      if (first == -1) first = CurrentThread();
      EXPECT_EQ(CurrentThread(), first);
      std::atomic<bool> ran{false};
      Go([&] { ran.store(true); });
      while (!ran.load()) Yield();
    });
  }
}

TEST_F(AttachTest, NestsAndIsNothingOnAGoroutine) {
  OnAThread([] {
    AttachThread("outer");
    const uint64_t id = GoroutineId(CurrentG());
    AttachThread("inner");
    EXPECT_EQ(GoroutineId(CurrentG()), id);
    DetachThread();
    EXPECT_EQ(GoroutineId(CurrentG()), id);
    // Locked it is from the start, whatever is locked and unlocked in between.
    LockOsThread();
    UnlockOsThread();
    UnlockOsThread();
    const pid_t mine = Tid();
    for (int i = 0; i < 20; ++i) {
      SleepFor(1'000);
      EXPECT_EQ(Tid(), mine);
    }
    DetachThread();
    EXPECT_EQ(GoroutineId(CurrentG()), 0u);
  });
  const uint64_t id = GoroutineId(CurrentG());
  AttachThread();
  DetachThread();
  DetachThread();
  EXPECT_EQ(GoroutineId(CurrentG()), id);
}

TEST_F(AttachTest, AThreadThatEndsAttachedIsDetachedAfterItsThreadLocals) {
  struct Last {
    uint64_t* id;
    ~Last() {
      *id = GoroutineId(CurrentG());
      Yield();
    }
  };
  const int64_t before = GetStats().goroutines;
  uint64_t id = 0, id_at_end = 0;
  OnAThread([&] {
    thread_local Last last{&id_at_end};
    (void)last;
    AttachThread();
    AttachThread();
    id = GoroutineId(CurrentG());
  });
  EXPECT_GT(id, 0u);
  EXPECT_EQ(id_at_end, id);
  EXPECT_EQ(GetStats().goroutines, before);
  // By pthread_exit, too, which unwinds.
  pthread_t thread;
  ASSERT_EQ(pthread_create(
                &thread, nullptr,
                [](void*) -> void* {
                  AttachedThread attached;
                  pthread_exit(nullptr);
                },
                nullptr),
            0);
  BlockingCall([&] { pthread_join(thread, nullptr); });
  EXPECT_EQ(GetStats().goroutines, before);
}

TEST_F(AttachTest, TaskLocalValuesEndWithTheAttachment) {
  auto value = std::make_shared<int>(7);
  static const int key = 0;
  OnAThread([&] {
    {
      AttachedThread attached;
      SetLocal(&key, value);
      EXPECT_EQ(FindLocal(&key), value.get());
      const long before = value.use_count();
      EXPECT_EQ(before, 2);
    }
    EXPECT_EQ(value.use_count(), 1);
    AttachedThread again;
    EXPECT_EQ(FindLocal(&key), nullptr);
  });
}

TEST_F(AttachTest, ItsAltStackAndItsMaskArePutBack) {
  OnAThread([] {
    std::vector<char> own(64 << 10);
    stack_t mine = {}, found = {};
    mine.ss_sp = own.data();
    mine.ss_size = own.size();
    stack_t before = {};
    ASSERT_EQ(syscall(SYS_sigaltstack, &mine, &before), 0);
    sigset_t urgent, mask;
    sigemptyset(&urgent);
    sigaddset(&urgent, SIGURG);
    pthread_sigmask(SIG_BLOCK, &urgent, nullptr);
    {
      AttachedThread attached;
      ASSERT_EQ(syscall(SYS_sigaltstack, nullptr, &found), 0);
      EXPECT_NE(found.ss_sp, own.data());
      EXPECT_EQ(found.ss_flags & SS_DISABLE, 0);
      pthread_sigmask(SIG_BLOCK, nullptr, &mask);
      EXPECT_EQ(sigismember(&mask, SIGURG), 0);
      EXPECT_EQ(sigismember(&mask, SIGTERM), 0);
    }
    ASSERT_EQ(syscall(SYS_sigaltstack, nullptr, &found), 0);
    EXPECT_EQ(found.ss_sp, own.data());
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    EXPECT_EQ(sigismember(&mask, SIGURG), 1);
    ASSERT_EQ(syscall(SYS_sigaltstack, &before, nullptr), 0);
  });
}

TEST_F(AttachTest, AnAltStackThatWasSetMeanwhileStays) {
  OnAThread([] {
    std::vector<char> first(64 << 10), second(64 << 10);
    stack_t one = {}, other = {}, none = {}, found = {}, before = {};
    one.ss_sp = first.data();
    one.ss_size = first.size();
    other.ss_sp = second.data();
    other.ss_size = second.size();
    none.ss_flags = SS_DISABLE;
    const struct {
      const char* what;
      const stack_t* had;    // before it attaches
      const stack_t* given;  // while it is attached
    } kCases[] = {
        {"a second one in place of none", &none, &other},
        {"a second one in place of the first", &one, &other},
        {"none in place of the first, whose memory may be gone", &one, &none},
    };
    ASSERT_EQ(syscall(SYS_sigaltstack, nullptr, &before), 0);
    for (const auto& c : kCases) {
      SCOPED_TRACE(c.what);
      ASSERT_EQ(syscall(SYS_sigaltstack, c.had, nullptr), 0);
      {
        AttachedThread attached;
        ASSERT_EQ(syscall(SYS_sigaltstack, c.given, nullptr), 0);
      }
      ASSERT_EQ(syscall(SYS_sigaltstack, nullptr, &found), 0);
      EXPECT_EQ(found.ss_flags & SS_DISABLE, c.given->ss_flags & SS_DISABLE);
      EXPECT_EQ(found.ss_sp, c.given->ss_sp);
    }
    ASSERT_EQ(syscall(SYS_sigaltstack, &before, nullptr), 0);
  });
}

// The program's own action for SIGURG: there before Main, and called for every signal but ours.
std::atomic<int> programs_signals{0};
const int installed = [] {
  struct sigaction action = {};
  action.sa_handler = [](int) { programs_signals.fetch_add(1); };
  return sigaction(SIGURG, &action, nullptr);
}();

TEST_F(AttachTest, APreemptionSignalThatIsLateForItIsNobodys) {
  if (base::kTsan) GTEST_SKIP() << "TSan holds signals back";
  ASSERT_EQ(installed, 0);
  for (const bool blocked_before : {false, true}) {
    SetProcs({.procs = 1});
    const int before = programs_signals.load();
    std::atomic<bool> done{false};
    std::thread thread([&] {
      sigset_t urgent, pending;
      sigemptyset(&urgent);
      sigaddset(&urgent, SIGURG);
      if (blocked_before) pthread_sigmask(SIG_BLOCK, &urgent, nullptr);
      AttachThread();
      // It keeps the P that others wait for, and lets no signal in: sysmon's stays on its way.
      pthread_sigmask(SIG_BLOCK, &urgent, nullptr);
      do {
        sigpending(&pending);
      } while (sigismember(&pending, SIGURG) == 0);
      DetachThread();
      sigpending(&pending);
      EXPECT_EQ(sigismember(&pending, SIGURG), 0) << blocked_before;
      pthread_sigmask(SIG_UNBLOCK, &urgent, nullptr);
      EXPECT_EQ(programs_signals.load(), before) << blocked_before;
      // One that the program sends is the program's.
      pthread_kill(pthread_self(), SIGURG);
      EXPECT_EQ(programs_signals.load(), before + 1) << blocked_before;
      done.store(true);
    });
    while (!done.load()) Yield();
    BlockingCall([&] { thread.join(); });
  }
}

TEST_F(AttachTest, ALockThatItHeldStaysLockedAndAnotherMayGiveItBack) {
  // A lock of sync/ in small: whoever has the baton holds it.
  Baton lock;
  lock.Give();
  OnAThread([&] {
    AttachedThread attached;
    lock.Take();
  });
  std::atomic<bool> got{false};
  Go([&] {
    lock.Take();
    got.store(true);
  });
  for (int i = 0; i < 100; ++i) Yield();
  EXPECT_FALSE(got.load());
  lock.Give();
  while (!got.load()) Yield();
}

TEST_F(AttachTest, ABlockingCallOfItsLetsOthersRunAtOneP) {
  SetProcs({.procs = 1});
  std::atomic<bool> leave{false}, seen{false};
  std::thread thread([&] {
    AttachedThread attached;
    BlockingCall([&] {
      while (!leave.load()) sched_yield();
    });
    EXPECT_GE(CurrentProc(), 0);
    seen.store(true);
  });
  SleepFor(1'000'000);  // the one P is here, and not in the call
  leave.store(true);
  while (!seen.load()) Yield();
  BlockingCall([&] { thread.join(); });
}

TEST_F(AttachTest, AHogIsPreemptedInPlace) {
  if (base::kTsan) GTEST_SKIP() << "nobody is stopped in TSan's runtime, where hogs are";
  SetProcs({.procs = 1});
  const uint64_t before = GetStats().preemptions;
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    AttachedThread attached;
    const pid_t mine = Tid();
    while (!stop.load(std::memory_order_relaxed)) {
    }
    EXPECT_EQ(Tid(), mine);
  });
  while (GetStats().preemptions < before + 5) Yield();
  stop.store(true);
  BlockingCall([&] { thread.join(); });
}

TEST_F(AttachTest, AHogIsPreemptedThoughItsThreadBlocksAllSignals) {
  if (base::kTsan) GTEST_SKIP() << "nobody is stopped in TSan's runtime, where hogs are";
  SetProcs({.procs = 1});
  const uint64_t before = GetStats().preemptions;
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    AttachedThread attached;
    while (!stop.load(std::memory_order_relaxed)) {
    }
  });
  while (GetStats().preemptions < before + 2) Yield();
  stop.store(true);
  BlockingCall([&] { thread.join(); });
}

TEST_F(AttachTest, ItStopsWithTheWorldAndItsStackIsShownFromThereUp) {
  std::atomic<uint64_t> counter{0};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> id{0}, parked_id{0};
  std::atomic<uintptr_t> frame{0}, parked_frame{0};
  Baton never;
  std::thread runs([&] {
    AttachedThread attached;
    frame.store(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    id.store(GoroutineId(CurrentG()));
    while (!stop.load(std::memory_order_relaxed)) {
      counter.fetch_add(1, std::memory_order_relaxed);
      Yield();
    }
  });
  std::thread parks([&] {
    AttachedThread attached;
    parked_frame.store(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    parked_id.store(GoroutineId(CurrentG()));
    never.Take();
  });
  while (id.load() == 0 || parked_id.load() == 0 || counter.load() < 100) Yield();
  for (int i = 0; i < 50; ++i) {
    StopTheWorld();
    const uint64_t then = counter.load();
    struct Found {
      uint64_t id, parked_id;
      uintptr_t frame, parked_frame;
      int runs = 0, parks = 0;
    } found{id.load(), parked_id.load(), frame.load(), parked_frame.load()};
    ForEachG(
        [](const GView& g, void* arg) {
          Found& f = *static_cast<Found*>(arg);
          if (g.id() == f.id) f.runs += g.sp <= f.frame && f.frame < g.hi && g.lo <= g.sp;
          if (g.id() == f.parked_id) {
            f.parks += g.sp <= f.parked_frame && f.parked_frame < g.hi && g.lo <= g.sp;
          }
        },
        &found);
    const uint64_t now = counter.load();
    StartTheWorld();
    ASSERT_EQ(found.runs, 1) << i;
    ASSERT_EQ(found.parks, 1) << i;
    ASSERT_EQ(now, then);
    Yield();
  }
  EXPECT_TRUE(OnAttachedStack(frame.load()));
  stop.store(true);
  never.Give();
  BlockingCall([&] {
    runs.join();
    parks.join();
  });
  EXPECT_FALSE(OnAttachedStack(frame.load()));
}

TEST_F(AttachTest, WhoAttachesWhileTheWorldIsStoppedWaitsForItsStart) {
  for (int i = 0; i < 20; ++i) {
    std::atomic<bool> begins{false}, attached{false};
    StopTheWorld();
    std::thread thread([&] {
      begins.store(true);
      AttachedThread a;
      attached.store(true);
    });
    while (!begins.load()) sched_yield();
    sched_yield();
    EXPECT_FALSE(attached.load());
    StartTheWorld();
    BlockingCall([&] { thread.join(); });
    EXPECT_TRUE(attached.load());
  }
}

TEST_F(AttachTest, ItStopsTheWorldItself) {
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> counter{0};
  std::atomic<int> left{2};
  for (int i = 0; i < 2; ++i) {
    Go([&] {
      while (!stop.load()) {
        counter.fetch_add(1);
        Yield();
      }
      left.fetch_sub(1);
    });
  }
  OnAThread([&] {
    AttachedThread attached;
    for (int i = 0; i < 20; ++i) {
      StopTheWorld();
      const uint64_t then = counter.load();
      sched_yield();
      EXPECT_EQ(counter.load(), then);
      int callers = 0;
      ForEachG(
          [](const GView& g, void* arg) {
            *static_cast<int*>(arg) += g.state == GView::State::kCaller && g.sp < g.hi;
          },
          &callers);
      EXPECT_EQ(callers, 1);
      StartTheWorld();
      Yield();
    }
    SetProcs({.procs = 1});
    SetProcs({.procs = 3});
  });
  stop.store(true);
  while (left.load() > 0) Yield();
}

std::string WhatIsHandled() {
  try {
    throw;
  } catch (const std::exception& e) {
    return e.what();
  }
}

TEST_F(AttachTest, AnExceptionPassesTheEndOfItsAttachment) {
  OnAThread([] {
    try {
      AttachedThread attached;
      try {
        throw std::runtime_error("inner");
      } catch (const std::exception&) {
        // Parked with a caught exception: it stays this thread's.
        SleepFor(1'000);
        EXPECT_EQ(WhatIsHandled(), "inner");
      }
      throw std::runtime_error("outer");
    } catch (const std::exception& e) {
      EXPECT_STREQ(e.what(), "outer");
      EXPECT_EQ(CurrentThread(), -1);
    }
  });
}

TEST_F(AttachTest, ATracerIsToldOfItsBeginningAndItsEnd) {
  TraceBuffer buffer(1 << 16);
  ASSERT_TRUE(StartTracing(buffer));
  uint64_t id = 0;
  OnAThread([&] {
    AttachedThread attached;
    id = GoroutineId(CurrentG());
    SleepFor(1'000);
  });
  StopTracing();
  std::vector<TraceKind> kinds;
  for (const TraceEvent& e : buffer.events()) {
    // How it got its P each time, and whether it lost one in between, is not the question.
    if (e.g == id && (e.kind == TraceKind::kSpawn || e.kind == TraceKind::kRun ||
                      e.kind == TraceKind::kPark || e.kind == TraceKind::kEnd)) {
      kinds.push_back(e.kind);
    }
  }
  const std::vector<TraceKind> expected = {TraceKind::kSpawn, TraceKind::kRun, TraceKind::kPark,
                                           TraceKind::kRun, TraceKind::kEnd};
  EXPECT_EQ(kinds, expected);
}

using AttachDeathTest = AttachTest;

TEST_F(AttachDeathTest, ADetachTooManyTellsItsPlace) {
  EXPECT_EXIT(std::thread([] { DetachThread(); }).join(), testing::ExitedWithCode(2),
              "^fatal error: runtime: DetachThread on a thread that is not attached\n"
              "\\[at .*attach_test.cc:[0-9]+\\]");
  EXPECT_EXIT(std::thread([] {
                AttachThread();
                DetachThread();
                DetachThread();
              }).join(),
              testing::ExitedWithCode(2), "DetachThread on a thread that is not attached");
}

TEST_F(AttachDeathTest, ADetachWithinABlockingCallIsFatal) {
  EXPECT_EXIT(std::thread([] {
                AttachThread();
                BlockingCall([] { DetachThread(); });
              }).join(),
              testing::ExitedWithCode(2), "DetachThread within a BlockingCall");
}

TEST_F(AttachDeathTest, GoexitHasNowhereToGo) {
  EXPECT_EXIT(std::thread([] {
                AttachedThread attached;
                Goexit();
              }).join(),
              testing::ExitedWithCode(2), "Goexit on an attached thread");
}

TEST_F(AttachDeathTest, AHandlerIsRefused) {
  if (base::kTsan) GTEST_SKIP() << "TSan calls handlers when and where it likes";
  // On an alternate stack.
  EXPECT_EXIT(std::thread([] {
                static char altstack[256 << 10];
                stack_t mine = {};
                mine.ss_sp = altstack;
                mine.ss_size = sizeof(altstack);
                syscall(SYS_sigaltstack, &mine, nullptr);
                struct sigaction action = {};
                action.sa_handler = [](int) { AttachThread(); };
                action.sa_flags = SA_ONSTACK;
                sigaction(SIGUSR1, &action, nullptr);
                raise(SIGUSR1);
              }).join(),
              testing::ExitedWithCode(2), "AttachThread in a signal handler");
#ifndef NDEBUG
  // On the thread's own stack: seen by its frames, in a build that looks for them.
  EXPECT_EXIT(std::thread([] {
                struct sigaction action = {};
                action.sa_handler = [](int) { AttachThread(); };
                sigaction(SIGUSR1, &action, nullptr);
                raise(SIGUSR1);
              }).join(),
              testing::ExitedWithCode(2), "AttachThread in a signal handler");
#endif
}

TEST_F(AttachDeathTest, ADetachOnTheAlternateStackIsRefused) {
  if (base::kTsan) GTEST_SKIP() << "TSan calls handlers when and where it likes";
  EXPECT_EXIT(std::thread([] {
                struct sigaction action = {};
                action.sa_handler = [](int) { DetachThread(); };
                action.sa_flags = SA_ONSTACK;
                sigaction(SIGUSR1, &action, nullptr);
                AttachThread();
                raise(SIGUSR1);
              }).join(),
              testing::ExitedWithCode(2),
              "^fatal error: runtime: DetachThread in a signal handler\n"
              "\\[at .*attach_test.cc:[0-9]+\\]");
}

// Parked last, it looks for a deadlock: in files, whose calls would end it there and then, on a
// stack that is not its own.
TEST_F(AttachDeathTest, AThreadThatIsCancelledEndsWhereItNextMay) {
  EXPECT_EXIT(
      {
        static std::atomic<bool> went_on{false};
        static Baton baton;
        pthread_t thread;
        pthread_create(
            &thread, nullptr,
            [](void*) -> void* {
              pthread_cleanup_push([](void*) { _exit(went_on.load() ? 3 : 4); }, nullptr);
              AttachedThread attached;
              while (GetStats().idle_procs == 0) Yield();  // the main goroutine has parked
              pthread_cancel(pthread_self());
              baton.Take();
              went_on.store(true);
              pthread_testcancel();
              pthread_cleanup_pop(0);
              return nullptr;
            },
            nullptr);
        std::thread([] {
          // It has looked, or has ended the process.
          while (GetStats().deadlock_looks == 0) usleep(1'000);
          baton.Give();
        }).detach();
        ParkForEver();
      },
      testing::ExitedWithCode(3), "");
}

TEST_F(AttachDeathTest, AStackThatIsNotTheThreadsIsRefused) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "they would have to be told of the stack";
  EXPECT_EXIT(std::thread([] {
                alignas(16) static char other[256 << 10];
                static ucontext_t home, away;
                getcontext(&away);
                away.uc_stack.ss_sp = other;
                away.uc_stack.ss_size = sizeof(other);
                away.uc_link = &home;
                makecontext(&away, [] { AttachThread(); }, 0);
                swapcontext(&home, &away);
              }).join(),
              testing::ExitedWithCode(2), "AttachThread on a stack that is not the thread's");
}

TEST_F(AttachDeathTest, CountsForSetMaxThreads) {
  EXPECT_EXIT(std::thread([] {
                SetMaxThreads(GetStats().threads);
                AttachedThread attached;
              }).join(),
              testing::ExitedWithCode(2),
              "runtime: program exceeds [0-9]+-thread limit\nfatal error: thread exhaustion");
}

TEST_F(AttachDeathTest, ADeadlockOfAttachedThreadsIsTold) {
  // The thread's creator waits too: no thread is left that could ready anybody.
  EXPECT_EXIT(
      {
        std::thread([] {
          AttachedThread attached("stuck");
          ParkForEver();
        }).detach();
        ParkForEver();
      },
      testing::ExitedWithCode(2),
      "^fatal error: all goroutines are asleep - deadlock!\n"
      "(.|\n)*goroutine [0-9]+ \\[chan receive, attached thread\\] \\{\"label\": \"stuck\"\\}:");
}

TEST_F(AttachDeathTest, ADeadlockWhoseLastOneIsLockedIsTold) {
  EXPECT_EXIT(
      {
        Go([] {
          LockOsThread();
          while (GetStats().idle_procs == 0) Yield();
          ParkForEver();
        });
        ParkForEver();
      },
      testing::ExitedWithCode(2),
      "^fatal error: all goroutines are asleep - deadlock!\n"
      "(.|\n)*\\[chan receive, locked to thread\\]");
}

// Whom nobody looks after runs into it, instead of waiting for ever.
void EndAfter(unsigned seconds) {
  signal(SIGALRM, [](int) { _exit(99); });
  alarm(seconds);
}

TEST_F(AttachDeathTest, ADeadlockThatADetachedThreadLeavesBehindIsTold) {
  EXPECT_EXIT(
      {
        EndAfter(60);
        std::thread([] {
          AttachedThread attached;
          while (GetStats().idle_procs == 0) Yield();  // the main goroutine has parked
        }).detach();
        ParkForEver();
      },
      testing::ExitedWithCode(2), "^fatal error: all goroutines are asleep - deadlock!\n");
}

TEST_F(AttachDeathTest, ADeadlockThatAThreadWhoseGoroutineEndsLeavesBehindIsTold) {
  EXPECT_EXIT(
      {
        EndAfter(60);
        Go([] {
          LockOsThread();
          while (GetStats().idle_procs == 0) Yield();
        });
        ParkForEver();
      },
      testing::ExitedWithCode(2), "^fatal error: all goroutines are asleep - deadlock!\n");
}

// Without files nobody can tell who lives. All that are parked ask; together less and less often,
// and at once again when there are files.
TEST_F(AttachDeathTest, WhereThreadsCannotBeCountedOneAsksLessAndLessOftenAndTellsInTheEnd) {
  EXPECT_EXIT(
      {
        EndAfter(60);
        static rlimit files;
        getrlimit(RLIMIT_NOFILE, &files);
        for (int i = 0; i < 3; ++i) {
          Go([] {
            LockOsThread();
            ParkForEver();
          });
        }
        std::thread([] {
          rlimit none = files;
          none.rlim_cur = 0;
          setrlimit(RLIMIT_NOFILE, &none);
          while (GetStats().idle_procs < 2) usleep(1'000);
          // One look for each that went to sleep, of whom there are six Ms at most; then the one
          // that watches: after 10, 40, 160 ms. At 100 a second each, that were 10 ms and less.
          const uint64_t first = GetStats().deadlock_looks;
          const int64_t began = NowNanos();
          while (GetStats().deadlock_looks < first + 15) {
            if (NowNanos() - began > 250'000'000) break;
            usleep(1'000);
          }
          if (NowNanos() - began < 250'000'000) _exit(98);
          setrlimit(RLIMIT_NOFILE, &files);
        }).detach();
        ParkForEver();
      },
      testing::ExitedWithCode(2), "^fatal error: all goroutines are asleep - deadlock!\n");
}

TEST_F(AttachDeathTest, NoDeadlockIsToldWhileAThreadThatWasDetachedLives) {
  EXPECT_EXIT(
      {
        static Baton baton;
        std::thread([] {
          {
            AttachedThread attached;
            Yield();
          }
          // Long enough for the scheduler to find nothing to do.
          usleep(50'000);
          AttachedThread attached;
          baton.Give();
        }).detach();
        baton.Take();
        _exit(3);
      },
      testing::ExitedWithCode(3), "^$");
}

}  // namespace
}  // namespace plimsoll::sched
