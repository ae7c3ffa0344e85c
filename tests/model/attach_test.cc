// Threads that attach and detach, beside the one who looks for a deadlock, and beside one who stops
// the world.
//
// Transcribed: AttachThread and DetachThread of runtime/sched/attach.cc, as far as they count;
// StopLockedM of lock_os_thread.cc; CheckDeadlock, DeadlockWatch, Quiet and ForeignThreads of
// exit.cc; StopTheWorld, StartTheWorld and ForEachG of stop_world.cc, AtSafePoint of preempt.cc,
// the two ends of blocking_call.cc. What the kernel tells of threads is one number. One P.

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

struct Scheduler {
  atomic<int> blocking_calls{0};
  atomic<int> own_threads{1};  // the M that looks
  atomic<int> threads{2};      // as the kernel counts: that one, and the stranger
  Lock mu;
  bool p_idle = true;      // guarded by mu
  atomic<int> idle_ps{1};  // likewise, read without
  atomic<int> ps_taken{0};
  atomic<int> queued{0};        // a goroutine in the global queue, or in the P's
  atomic<uint32_t> granted{0};  // the stranger's park_word
  atomic<int> told{0};          // deadlocks
  atomic<int> watched{0};       // somebody sleeps, and looks again after a while
  atomic<uint32_t> broken{0};   // the idle source's word

  // --- exit.cc

  bool Quiet() { return blocking_calls.load() == 0 && idle_ps.load() == 1 && queued.load() == 0; }
  // False: it cannot be told.
  bool CheckDeadlock() {
    const int taken = ps_taken.load();
    if (!Quiet()) return true;
    const int own = own_threads.load();
    const int listed = threads.load();
    if (own != own_threads.load()) return false;
    if (listed > own) return false;
    if (!Quiet()) return false;
    if (ps_taken.load() != taken && !Planted("a P was taken in between")) return false;
    told.fetch_add(1);
    return true;
  }

  // *watches: the caller does.
  void Ask(bool* watches) {
    while (CheckDeadlock()) {
      if (!*watches) return;
      *watches = false;
      watched.store(0);
      if (Planted("watch: given up without a last look")) return;
    }
    if (!*watches && watched.exchange(1) == 0) *watches = true;
  }
  void HaveDeadlockWatched() {
    if (!Quiet() || watched.load() == 1) return;
    broken.store(1);
  }
  // The M in the idle source. What a watch waits for may pass `looks` times; a wait for ever ends
  // when it is broken.
  void PollForEver(int looks) {
    bool watches = false;
    for (;;) {
      Ask(&watches);
      if (watches && looks > 0 && Choose(2) == 0) {
        --looks;
        continue;
      }
      broken.WaitWhile(0);
      broken.store(0);
    }
  }

  // --- idle.cc

  bool TakeIdleP() {
    mu.lock();
    const bool got = p_idle;
    if (got) {
      p_idle = false;
      ps_taken.fetch_add(1);
      idle_ps.fetch_sub(1);
    }
    mu.unlock();
    return got;
  }
  // The P goes to who is queued and waits for it, or is put down.
  void GiveUpP() {
    mu.lock();
    if (queued.load(kRelaxed) == 1) {
      queued.store(0, kRelaxed);
      mu.unlock();
      granted.store(1, kRelease);
      return;
    }
    p_idle = true;
    idle_ps.fetch_add(1);
    mu.unlock();
    // Queued between the look and the idle list: whoever queued it sees an idle P, or we see it.
    if (queued.load() == 1 && TakeIdleP()) {
      queued.store(0, kRelaxed);
      granted.store(1, kRelease);
    }
  }

  // --- attach.cc

