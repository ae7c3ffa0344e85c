// Timers: arming, disarming and firing, and the deadline that the poller waits for.
//
// Transcribed: LockOwner, SchedTimer::Arm and Disarm, RunTimers and TimerMovedForward of
// runtime/sched/timers.cc; the poller's part of FindRunnable in find_work.cc; the wake-up by Break
// of an IdleSource. The heap is an array of two (timer_heap_test has the real one).

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
constexpr std::memory_order kSeqCst = std::memory_order_seq_cst;
constexpr int kNever = 1000;

struct Timer {
  int when = 0;  // guarded by the heap's lock, as is pending
  bool pending = false;
  atomic<uint32_t> running{0};
  int rearms = 0;     // how often its function arms it again
  Var<int> fired{0};  // what its function touches, and its owner after Disarm
};

struct Timers {
  Lock mu;
  std::array<Timer*, 2> heap{};
  atomic<int> next_when{kNever};
  // The poller.
  atomic<int> last_poll{1};  // 0 while an M waits in the source
  atomic<int> poll_until{kNever};
  atomic<int> broken{0};

  int EarliestLocked() {
    int earliest = kNever;
    for (const Timer* t : heap) {
      if (t != nullptr && t->when < earliest) earliest = t->when;
    }
    return earliest;
  }
  void PublishEarliest() {
    next_when.store(EarliestLocked(), Planted("arm: not in the total order") ? kRelease : kSeqCst);
  }
  void Insert(Timer* t) {
    for (Timer*& place : heap) {
      if (place == nullptr) {
        place = t;
        t->pending = true;
        return;
      }
    }
    Fail("the heap is full");
  }
  void Remove(Timer* t) {
    for (Timer*& place : heap) {
      if (place == t) place = nullptr;
    }
    t->pending = false;
  }

  // --- timers.cc

  void Arm(Timer* t, int when) {
    mu.lock();
    t->when = when;
    if (!t->pending) Insert(t);
    const int before = next_when.load(kRelaxed);
    PublishEarliest();
    mu.unlock();
    if (when < before) TimerMovedForward(when);
  }
  bool Disarm(Timer* t) {
    bool prevented = false;
    for (;;) {
      mu.lock();
      if (t->pending) {
        prevented = true;
        Remove(t);
        PublishEarliest();
      }
      const bool runs = t->running.load(kAcquire) != 0;
      mu.unlock();
      if (!runs || Planted("disarm does not wait for a run")) return prevented;
      while (t->running.load(kAcquire) != 0) Relax();
      if (Planted("disarm: no second look after a run")) return prevented;
    }
  }
  void RunTimers(int now) {
    const int next = next_when.load(kAcquire);
    if (next > now) return;
    mu.lock();
    for (Timer* t : heap) {
      if (t == nullptr || t->when > now || t->running.load(kAcquire) != 0) continue;
      Remove(t);
      if (!Planted("running is set after the lock is free")) t->running.store(1, kRelaxed);
      PublishEarliest();
      mu.unlock();
      if (Planted("running is set after the lock is free")) t->running.store(1, kRelaxed);
      t->fired.Set(t->fired.Get() + 1);
      if (t->rearms > 0) {
        --t->rearms;
        Arm(t, 2);
      }
      t->running.store(0, Planted("a run is not released") ? kRelaxed : kRelease);
      mu.lock();
    }
    mu.unlock();
  }
  void TimerMovedForward(int when) {
    if (last_poll.load(kSeqCst) != 0) return;  // WakeIfIdle: sched_test's
    if (poll_until.load(kSeqCst) > when) broken.store(1, kRelease);
  }

  // --- find_work.cc: one wait in the source. The clock comes to `end` at last.
  int Poll() {
    int deadline;
    if (Planted("poll_until of the first look")) {
      // As the first version had it: one look is published, another waited for.
      deadline = next_when.load(kSeqCst);
      poll_until.store(deadline, kSeqCst);
      if (last_poll.exchange(0, kSeqCst) == 0) Fail("two pollers");
      deadline = next_when.load(kSeqCst);
    } else {
      if (last_poll.exchange(0, kSeqCst) == 0) Fail("two pollers");
      deadline = next_when.load(kSeqCst);
      poll_until.store(deadline, kSeqCst);
      // A timer that was armed between the two saw kNever there, and broke the wait.
    }
    return deadline;
  }
};

