// One that would only sleep: runtime/sched/DESIGN.md, the section of that name.
//
// One P. A goroutine stopped in place may hold a lock of the user's, and the one that has the P
// sleeps in the kernel for it. Transcribed: the handler of runtime/sched/preempt_signal.cc,
// LookForSleeper of sysmon.cc, HandOverPreempted of preempt.cc, TakeBoundLocked of queues.cc; of
// the machine, a futex's queue and glibc's mutex (nptl/lowlevellock.c).

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

enum Asked : uint32_t { kNot, kForGood, kAsleep };
enum Bell : uint32_t { kSleeps, kWoken, kInterrupted };

struct M {
  bool has_p = false;  // of its own thread
  atomic<uint32_t> asked{kNot};
  atomic<uint32_t> park_word{0};
  bool waited = false;  // stopped in the futex; published by World::preempted
  atomic<uint32_t> bell{kWoken};
};

// M pointers, first in first out.
struct Line {
  std::array<M*, 4> at{};
  int n = 0;
  void Push(M* m) { at[static_cast<size_t>(n++)] = m; }
  bool Remove(const M* m) {
    for (int i = 0; i < n; ++i) {
      if (at[static_cast<size_t>(i)] != m) continue;
      for (; i + 1 < n; ++i) at[static_cast<size_t>(i)] = at[static_cast<size_t>(i) + 1];
      --n;
      return true;
    }
    return false;
  }
};

struct World {
  Lock mu;                          // the scheduler's
  Line bound;                       // guarded by mu: those that wait in place
  M* holder = nullptr;              // guarded by mu: who was granted the P last
  atomic<uint32_t> preempted{0};    // 1: the P is kPreempted
  M* preempted_m = nullptr;         // published by it
  atomic<uint32_t> sysmon_word{0};  // something to see: the real one looks again and again

  Lock kernel;
  Line sleepers;             // guarded by kernel: the futex's queue
  atomic<uint32_t> user{0};  // a mutex of the user's: 0 free, 1 held, 2 held and wanted
  Var<int> guarded{0};       // by it

  // --- The kernel and libc.

  void FutexWait(M* m) {
    for (;;) {  // entered again after a signal
      kernel.lock();
      if (m->asked.load(kRelaxed) != kNot) {  // pending: no sleep
        kernel.unlock();
        Handler(m, /*in_futex=*/true);
        continue;
      }
      if (user.load(kRelaxed) != 2) {
        kernel.unlock();
        return;
      }
      m->bell.store(kSleeps, kRelaxed);
      sleepers.Push(m);
      kernel.unlock();
      sysmon_word.fetch_add(1, kRelease);
      if (m->bell.WaitWhile(kSleeps) == kWoken) return;
      Handler(m, /*in_futex=*/true);
    }
  }
  void FutexWake() {
    kernel.lock();
    if (sleepers.n > 0) {
      M* m = sleepers.at[0];
      sleepers.Remove(m);
      m->bell.store(kWoken, kRelease);
    }
    kernel.unlock();
  }
  void LockUser(M* m) {
    Point(m);
    uint32_t free = 0;
    if (user.compare_exchange_strong(free, 1, kAcquire, kRelaxed)) return;
    while (user.exchange(2, kAcquire) != 0) FutexWait(m);
  }
  void UnlockUser() {
    if (user.exchange(0, kRelease) == 2) FutexWake();
  }

  // --- The M that a signal may reach.

  void Handler(M* m, bool in_futex) {
    const uint32_t asked = m->asked.exchange(kNot, kAcquire);
    if (asked == kNot || !m->has_p) return;
    if (asked == kAsleep && !in_futex) return;  // woken since
    m->has_p = false;
    m->waited = in_futex;
    preempted_m = m;
    preempted.store(1, kRelease);
    sysmon_word.fetch_add(1, kRelease);
    AwaitGrant(m);
  }
  void AwaitGrant(M* m) {
    m->park_word.WaitWhile(0);
    m->park_word.store(0, kRelaxed);
    m->has_p = true;
  }
  void Point(M* m) {
    if (m->asked.load(kRelaxed) != kNot && Choose(2) == 1) Handler(m, /*in_futex=*/false);
  }

  // --- Who has the P, and who gets it.

  bool WouldSleep(const M* m) {
    if (!m->waited) return false;
    kernel.lock();
    const bool same = user.load(kRelaxed) == 2;
    kernel.unlock();
    return same;
  }
  M* TakeBoundLocked() {
    for (int i = 0; i < bound.n; ++i) {
      M* m = bound.at[static_cast<size_t>(i)];
      if (WouldSleep(m)) continue;
      bound.Remove(m);
      return m;
    }
    if (bound.n == 0 || Planted("one that would sleep is never granted a P")) return nullptr;
    M* m = bound.at[0];
    bound.Remove(m);
    return m;
  }
  void GrantLocked(M* m) {
    holder = m;
    if (m != nullptr) m->park_word.store(1, kRelease);
  }
  // Its goroutine has ended.
  void GoOn(M* m) {
    m->has_p = false;
    mu.lock();
    GrantLocked(TakeBoundLocked());
    mu.unlock();
  }