  void Attach() {
    if (Planted("attach: own before blocking")) {
      own_threads.fetch_add(1);
      blocking_calls.fetch_add(1);
    } else {
      if (!Planted("attach: not counted while it has no P")) blocking_calls.fetch_add(1);
      own_threads.fetch_add(1);
    }
    if (!TakeIdleP()) {
      queued.store(1);
      // WakeIfIdle: an M that it wakes takes the P and passes it on.
      if (TakeIdleP()) {
        queued.store(0, kRelaxed);
      } else {
        granted.WaitWhile(0);
      }
    }
    if (!Planted("attach: not counted while it has no P")) blocking_calls.fetch_sub(1);
  }
  void Detach() {
    if (!Planted("detach: own after the P")) own_threads.fetch_sub(1);
    GiveUpP();
    if (Planted("detach: own after the P")) own_threads.fetch_sub(1);
    if (!Planted("detach: nobody is left to look")) HaveDeadlockWatched();
  }
  // Its goroutine waits, off its stack: the M gives its P away and sleeps, for ever.
  void ParkForEver() {
    GiveUpP();
    if (Planted("locked: who parks last does not look")) return;
    for (int i = 0; i < 3 && !CheckDeadlock(); ++i) {
    }
  }
};

// A goroutine waits for the stranger, who attaches and detaches `rounds` times and then wakes it.
// So a deadlock told is one that is none.
Program WakesItLater(int rounds, bool busy) {
  return [=] {
    auto* s = New<Scheduler>("s");
    if (busy) {
      s->p_idle = false;
      s->idle_ps.store(0, kRelaxed);
    }
    Thread("m", [=] {
      if (busy) s->GiveUpP();  // its goroutine parks: the last that ran
      for (int i = 0; i < 2 && !s->CheckDeadlock(); ++i) {
      }
    });
    Thread("stranger", [=] {
      for (int i = 0; i < rounds; ++i) {
        s->Attach();
        s->Detach();
      }
      s->queued.store(1);  // Ready from a foreign thread
      s->threads.fetch_sub(1);
    });
    AtEnd([=] { Check(s->told.load(kAcquire) == 0, "a deadlock was told that was none"); });
  };
}

// The stranger attaches and waits for somebody that never comes: by then the M has looked, and
// sleeps.
Program WaitsForEver() {
  return [] {
    auto* s = New<Scheduler>("s");
    Thread("m", [=] { s->CheckDeadlock(); });
    Thread("stranger", [=] {
      s->Attach();
      s->ParkForEver();
    });
    AtEnd([=] { Check(s->told.load(kAcquire) >= 1, "a deadlock was not told"); });
  };
}

// A goroutine waits for ever. The stranger attaches, detaches and ends: it is told, or somebody
// sleeps who will look again.
Program LeavesItBehind() {
  return [] {
    auto* s = New<Scheduler>("s");
    Daemon("m", [=] { s->PollForEver(1); });
    Thread("stranger", [=] {
      s->Attach();
      s->Detach();
      s->threads.fetch_sub(1);
    });
    AtEnd([=] {
      Check(s->told.load(kAcquire) + s->watched.load(kAcquire) >= 1, "nobody will tell it");
    });
  };
}

// Likewise, where the stranger waits for ever too, and a third thread, which is nobody's, lives.
Program TwoSleepAndOneWatches() {
  return [] {
    auto* s = New<Scheduler>("s");
    s->threads.store(3, kRelaxed);
    Daemon("m", [=] { s->PollForEver(1); });
    Thread("stranger", [=] {
      s->Attach();
      s->GiveUpP();
      bool watches = false;
      s->Ask(&watches);
    });
    AtEnd([=] {
      Check(s->told.load(kAcquire) == 0, "a deadlock was told while a foreign thread lives");
      Check(s->watched.load(kAcquire) == 1, "nobody will tell it");
    });
  };
}

// --- Stopping the world.

enum PStatus : int { kPIdle, kPRunning, kPSyscall, kPStopped };
enum GStatus : int { kGIdle, kGRunnable, kGRunning, kGSyscall, kGPreempted };

