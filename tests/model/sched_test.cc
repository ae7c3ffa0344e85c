// Waking and handing Ps over: the scheduler's protocol with two or three Ps.
//
// Transcribed, since it sits in functions that do much else: runtime/sched/idle.cc (WakeIfIdle,
// StartM, StopM, PutPDownLocked, HandOffP, GrantP), find_work.cc (FindRunnable from StealWork on,
// FoundWhileSpinning), queues.cc (PutGlobal), blocking_call.cc (Enter- and ExitBlockingCall),
// sysmon.cc (WatchPs, a P in kSyscall). The ring is a head and a tail; run_queue_test has the real
// one. The wait in the idle source is timer_test's.

#include <array>
#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;
constexpr std::memory_order kAcquire = std::memory_order_acquire;
constexpr std::memory_order kRelease = std::memory_order_release;
constexpr std::memory_order kAcqRel = std::memory_order_acq_rel;
constexpr std::memory_order kSeqCst = std::memory_order_seq_cst;

enum Status : uint32_t { kIdle, kRunning, kSyscall };

struct P {
  Var<int> data{0};  // whatever belongs to the holder: mcache, ring, timers
  atomic<uint32_t> status{kIdle};
  atomic<int> head{0}, tail{0};  // its ring, of goroutines by number

  void Use() { data.Set(data.Get() + 1); }
  bool Empty() { return head.load(kSeqCst) == tail.load(kSeqCst); }
};

struct M {
  P* p = nullptr;
  P* next_p = nullptr;
  bool spinning = false;
  int bound_g = -1;  // the goroutine of its blocking call, if it sleeps for a P with it
  atomic<uint32_t> park_word{0};
};

struct Sched {
  Lock mu;
  std::array<P, 3> ps;
  int procs = 0;
  std::array<P*, 3> idle_ps{};
  int idle_p_total = 0;
  std::array<M*, 4> idle_ms{};
  int idle_m_total = 0;
  std::array<int, 4> global{};
  int global_total = 0;
  atomic<int> idle_p_count{0};
  atomic<int> spinning{0};
  bool need_spinning = false;  // guarded by mu
  atomic<int> global_size{0};
  atomic<int> asked{0};  // the maker of threads
  std::array<Var<int>, 4> runs;
  std::array<Var<int>, 4> made;  // what made it runnable

  void Run(P* p, int g) {
    p->Use();
    Check(made[static_cast<size_t>(g)].Get() == 1, "what made it runnable is visible");
    Check(runs[static_cast<size_t>(g)].Get() == 0, "a goroutine runs once");
    runs[static_cast<size_t>(g)].Set(1);
  }

  // --- idle.cc

  void PutPDownLocked(P* p) {
    p->status.store(kIdle, kRelaxed);
    idle_ps[static_cast<size_t>(idle_p_total++)] = p;
    idle_p_count.fetch_add(1, kSeqCst);
  }
  P* TakeIdlePLocked() {
    if (idle_p_total == 0) return nullptr;
    P* p = idle_ps[static_cast<size_t>(--idle_p_total)];
    idle_p_count.fetch_sub(1, kSeqCst);
    return p;
  }
  P* TakeIdleP() {
    mu.lock();
    P* p = TakeIdlePLocked();
    mu.unlock();
    return p;
  }
  void AcquireP(M* m, P* p) {
    m->p = p;
    p->status.store(kRunning, kRelease);
    p->Use();
  }
  void WakeIfIdle() {
    if (!Planted("no fence between queue store and spinner check")) {
      model::atomic_thread_fence(kSeqCst);
    }
    if (idle_p_count.load(kRelaxed) == 0) return;
    if (spinning.load(kRelaxed) != 0) return;
    int none = 0;
    if (!spinning.compare_exchange_strong(none, 1, kSeqCst)) return;
    StartM(nullptr, true);
  }
  void StartM(P* p, bool spin) {
    M* m = nullptr;
    mu.lock();
    if (p == nullptr) p = TakeIdlePLocked();
    if (p != nullptr) {
      if (idle_m_total > 0) {
        m = idle_ms[static_cast<size_t>(--idle_m_total)];
      } else {
        PutPDownLocked(p);
      }
    }
    if (m == nullptr && spin) need_spinning = true;
    mu.unlock();
    if (m == nullptr) {
      if (spin) spinning.fetch_sub(1, kSeqCst);
      if (p != nullptr) asked.store(1, kRelease);  // AskForThread
      return;
    }
    m->spinning = spin;
    GrantP(p, m);
  }
  void GrantP(P* p, M* m) {
    m->next_p = p;
    m->park_word.store(1, kRelease);
  }
  void StopM(M* m) {
    mu.lock();
    idle_ms[static_cast<size_t>(idle_m_total++)] = m;
    mu.unlock();
    m->park_word.WaitWhile(0, /*stays=*/true);  // acquire
    m->park_word.store(0, kRelaxed);
    AcquireP(m, m->next_p);
  }
  void HandOffP(P* p) {
    if (!p->Empty() || global_size.load(kSeqCst) > 0) {
      StartM(p, false);
      return;
    }
    mu.lock();
    PutPDownLocked(p);
    mu.unlock();
    if (Planted("hand-off: no second look")) return;
    if (!p->Empty() || global_size.load(kSeqCst) > 0) WakeIfIdle();
  }

