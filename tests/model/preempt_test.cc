// Preemption in place: the steps of runtime/sched/DESIGN.md, "Preemption in place", by number.
//
// A signal is a function that runs between two steps of a thread (Point), once its sender's word is
// seen. Transcribed: the handler, AwaitGrant, TakePreemptedLocked, HandOverPreempted and
// SomebodyCanTakeP of runtime/sched/preempt.cc; StopTheWorld's part in it of stop_world.cc.

#include <array>
#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;
constexpr std::memory_order kRelease = std::memory_order_release;
constexpr std::memory_order kAcqRel = std::memory_order_acq_rel;

enum Status : uint32_t { kIdle, kRunning, kPreempted, kStopped };

struct M;

struct P {
  Var<int> data{0};  // what belongs to the holder
  atomic<uint32_t> status{kIdle};
  M* preempted_m = nullptr;  // published by kPreempted

  void Use() { data.Set(data.Get() + 1); }
};

struct M {
  P* p = nullptr;  // read and written by its own thread alone
  P* next_p = nullptr;
  int no_preempt = 0;
  int attention = 0;
  atomic<uint32_t> asked{0};
  atomic<uint32_t> park_word{0};
  Var<int> frame{0};  // its goroutine's registers and stack
};

struct World {
  Lock mu;
  std::array<P, 2> ps;
  M* idle_m = nullptr;  // guarded by mu, as are the next three
  M* bound = nullptr;   // whose goroutine waits in place, queued
  P* idle_p = nullptr;
  bool stopping = false;
  atomic<uint32_t> sysmon_word{0};
  atomic<uint32_t> stop_word{0};
  Lock malloc_lock;  // libc's
  atomic<uint32_t> thread_wanted{0};
  P* for_new_thread = nullptr;

  // --- The M that a signal may reach.

  void AcquireP(M* m, P* p) {
    m->p = p;
    p->status.store(kRunning, kRelease);
    p->Use();
  }
  void GrantP(P* p, M* m) {
    m->next_p = p;
    m->park_word.store(1, kRelease);
  }
  void AwaitGrant(M* m, bool stays = false) {  // step 8
    m->park_word.WaitWhile(0, stays);          // acquire
    m->park_word.store(0, kRelaxed);
    AcquireP(m, m->next_p);
  }
  void GiveInPlace(M* m) {  // step 5
    P* p = m->p;
    m->p = nullptr;
    p->preempted_m = m;
    p->status.store(kPreempted,
                    Planted("kPreempted is published without a release") ? kRelaxed : kRelease);
    sysmon_word.fetch_add(1, kRelease);
    AwaitGrant(m);
  }
  // Between two instructions: a signal that was sent may be taken here, or later.
  void Point(M* m) {
    if (m->asked.load(kRelaxed) == 0 || Choose(2) == 0) return;
    m->asked.store(0, kRelaxed);
    if (m->no_preempt > 0 || m->p == nullptr) {  // step 3
      m->attention = 1;
      return;
    }
    GiveInPlace(m);
  }
  // A region of the product that uses the P: malloc's cache, the ring, a timer heap.
  void Region(M* m) {
    P* p;
    if (Planted("the P taken between load and use")) {
      p = m->p;
      Point(m);
      ++m->no_preempt;
    } else {
      Point(m);
      ++m->no_preempt;
      p = m->p;
    }
    Point(m);
    p->Use();
    Point(m);
    p->Use();
    if (--m->no_preempt == 0 && m->attention != 0) {  // AtSafePoint
      m->attention = 0;
      ++m->no_preempt;
      GiveInPlace(m);
      --m->no_preempt;
    }
  }
  // A goroutine that does not park: its own code, malloc, and a region of the runtime's.
  void Hog(M* m, bool mallocs) {
    m->frame.Set(1);
    Point(m);
    if (mallocs) {
      malloc_lock.lock();
      Point(m);  // within malloc (forced: step 4)
      malloc_lock.unlock();
    }
    Region(m);
    m->frame.Set(2);
    // It ends, and its M looks for the next.
    m->no_preempt = 1;
    GoOn(m);
  }

  // --- Whoever holds a P and has nothing to run but what waits in place: step 7.
  void GoOn(M* m) {
    P* p = m->p;
    p->Use();
    mu.lock();
    M* to = bound;
    bound = nullptr;
    m->p = nullptr;
    if (to == nullptr) {
      p->status.store(kIdle, kRelaxed);
      idle_p = p;
    }
    mu.unlock();
    if (to != nullptr) GrantP(p, to);
  }

  // --- sysmon

  bool SomebodyCanTakeP() {
    mu.lock();
    const bool can = idle_m != nullptr || bound != nullptr;
    mu.unlock();
    return can;
  }
  void Ask(M* m) { m->asked.store(1, kRelease); }  // step 1
  void HandOverPreempted(P* p) {                   // step 6
    mu.lock();
    uint32_t expected = kPreempted;
    if (!p->status.compare_exchange_strong(expected, kIdle, kAcqRel, kRelaxed)) {
      mu.unlock();
      return;
    }
    M* waits = p->preempted_m;
    M* to;
    if (idle_m != nullptr) {
      bound = waits;
      to = idle_m;
      idle_m = nullptr;
    } else if (Planted("no reserved M at P=1")) {
      // The P waits for a thread that has yet to be made.
      bound = waits;
      for_new_thread = p;
      mu.unlock();
      thread_wanted.store(1, kRelease);
      return;
    } else {
      to = waits;  // its P back
    }
    P* other = idle_p;  // another P idles: it is for the one in place
    M* also = other != nullptr ? bound : nullptr;
    if (also != nullptr) {
      idle_p = nullptr;
      bound = nullptr;
    }
    mu.unlock();
    GrantP(p, to);
    if (also != nullptr) GrantP(other, also);
  }
};

