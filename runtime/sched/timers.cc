// The timers of each P: arming, taking back, running what is due.
//
// A timer belongs to the P it was first armed on, and stays there: every change to it is made under
// that P's timers_mu, so Arm, Disarm and the run of its function are serialised. Only the removal
// of a P moves its timers.

#include "plimsoll/runtime/sched/timers.h"

#include <sched.h>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

// Locks the timers of the P that owns t, making `fallback` its owner if it has none yet.
P* LockOwner(SchedTimer& t, P* fallback) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  std::atomic<P*>& owner = TimerAccess::Owner(t);
  for (;;) {
    P* p = owner.load(std::memory_order_acquire);
    if (p == nullptr) {
      if (!owner.compare_exchange_strong(p, fallback, std::memory_order_acq_rel)) continue;
      p = fallback;
    }
    p->timers_mu.lock();
    if (owner.load(std::memory_order_relaxed) == p) return p;
    p->timers_mu.unlock();  // moved meanwhile
  }
}

void PublishEarliest(P* p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(p->timers_mu) {
  // seq_cst: pairs with EarliestTimer after poll_until was stored
  p->next_when.store(p->timers.empty() ? kNever : p->timers.MinWhen(), std::memory_order_seq_cst);
}

uint32_t RunnerWord() {
  const M* m = CurrentM();
  return m != nullptr ? m->id + 1 : 0;
}

}  // namespace

void TimerAccess::Fire(SchedTimer& t, int64_t now) { t.fn_(t.arg_, now); }

bool SchedTimer::Arm(int64_t when_ns) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (when_ns < 0) when_ns = 0;
  NoPreempt guard;
  M* m = CurrentM();
  P* const fallback = m != nullptr && m->p != nullptr ? m->p : sched.all_ps[0];
  if (fallback == nullptr) base::Fatal("runtime: a timer needs a running plimsoll::Main");
  P* p = LockOwner(*this, fallback);
  const bool pending = heap_index_ >= 0;
  // The heap's own: next_when is behind while due timers are run.
  const int64_t earliest_before = p->timers.empty() ? kNever : p->timers.MinWhen();
  when_ = when_ns;
  if (pending) {
    p->timers.Update(this);
  } else if (!p->timers.Push(this)) {
    base::Fatal("runtime: no memory for ", p->timers.size(), " timers");
  }
  const bool first = p->timers.Min() == this;
  if (first || pending) PublishEarliest(p);
  p->timers_mu.unlock();
  // From here on the timer may have run and be gone: nothing below touches it.
  if (first && when_ns < earliest_before) TimerMovedForward(when_ns);
  return pending;
}

bool SchedTimer::Disarm() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (owner_.load(std::memory_order_acquire) == nullptr) return false;  // never armed
  NoPreempt guard;
  bool prevented = false;
  while (true) {
    P* p = LockOwner(*this, nullptr);
    if (heap_index_ >= 0) {
      prevented = true;
      p->timers.Remove(this);
      PublishEarliest(p);
    }
    // Under the lock that a run begins under: none is in progress, or it is seen here.
    const bool runs = RunsElsewhere();
    p->timers_mu.unlock();
    if (!runs) return prevented;
    AwaitRun();
    // The function that has ended may have armed it again: look once more.
  }
}

bool SchedTimer::RunsElsewhere() const {
  // acquire: pairs with the release in RunTimers: what the function did is done
  const uint32_t runner = running_.load(std::memory_order_acquire);
  return runner != 0 && runner != RunnerWord();
}

void SchedTimer::AwaitRun() const {
  for (uint32_t spins = 0; RunsElsewhere(); ++spins) {
    if (spins < 1000) {
      base::CpuRelax();
    } else {
      sched_yield();  // the runner's thread lost its CPU
    }
  }
}

namespace {

template <bool kTold>
[[gnu::always_inline]] inline int64_t RunDue(M* m, P* p,
                                             int64_t now) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const int64_t next = p->next_when.load(std::memory_order_acquire);
  if (next > now) return next;
  // No more than the ring takes: what overflows goes behind all that is in the global queue, which
  // after a burst of spawns is a second's work. What is due and left waits for its turn at the next
  // look, and that comes before the global queue's.
  constexpr uint32_t kRingAtMost = 128;
  constexpr uint32_t kAtLeast = 8;  // a ring full of goroutines that only yield must not stop time
  const uint32_t queued = m->p->queue.ring_size();
  uint32_t left_to_run = queued + kAtLeast < kRingAtMost ? kRingAtMost - queued : kAtLeast;
  p->timers_mu.lock();
  while (left_to_run-- > 0 && !p->timers.empty() && p->timers.MinWhen() <= now) {
    SchedTimer* t = p->timers.Min();
    // Two Ms may run due timers of one P, but never the same one: a re-armed timer whose function
    // still runs elsewhere waits for it.
    if (TimerAccess::Running(*t).load(std::memory_order_acquire) != 0) break;
    p->timers.Remove(t);
    TimerAccess::Running(*t).store(m->id + 1, std::memory_order_relaxed);
    p->timers_mu.unlock();
    if constexpr (kTold) TraceTimer(m, p, now - TimerAccess::When(*t));
    TimerAccess::Fire(*t, now);
    // release: pairs with the acquire in Disarm, after which the timer may be destroyed
    TimerAccess::Running(*t).store(0, std::memory_order_release);
    p->timers_mu.lock();
  }
  // Told once at the end: until then others see a time that has passed, and come to look.
  PublishEarliest(p);
  const int64_t left = p->timers.empty() ? kNever : p->timers.MinWhen();
  p->timers_mu.unlock();
  return left;
}

}  // namespace

int64_t RunTimers(M* m, P* p, int64_t now) { return RunDue<false>(m, p, now); }
int64_t RunTimersTold(M* m, P* p, int64_t now) { return RunDue<true>(m, p, now); }

int64_t EarliestTimer() {
  int64_t earliest = kNever;
  const int n = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) {
    const int64_t when = sched.all_ps[i]->next_when.load(std::memory_order_seq_cst);
    if (when < earliest) earliest = when;
  }
  return earliest;
}

void TimerMovedForward(int64_t when) {
  // Whoever waits in the idle source does so until poll_until; by seq_cst either it saw our
  // next_when, or we see its poll_until.
  if (sched.last_poll_ns.load(std::memory_order_seq_cst) == 0) {
    if (sched.poll_until.load(std::memory_order_seq_cst) > when) sched.source->Break();
  } else {
    // Nobody waits there: an idle P has an M asleep that looked before this timer came. One that
    // wakes and finds nothing to run takes the poller's place, with our deadline.
    WakeIfIdle();
  }
}

}  // namespace plimsoll::sched