  // --- queues.cc

  void PutLocal(P* p, int g) {
    made[static_cast<size_t>(g)].Set(1);
    const int tail = p->tail.load(kRelaxed);
    Check(tail == g, "goroutines of a ring are numbered as they come");
    p->tail.store(tail + 1, kRelease);
  }
  void PutGlobal(int g) {
    mu.lock();
    global[static_cast<size_t>(global_total++)] = g;
    global_size.store(global_total, kRelaxed);
    mu.unlock();
  }
  int TakeGlobalLocked() {
    if (global_total == 0) return -1;
    const int g = global[static_cast<size_t>(--global_total)];
    global_size.store(global_total, kRelaxed);
    return g;
  }

  // --- find_work.cc

  bool WorkSomewhere() {
    if (global_size.load(kSeqCst) != 0) return true;
    for (int i = 0; i < procs; ++i) {
      if (!ps[static_cast<size_t>(i)].Empty()) return true;
    }
    return false;
  }
  int Steal(P* mine) {
    for (int i = 0; i < procs; ++i) {
      P& victim = ps[static_cast<size_t>(i)];
      if (&victim == mine) continue;
      int head = victim.head.load(kAcquire);
      if (head == victim.tail.load(kAcquire)) continue;
      if (victim.head.compare_exchange_strong(head, head + 1, kAcqRel)) return head;
    }
    return -1;
  }
  void StopSpinning(M* m) {
    m->spinning = false;
    Check(spinning.fetch_sub(1, kSeqCst) > 0, "more stopped spinning than started");
  }
  void StartSpinning(M* m) {
    m->spinning = true;
    spinning.fetch_add(1, kSeqCst);
  }
  // The life of an M: finds goroutines and runs each to its end.
  void ScheduleLoop(M* m) {
    for (;;) {
      if (m->p == nullptr) StopM(m);
      int g = -1;
      if (global_size.load(kRelaxed) > 0) {
        mu.lock();
        g = TakeGlobalLocked();
        mu.unlock();
      }
      // Within the budget a look is made four times, without it once (StealWork): never not at all.
      if (g < 0 && procs > 1 && !Planted("one without a budget does not look") &&
          (m->spinning || 2 * spinning.load(kRelaxed) < procs - idle_p_count.load(kRelaxed))) {
        if (!m->spinning) StartSpinning(m);
        g = Steal(m->p);
      }
      if (g < 0) {
        mu.lock();
        g = TakeGlobalLocked();
        if (g < 0 && !m->spinning && need_spinning &&
            !Planted("a waker without a P says nothing")) {
          need_spinning = false;
          mu.unlock();
          StartSpinning(m);
          continue;
        }
        if (g < 0) {
          P* p = m->p;
          m->p = nullptr;
          p->Use();
          PutPDownLocked(p);
        }
        mu.unlock();
      }
      if (g >= 0) {
        if (m->spinning) {  // FoundWhileSpinning
          StopSpinning(m);
          WakeIfIdle();
        }
        Run(m->p, g);
        continue;
      }
      if (m->spinning) {
        StopSpinning(m);
        if (!Planted("no re-check after un-spinning") && WorkSomewhere()) {
          if (P* again = TakeIdleP()) {
            AcquireP(m, again);
            StartSpinning(m);
          }
        }
      }
    }
  }