// An M that sleeps until it is granted a P, runs something short on it, and passes it on.
void SleepingM(World* w, const char* name, M* m) {
  Daemon(name, [=] {
    w->AwaitGrant(m, /*stays=*/true);
    m->p->Use();
    w->GoOn(m);
  });
}

// sysmon: asks once, and hands over what it is given.
void Sysmon(World* w, M* hog, P* p) {
  Daemon("sysmon", [=] {
    const bool anyway = Planted("no reserved M at P=1");
    if (!w->SomebodyCanTakeP() && !anyway) return;
    w->Ask(hog);
    w->sysmon_word.WaitWhile(0, /*stays=*/true);
    w->HandOverPreempted(p);
  });
}

// One P. `reserved`: an M sleeps.
Program OneP(bool reserved) {
  return [=] {
    auto* w = New<World>("world");
    auto* hog = New<M>("hog");
    hog->p = &w->ps[0];
    w->ps[0].status.store(kRunning, kRelaxed);
    Thread("hog", [=] { w->Hog(hog, /*mallocs=*/true); });
    Sysmon(w, hog, &w->ps[0]);
    if (reserved) {
      auto* m = New<M>("M1");
      w->idle_m = m;
      SleepingM(w, "M1", m);
    }
    auto* fresh = New<M>("new M");
    Daemon("maker", [=] {
      w->thread_wanted.WaitWhile(0, /*stays=*/true);
      w->malloc_lock.lock();  // pthread_create allocates
      w->malloc_lock.unlock();
      w->AcquireP(fresh, w->for_new_thread);
      w->GoOn(fresh);
    });
    AtEnd([=] { Check(hog->frame.Get() == 2, "the hog came to its end"); });
  };
}

// Two Ps: the hog's goes to M1, the other's holder passes it to the hog.
Program TwoPs() {
  return [] {
    auto* w = New<World>("world");
    auto* hog = New<M>("hog");
    auto* m1 = New<M>("M1");
    auto* m2 = New<M>("M2");
    hog->p = &w->ps[0];
    w->ps[0].status.store(kRunning, kRelaxed);
    m2->p = &w->ps[1];
    w->ps[1].status.store(kRunning, kRelaxed);
    w->idle_m = m1;
    Thread("hog", [=] { w->Hog(hog, /*mallocs=*/false); });
    Sysmon(w, hog, &w->ps[0]);
    SleepingM(w, "M1", m1);
    Daemon("M2", [=] { w->GoOn(m2); });
    AtEnd([=] { Check(hog->frame.Get() == 2, "the hog came to its end"); });
  };
}

// A stopper that wants to read the hog's frame while the world is stopped. The hog stops in place.
Program StopTheWorld() {
  return [] {
    auto* w = New<World>("world");
    auto* hog = New<M>("hog");
    hog->p = &w->ps[0];
    w->ps[0].status.store(kRunning, kRelaxed);
    Thread("hog", [=] { w->Hog(hog, /*mallocs=*/true); });
    Daemon("stopper", [=] {
      w->mu.lock();
      w->stopping = true;
      w->mu.unlock();
      w->Ask(hog);
      // It looks every 50 us, and need not be woken.
      w->ps[0].status.WaitUntil([](uint64_t now, uint64_t arg) { return now == arg; }, kPreempted,
                                /*stays=*/true);
      w->mu.lock();
      uint32_t expected = kPreempted;
      const bool stopped =
          w->ps[0].status.compare_exchange_strong(expected, kStopped, kAcqRel, kRelaxed);
      w->mu.unlock();
      if (!stopped) return;
      hog->frame.Get();  // a scan
      w->mu.lock();
      w->stopping = false;
      w->mu.unlock();
      w->GrantP(&w->ps[0], w->ps[0].preempted_m);
    });
    AtEnd([=] { Check(hog->frame.Get() == 2, "the hog came to its end"); });
  };
}

TEST(PreemptModel, APreemptedGoroutineComesToItsEnd) {
  ExpectHolds("1 P, an M asleep / hog in malloc / sysmon", {}, OneP(true));
  ExpectHolds("1 P, no M and none to be had / hog in malloc / sysmon", {}, OneP(false));
  ExpectHolds("2 Ps / hog / sysmon", {}, TwoPs());
  ExpectHolds("stopper / hog in malloc", {}, StopTheWorld());
}

TEST(PreemptModel, FindsEachPlantedFault) {
  ExpectFinds("2 Ps / hog / sysmon", "the P taken between load and use", {}, TwoPs());
  ExpectFinds("1 P / hog in malloc / sysmon", "no reserved M at P=1", {}, OneP(false));
  ExpectFinds("stopper / hog in malloc", "kPreempted is published without a release", {},
              StopTheWorld());
}

}  // namespace
}  // namespace plimsoll::model