struct World {
  Lock mu;
  atomic<int> p{kPIdle};
  bool listed = true;   // guarded by mu: the P is in the idle list
  bool queued = false;  // likewise: the stranger's goroutine waits for it
  int stop_wait = 0;    // likewise
  atomic<int> stopping{0};
  atomic<uint32_t> stop_word{0};
  atomic<int> attention{0};
  atomic<uint32_t> granted{0};
  atomic<int> g{kGIdle};
  // + 1 whenever the stranger did something: after which the stopper, who in the product looks
  // every 200 us, looks again. Orders nothing.
  atomic<uint32_t> moves{0};
  // What whoever holds a P may write, and who stopped the world.
  Var<int> heap{0};

  // --- idle.cc

  void StopPLocked() {
    p.store(kPStopped, kRelease);
    if (--stop_wait == 0) stop_word.store(1, kRelease);
  }
  void PutPDownLocked() {
    if (stopping.load(kRelaxed) == 1 && !Planted("a P is put down while the world is stopping")) {
      StopPLocked();
      return;
    }
    p.store(kPIdle, kRelaxed);
    listed = true;
  }
  // At once, or by a grant.
  void AwaitP(bool in_call) {
    mu.lock();
    const bool got = listed;
    if (got) {
      listed = false;
    } else {
      if (in_call) g.store(kGRunnable, kRelease);  // its commit has run
      queued = true;
    }
    mu.unlock();
    if (!got) AwaitGrant();
    p.store(kPRunning, kRelease);
    Move();
  }
  void AwaitGrant() {
    granted.WaitWhile(0);
    granted.store(0, kRelaxed);
  }
  void Move() { moves.fetch_add(1, kRelaxed); }

  // --- stop_world.cc

  void CollectLocked() {
    int expected = kPSyscall;
    if (Planted("stop: the P of a call is stored, not CASed")) {
      expected = p.load(kAcquire);
      if (expected == kPSyscall) StopPLocked();
    } else if (p.compare_exchange_strong(expected, kPIdle, std::memory_order_acq_rel)) {
      StopPLocked();
    }
    if (expected == kPRunning) attention.store(1, kRelaxed);
  }
  void Stop() {
    mu.lock();
    stop_wait = 1;
    stopping.store(1, kRelaxed);
    if (listed) {
      listed = false;
      StopPLocked();
    }
    mu.unlock();
    for (;;) {
      const uint32_t before = moves.load(kRelaxed);
      mu.lock();
      if (stop_word.load(kRelaxed) != 1) CollectLocked();
      mu.unlock();
      if (stop_word.load(kAcquire) == 1) return;
      moves.WaitWhile(before);
    }
  }
  void LookAtStopped() {
    Check(g.load(kAcquire) != kGRunning, "a goroutine runs in a stopped world");
    heap.Set(1);
  }
  void Start() {
    mu.lock();
    stopping.store(0, kRelaxed);
    stop_word.store(0, kRelaxed);
    p.store(kPIdle, kRelaxed);
    const bool grant = queued;
    queued = false;
    if (!grant) PutPDownLocked();
    mu.unlock();
    if (grant) granted.store(1, kRelease);
  }

  // --- preempt.cc

  void EndRegion() {
    if (attention.load(kRelaxed) == 0) return;
    attention.store(0, kRelaxed);
    while (stopping.load(kRelaxed) == 1) {
      mu.lock();
      if (stopping.load(kRelaxed) == 0) {
        mu.unlock();
        break;
      }
      g.store(kGPreempted, kRelease);
      queued = true;
      StopPLocked();
      mu.unlock();
      Move();
      AwaitGrant();
      p.store(kPRunning, kRelease);
      g.store(kGRunning, kRelaxed);
    }
    Move();
  }

  // --- attach.cc, blocking_call.cc