  // --- blocking_call.cc and sysmon.cc

  // A goroutine in a BlockingCall on m; it is goroutine g of the world's books.
  void BlockingCall(M* m, int g) {
    made[static_cast<size_t>(g)].Set(1);
    P* p = m->p;
    m->p = nullptr;
    p->Use();
    p->status.store(kSyscall, kRelease);
    // … the call …
    uint32_t in_call = kSyscall;
    bool have;
    if (Planted("the P taken between load and use")) {
      have = p->status.load(kAcquire) == kSyscall;
      if (have) p->status.store(kRunning, kRelaxed);
    } else {
      have = p->status.compare_exchange_strong(in_call, kRunning, kAcqRel, kRelaxed);
    }
    if (have) {
      m->p = p;
    } else if (P* idle = TakeIdleP()) {
      AcquireP(m, idle);
    } else {
      PutGlobal(g);  // and this M sleeps: whoever finds g runs it
      WakeIfIdle();
      ScheduleLoop(m);
    }
    Run(m->p, g);
    // The goroutine ends; nobody else is needed.
    HandOffP(m->p);
  }
  void Retake(P* p) {
    uint32_t in_call = kSyscall;
    if (p->status.load(kAcquire) != kSyscall) return;
    if (p->status.compare_exchange_strong(in_call, kIdle, kAcqRel, kRelaxed)) HandOffP(p);
  }
};

Sched* Begin(int procs) {
  auto* s = New<Sched>("sched");
  s->procs = procs;
  return s;
}
M* MakeM(Sched* s, P* p, bool spinning) {
  auto* m = New<M>("m");
  m->p = p;
  m->spinning = spinning;
  if (p != nullptr) p->status.store(kRunning, kRelaxed);
  if (spinning) s->spinning.fetch_add(1);
  return m;
}
void Sleeps(Sched* s, M* m) { s->idle_ms[static_cast<size_t>(s->idle_m_total++)] = m; }
void AllRan(Sched* s, int n) {
  AtEnd([=] {
    for (int g = 0; g < n; ++g) {
      Check(s->runs[static_cast<size_t>(g)].Get() == 1, "a goroutine waits while a P idles");
    }
  });
}
// Threads made on demand, `most` of them (threads.cc, Maker and ThreadOfM).
void Maker(Sched* s, int most = 1) {
  for (int i = 0; i < most; ++i) {
    auto* m = New<M>("new m");
    Daemon(i == 0 ? "new M" : "newer M", [=] {
      for (int asked = 0; asked == 0;) {
        s->asked.WaitWhile(0, /*stays=*/true);
        asked = s->asked.exchange(0, kAcquire);
      }
      if (P* p = s->TakeIdleP()) {
        s->AcquireP(m, p);
        s->StartSpinning(m);
      }
      s->ScheduleLoop(m);
    });
  }
}

// M0 queues `puts` goroutines and runs on for ever; M1 holds P1 and looks for work, or, where it
// is not `spinning`, is about to; `sleepers` more Ms sleep, and as many Ps idle.
Program Waking(int puts, int sleepers, bool spinning = true) {
  return [=] {
    Sched* s = Begin(2 + sleepers);
    M* m0 = MakeM(s, &s->ps[0], false);
    M* m1 = MakeM(s, &s->ps[1], spinning);
    for (int i = 0; i < sleepers; ++i) {
      s->PutPDownLocked(&s->ps[static_cast<size_t>(2 + i)]);
      M* m = MakeM(s, nullptr, false);
      Daemon("M2", [=] {
        // It sleeps already.
        m->park_word.WaitWhile(0, true);
        m->park_word.store(0, kRelaxed);
        s->AcquireP(m, m->next_p);
        s->ScheduleLoop(m);
      });
      Sleeps(s, m);
    }
    Thread("M0", [=] {
      for (int g = 0; g < puts; ++g) {
        s->PutLocal(m0->p, g);
        s->WakeIfIdle();
      }
    });
    Daemon("M1", [=] { s->ScheduleLoop(m1); });
    Maker(s, puts);  // as often as somebody may ask
    AllRan(s, puts);
  };
}

