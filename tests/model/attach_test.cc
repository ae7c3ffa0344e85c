// Threads that attach and detach, beside the one who looks for a deadlock.
//
// Transcribed: AttachThread and DetachThread of runtime/sched/attach.cc, as far as they count;
// StopLockedM of lock_os_thread.cc; CheckDeadlock, Quiet and ForeignThreads of exit.cc. What the
// kernel tells of threads is one number. One P.

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

  // --- exit.cc

  bool Quiet() { return blocking_calls.load() == 0 && idle_ps.load() == 1 && queued.load() == 0; }
  // False: ask again.
  bool CheckDeadlock() {
    const int taken = ps_taken.load();
    if (!Quiet()) return true;
    const int own = own_threads.load();
    const int listed = threads.load();
    if (own != own_threads.load()) return false;
    if (listed > own) return true;
    if (!Quiet()) return false;
    if (ps_taken.load() != taken && !Planted("a P was taken in between")) return false;
    told.fetch_add(1);
    return true;
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

TEST(AttachModel, NoDeadlockIsToldWhileAStrangerComesAndGoes) {
  ExpectHolds("idle P: attach, detach, ready / look", {}, WakesItLater(1, false));
  ExpectHolds("idle P: attach, detach, twice, ready / look", {}, WakesItLater(2, false));
  ExpectHolds("busy P: attach, detach, ready / park, look", {}, WakesItLater(1, true));
}

TEST(AttachModel, ADeadlockIsToldByWhoeverParksLast) {
  ExpectHolds("attach, park for ever / look", {}, WaitsForEver());
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
}

}  // namespace
}  // namespace plimsoll::model