  // --- sysmon

  void Ask(M* m, Asked how) {
    m->asked.store(how, kRelease);
    kernel.lock();
    if (sleepers.Remove(m)) m->bell.store(kInterrupted, kRelease);
    kernel.unlock();
  }
  void HandOverPreempted() {
    mu.lock();
    uint32_t expected = 1;
    if (preempted.compare_exchange_strong(expected, 0, kAcqRel, kRelaxed)) {
      bound.Push(preempted_m);
      GrantLocked(TakeBoundLocked());
    }
    mu.unlock();
  }
  void LookForSleeper() {
    mu.lock();
    M* m = holder;
    bool others = false;
    for (int i = 0; i < bound.n; ++i) others |= !WouldSleep(bound.at[static_cast<size_t>(i)]);
    kernel.lock();
    bool sleeps = false;
    for (int i = 0; i < sleepers.n; ++i) sleeps |= sleepers.at[static_cast<size_t>(i)] == m;
    kernel.unlock();
    mu.unlock();
    if (!sleeps || !others || Planted("one that sleeps keeps its P")) return;
    Ask(m, kAsleep);
  }
};

void Goroutine(World* w, M* m, bool stopped) {
  if (stopped) w->AwaitGrant(m);
  w->LockUser(m);
  w->Point(m);
  w->guarded.Set(w->guarded.Get() + 1);
  w->Point(m);
  w->UnlockUser();
  w->Point(m);
  w->GoOn(m);
}

void Sysmon(World* w, M* hog, int rounds) {
  Daemon("sysmon", [=] {
    w->Ask(hog, kForGood);  // its slice is over
    uint32_t seen = 0;
    for (int i = 0; i < rounds; ++i) {
      seen = w->sysmon_word.WaitWhile(seen, /*stays=*/true);
      if (w->preempted.load(kAcquire) == 1) {
        w->HandOverPreempted();
      } else {
        w->LookForSleeper();
      }
    }
  });
}

// `n` goroutines that want one mutex. The first has the P; sysmon stops it, wherever it is. The
// others wait in place, stopped before they came to the mutex.
Program AllWantOneMutex(int n) {
  return [=] {
    auto* w = New<World>("world");
    std::array<M*, 3> ms{};
    for (int i = 0; i < n; ++i) {
      M*& m = ms[static_cast<size_t>(i)];
      m = New<M>("M");
      if (i > 0) w->bound.Push(m);
    }
    ms[0]->has_p = true;
    w->holder = ms[0];
    for (int i = 0; i < n; ++i) {
      M* m = ms[static_cast<size_t>(i)];
      Thread(i == 0 ? "holder" : i == 1 ? "second" : "third", [=] { Goroutine(w, m, i > 0); });
    }
    Sysmon(w, ms[0], 4 * n);
    AtEnd([=] { Check(w->guarded.Get() == n, "each had the mutex once"); });
  };
}

// A thread that is not ours holds the mutex. One of ours was stopped where it slept for it, and
// another gives its P up.
Program AForeignHolder() {
  return [] {
    auto* w = New<World>("world");
    auto* sleeper = New<M>("sleeper");
    auto* other = New<M>("other");
    w->user.store(2, kRelaxed);
    sleeper->waited = true;
    w->bound.Push(sleeper);
    other->has_p = true;
    w->holder = other;
    Thread("foreign", [=] {
      w->guarded.Set(w->guarded.Get() + 1);
      w->UnlockUser();
    });
    Thread("other", [=] { w->GoOn(other); });
    Thread("sleeper", [=] {
      w->AwaitGrant(sleeper);
      do {
        w->FutexWait(sleeper);
      } while (w->user.exchange(2, kAcquire) != 0);
      w->guarded.Set(w->guarded.Get() + 1);
      w->UnlockUser();
      w->GoOn(sleeper);
    });
    AtEnd([=] { Check(w->guarded.Get() == 2, "both had the mutex"); });
  };
}

TEST(SleeperModel, AStoppedHolderGetsThePFromWhoSleepsForIt) {
  ExpectHolds("holder / second / sysmon", {}, AllWantOneMutex(2));
  ExpectHolds("holder / second / third / sysmon, 2 preemptions",
              {.search = Search::kBounded, .preemptions = 2}, AllWantOneMutex(3));
}

TEST(SleeperModel, WhoSleepsForAForeignThreadIsWoken) {
  ExpectHolds("foreign holder / sleeper / other", {}, AForeignHolder());
}

TEST(SleeperModel, FindsEachPlantedFault) {
  ExpectFinds("holder / second / sysmon", "one that sleeps keeps its P", {}, AllWantOneMutex(2));
  ExpectFinds("foreign holder / sleeper / other", "one that would sleep is never granted a P", {},
              AForeignHolder());
}

}  // namespace
}  // namespace plimsoll::model