// A blocking call against sysmon, with an M asleep and nothing else to do; or with a goroutine that
// comes to the global queue from outside.
Program HandOff(bool work) {
  return [=] {
    Sched* s = Begin(1);
    M* m0 = MakeM(s, &s->ps[0], false);
    M* m1 = MakeM(s, nullptr, false);
    Thread("M0", [=] { s->BlockingCall(m0, 0); });
    Thread("sysmon", [=] { s->Retake(&s->ps[0]); });
    if (work) {
      Thread("outside", [=] {
        s->made[1].Set(1);
        s->PutGlobal(1);
        s->WakeIfIdle();
      });
    }
    Daemon("M1", [=] {
      m1->park_word.WaitWhile(0, true);
      m1->park_word.store(0, kRelaxed);
      s->AcquireP(m1, m1->next_p);
      s->ScheduleLoop(m1);
    });
    Sleeps(s, m1);
    Maker(s);
    AllRan(s, work ? 2 : 1);
  };
}

TEST(SchedModel, NoGoroutineWaitsWhileAPIdles) {
  ExpectHolds("put / spinning M, 3 preemptions", {.search = Search::kBounded, .preemptions = 3},
              Waking(1, 0));
  ExpectHolds("put 2 / spinning M, 2 preemptions", {.search = Search::kBounded}, Waking(2, 0));
  ExpectHolds("put / M about to look, 2 preemptions", {.search = Search::kBounded},
              Waking(1, 0, /*spinning=*/false));
  ExpectHolds("put 2 / spinning M / M asleep, random",
              {.search = Search::kRandom, .executions = SearchFar() ? 300'000u : 30'000u},
              Waking(2, 1));
  if (SearchFar()) {
    ExpectHolds("put / spinning M", {}, Waking(1, 0));
    ExpectHolds("put 2 / spinning M, 3 preemptions", {.search = Search::kBounded, .preemptions = 3},
                Waking(2, 0));
    ExpectHolds("put 2 / spinning M / M asleep, 2 preemptions", {.search = Search::kBounded},
                Waking(2, 1));
  }
}

TEST(SchedModel, APInABlockingCallHasOneHolder) {
  ExpectHolds("blocking call / sysmon", {}, HandOff(false));
  ExpectHolds("blocking call / sysmon / work from outside, 2 preemptions",
              {.search = Search::kBounded}, HandOff(true));
  if (SearchFar()) {
    ExpectHolds("blocking call / sysmon / work from outside, 3 preemptions",
                {.search = Search::kBounded, .preemptions = 3}, HandOff(true));
  }
}

TEST(SchedModel, FindsEachPlantedFault) {
  ExpectFinds("put / spinning M", "no fence between queue store and spinner check", {},
              Waking(1, 0));
  ExpectFinds("put / spinning M", "no re-check after un-spinning", {}, Waking(1, 0));
  ExpectFinds("put / M about to look", "one without a budget does not look",
              {.search = Search::kBounded}, Waking(1, 0, /*spinning=*/false));
  ExpectFinds("blocking call / sysmon / work from outside", "the P taken between load and use",
              {.search = Search::kBounded}, HandOff(true));
  ExpectFinds("blocking call / sysmon", "hand-off: no second look", {}, HandOff(false));
  // What the model found in the product, planted again; on weak memory and without.
  ExpectFinds("put 2 / spinning M", "a waker without a P says nothing",
              {.search = Search::kBounded}, Waking(2, 0));
  ExpectFinds("put 2 / spinning M, sequential", "a waker without a P says nothing",
              {.search = Search::kBounded, .memory = Memory::kSequential, .preemptions = 3},
              Waking(2, 0));
}

}  // namespace
}  // namespace plimsoll::model