  void Attach() {
    if (Planted("attach: running before it has a P")) g.store(kGRunning, kRelaxed);
    AwaitP(/*in_call=*/false);
    g.store(kGRunning, kRelaxed);
    EndRegion();
  }
  void Run() {
    heap.Set(2);
    EndRegion();
  }
  void Call() {
    g.store(kGSyscall, kRelease);
    p.store(kPSyscall, kRelease);
    Move();
    int expected = kPSyscall;
    if (p.compare_exchange_strong(expected, kPRunning, std::memory_order_acq_rel)) {
      if (stopping.load(kRelaxed) == 1) attention.store(1, kRelaxed);
      Move();
    } else {
      AwaitP(/*in_call=*/true);
    }
    g.store(kGRunning, kRelaxed);
    EndRegion();
  }
  void Detach() {
    const bool late = Planted("detach: running until the P is put down");
    if (!late) g.store(kGIdle, kRelease);
    mu.lock();
    PutPDownLocked();
    mu.unlock();
    if (late) g.store(kGIdle, kRelease);
    Move();
  }
};

const Options kTwo = {.search = Search::kBounded, .preemptions = 2};

Program StopsBesideAStranger(bool call, int rounds) {
  return [=] {
    auto* w = New<World>("w");
    Thread("stopper", [=] {
      w->Stop();
      w->LookAtStopped();
      w->Start();
    });
    Thread("stranger", [=] {
      for (int i = 0; i < rounds; ++i) {
        w->Attach();
        if (call) w->Call();
        w->Run();
        w->Detach();
      }
    });
    AtEnd([=] { Check(w->p.load(kAcquire) == kPIdle, "the P is lost"); });
  };
}

TEST(AttachModel, NoDeadlockIsToldWhileAStrangerComesAndGoes) {
  ExpectHolds("idle P: attach, detach, ready / look", {}, WakesItLater(1, false));
  ExpectHolds("idle P: attach, detach, twice, ready / look", {}, WakesItLater(2, false));
  ExpectHolds("busy P: attach, detach, ready / park, look", {}, WakesItLater(1, true));
}

TEST(AttachModel, ADeadlockIsToldByWhoeverParksLast) {
  ExpectHolds("attach, park for ever / look", {}, WaitsForEver());
}

TEST(AttachModel, ADeadlockIsLeftToNobody) {
  ExpectHolds("attach, detach, end / poll", {}, LeavesItBehind());
  ExpectHolds("attach, park for ever / poll / one that lives", {}, TwoSleepAndOneWatches());
}

TEST(AttachModel, AStrangerStopsWithTheWorld) {
  ExpectHolds("attach, run, detach / stop", {}, StopsBesideAStranger(false, 1));
  ExpectHolds("attach, run, detach, twice / stop", {}, StopsBesideAStranger(false, 2));
  ExpectHolds("attach, call, run, detach / stop, 2 preemptions", kTwo,
              StopsBesideAStranger(true, 1));
}

TEST(AttachModel, FindsEachPlantedFault) {
  ExpectFinds("idle P: attach, detach, ready / look", "attach: own before blocking", {},
              WakesItLater(1, false));
  ExpectFinds("idle P: attach, detach, ready / look", "detach: own after the P", {},
              WakesItLater(1, false));
  ExpectFinds("attach, park for ever / look", "locked: who parks last does not look", {},
              WaitsForEver());
  ExpectFinds("idle P: attach, detach, ready / look", "attach: not counted while it has no P", {},
              WakesItLater(1, false));
  ExpectFinds("idle P: attach, detach, ready / look", "a P was taken in between", {},
              WakesItLater(1, false));
  ExpectFinds("attach, detach, end / poll", "detach: nobody is left to look", {}, LeavesItBehind());
  ExpectFinds("attach, park for ever / poll / one that lives",
              "watch: given up without a last look", {}, TwoSleepAndOneWatches());
  ExpectFinds("attach, run, detach / stop", "attach: running before it has a P", {},
              StopsBesideAStranger(false, 1));
  ExpectFinds("attach, run, detach / stop", "detach: running until the P is put down", {},
              StopsBesideAStranger(false, 1));
  ExpectFinds("attach, run, detach / stop", "a P is put down while the world is stopping", {},
              StopsBesideAStranger(false, 1));
  ExpectFinds("attach, call, run, detach / stop, 2 preemptions",
              "stop: the P of a call is stored, not CASed", kTwo, StopsBesideAStranger(true, 1));
}

}  // namespace
}  // namespace plimsoll::model