// A goroutine arms one or two timers while an M becomes the poller. Whatever the poller waits for,
// it must not outlast a timer that is armed and that nobody told it of.
Program ArmAgainstPoller(bool one_before, bool two) {
  return [=] {
    auto* ts = New<Timers>("timers");
    auto* a = New<Timer>("timer a");
    auto* b = New<Timer>("timer b");
    auto* waits_for = New<Var<int>>("deadline", -1);
    if (one_before) {
      b->when = 20;
      ts->Insert(b);
      ts->PublishEarliest();
    }
    Thread("armer", [=] {
      if (one_before && two) ts->Disarm(b);  // the earliest goes, and a later one comes
      ts->Arm(a, two ? 30 : 10);
    });
    Thread("poller", [=] { waits_for->Set(ts->Poll()); });
    AtEnd([=] {
      const int earliest = ts->EarliestLocked();
      // Who is not yet in its wait when a timer comes without a word looks once more (last_poll 0
      // comes first); so by now it is told, or waits no longer than that.
      Check(ts->broken.load() == 1 || waits_for->Get() <= earliest,
            "the poller outlasts a timer that nobody told it of");
    });
  };
}

// A timer on a frame that goes once Disarm has returned.
Program DisarmAgainstRun(int runners) {
  return [=] {
    auto* ts = New<Timers>("timers");
    auto* t = New<Timer>("timer");
    t->when = 1;
    ts->Insert(t);
    ts->PublishEarliest();
    Thread("owner", [=] {
      const bool prevented = ts->Disarm(t);
      Check(t->fired.Get() == (prevented ? 0 : 1), "pending, or fired once");
      t->fired.Set(100);  // the frame is used for something else
    });
    for (int i = 0; i < runners; ++i) Thread("runner", [=] { ts->RunTimers(5); });
  };
}

// Its function arms it again, as one that found its deadline put off.
Program DisarmAgainstARunThatRearms() {
  return [] {
    auto* ts = New<Timers>("timers");
    auto* t = New<Timer>("timer");
    t->when = 1;
    t->rearms = 1;
    ts->Insert(t);
    ts->PublishEarliest();
    Thread("owner", [=] {
      ts->Disarm(t);
      Check(!t->pending, "it is taken back");
      t->fired.Set(100);  // the frame is used for something else
    });
    Thread("runner", [=] {
      ts->RunTimers(5);
      ts->RunTimers(5);
    });
  };
}

// It is armed again while it may run, and is stolen by another M's look.
Program RearmAgainstRun() {
  return [] {
    auto* ts = New<Timers>("timers");
    auto* t = New<Timer>("timer");
    Thread("owner", [=] {
      ts->Arm(t, 1);
      ts->Arm(t, 2);
      ts->Disarm(t);
      Check(t->fired.Get() <= 2, "at most one run for each Arm");
      t->fired.Set(100);
    });
    Thread("runner", [=] { ts->RunTimers(5); });
    Thread("thief", [=] { ts->RunTimers(5); });
  };
}

TEST(TimerModel, ThePollerOutlastsNoTimer) {
  ExpectHolds("arm / poller", {}, ArmAgainstPoller(false, false));
  ExpectHolds("arm an earlier one / poller", {}, ArmAgainstPoller(true, false));
  ExpectHolds("disarm, arm a later one / poller", {}, ArmAgainstPoller(true, true));
}

TEST(TimerModel, DisarmWaitsForTheRun) {
  ExpectHolds("disarm / run", {}, DisarmAgainstRun(1));
  ExpectHolds("disarm / run / run", {}, DisarmAgainstRun(2));
  ExpectHolds("disarm / run that arms again / run", {}, DisarmAgainstARunThatRearms());
  ExpectHolds("arm, arm, disarm / run / steal, 3 preemptions",
              {.search = Search::kBounded, .preemptions = 3}, RearmAgainstRun());
  if (SearchFar()) ExpectHolds("arm, arm, disarm / run / steal", {}, RearmAgainstRun());
}

TEST(TimerModel, FindsEachPlantedFault) {
  ExpectFinds("disarm, arm a later one / poller", "poll_until of the first look", {},
              ArmAgainstPoller(true, true));
  ExpectFinds("arm / poller", "arm: not in the total order", {}, ArmAgainstPoller(false, false));
  ExpectFinds("disarm / run", "disarm does not wait for a run", {}, DisarmAgainstRun(1));
  ExpectFinds("disarm / run", "running is set after the lock is free", {}, DisarmAgainstRun(1));
  ExpectFinds("disarm / run", "a run is not released", {}, DisarmAgainstRun(1));
  ExpectFinds("disarm / run that arms again / run", "disarm: no second look after a run", {},
              DisarmAgainstARunThatRearms());
}

}  // namespace
}  // namespace plimsoll::model
