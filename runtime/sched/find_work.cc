// How an M finds its next goroutine. The order is scheduler.h's table.

#include <sched.h>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"
#include "plimsoll/runtime/sched/steal_order.h"
#include "plimsoll/runtime/sched/switch_to.h"
#include "plimsoll/runtime/sched/trace_hooks.h"
#include "plimsoll/runtime/stack/switch.h"

namespace plimsoll::sched {
namespace {

// Calls visit(P*) for each P once, in a random order, until it returns non-null.
template <typename Visit>
G* VisitInRandomOrder(P* mine, Visit&& visit) {
  const int n = sched.procs.load(std::memory_order_acquire);
  StealOrder order(n, NextRandom(mine->random));
  for (int i = 0; i < n; ++i, order.Next()) {
    if (G* g = visit(sched.all_ps[order.at()])) return g;
  }
  return nullptr;
}

// From the global queue: one to run, and a fair share of the rest for this P.
G* TakeGlobal(P* p, int32_t max) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  // The bound ones stand in a line of their own, and go after those that were queued before them;
  // where both lines' first may go, each line in turn.
  if (const G* bound = sched.bound.front(); bound != nullptr) {
    if (sched.global.size() == 0) return TakeBoundLocked();
    if (bound->bound_m->goes_at <= sched.global.taken()) {
      sched.bound_next = !sched.bound_next;
      if (sched.bound_next) return TakeBoundLocked();
    }
  }
  const int32_t size = sched.global.size();
  if (size == 0) return nullptr;
  int32_t n = size / sched.procs.load(std::memory_order_relaxed) + 1;
  if (n > size) n = size;
  if (max > 0 && n > max) n = max;
  constexpr int32_t kHalfRing = 128;
  if (n > kHalfRing) n = kHalfRing;
  G* first = sched.global.PopFront();
  const auto overflow = [](G**, uint32_t) {
    PLIMSOLL_CHECK(false, "half a ring does not fit into an empty one");
  };
  // Only ever called with an empty ring or for one G.
  for (int32_t i = 1; i < n; ++i) p->queue.PutBack(sched.global.PopFront(), overflow);
  PublishGlobalSize();
  return first;
}

// Lets this M stop looking for work.
void StopSpinning(M* m) {
  m->spinning = false;
  const int32_t before = sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
  PLIMSOLL_CHECK(before > 0, "more Ms stopped spinning than started");
}

// This M found work: it no longer looks, and if it was the last that did, another one should.
void FoundWhileSpinning(M* m) {
  StopSpinning(m);
  WakeIfIdle();
}

void Add(std::atomic<uint64_t>& counter, uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

void NoteLook(P* p, int64_t began, int64_t now, bool is_short) {
  const int64_t ns = SpinBudget::AtMostAnEpisode(now - began);
  Add(p->stat_looks, 1);
  Add(p->stat_look_ns, static_cast<uint64_t>(ns));
  if (is_short) {
    Add(p->stat_short_looks, 1);
  } else {
    sched.spin_budget.Charge(ns, now);
  }
}

// Takes work of another P, of its queue, its timers, and at the last look of its runnext. Four
// looks within the budget; one where it allows none, and that one has to be: a goroutine that was
// queued while this P was not idle yet woke nobody (DESIGN.md, "Spinning").
G* StealWork(M* m, P* p) {
  constexpr int kRounds = 4;
  const int64_t began = NowNanos();
  const int64_t until = sched.spin_budget.Until(began);
  int64_t now = began;
  G* found = nullptr;
  for (int round = 0; round < kRounds && found == nullptr; ++round) {
    const bool last = round == kRounds - 1 || now >= until;
    found = VisitInRandomOrder(p, [&](P* victim) -> G* {
      if (victim == p) return nullptr;
      if (last && victim->next_when.load(std::memory_order_relaxed) != kNever) {
        (Tracing() ? RunTimersTold : RunTimers)(m, victim, NowNanos());
        bool from_next;
        if (G* ready = p->queue.Get(&from_next)) return ready;
      }
      if (last && victim->queue.peek_next() != nullptr && victim->queue.ring_size() == 0) {
        // Its owner is about to run it: readied a moment ago, by one that will soon park. Taking it
        // away would only bounce it between cores, so the owner gets 3 us (go-semantics P3).
        const int64_t owners = NowNanos() + 3000;
        const int64_t end = owners < until ? owners : until;
        while (NowNanos() < end && victim->queue.peek_next() != nullptr) base::CpuRelax();
      }
      G* stolen = victim->queue.StealInto(p->queue, last);
      if (stolen != nullptr) {
        if (Tracing()) TraceSteal(m, victim, stolen, 1 + p->queue.ring_size());
        p->stat_steals.store(p->stat_steals.load(std::memory_order_relaxed) + 1,
                             std::memory_order_relaxed);
        p->stat_stolen.store(
            p->stat_stolen.load(std::memory_order_relaxed) + 1 + p->queue.ring_size(),
            std::memory_order_relaxed);
      }
      return stolen;
    });
    now = NowNanos();
    if (last) break;
  }
  NoteLook(p, began, now, /*is_short=*/until == began);
  return found;
}

// Gives this M's P to the one that `g` is bound to.
void PassP(M* m, G* g) {
  P* p = m->p;
  m->p = nullptr;
  p->status.store(PStatus::kIdle, std::memory_order_relaxed);
  GrantP(p, g->bound_m);
}

template <bool kTold>
[[gnu::always_inline]] inline G* PickAsUsual(M* m, P* p) {
  const uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
  // Two goroutines that ready each other for ever must not keep the global queue waiting.
  if (tick % 61 == 0 && sched.global_size.load(std::memory_order_relaxed) > 0) {
    G* g;
    {
      base::SpinLockHolder hold(sched.mu);
      g = TakeGlobal(p, 1);
    }
    if (g != nullptr) {
      CountSwitch(p, true);
      return g;
    }
  }
  if (const int64_t when = p->next_when.load(std::memory_order_relaxed); when != kNever) {
    if (m->g->is_system_stack) {
      (kTold ? RunTimersTold : RunTimers)(m, p, NowNanos());
    } else if (p->stat_switches.load(std::memory_order_relaxed) % 8 == 0 && when <= NowNanos()) {
      // Not here: the goroutine that parks may hold a lock until its commit has run, and a timer's
      // function may want it. g0 runs the commit first. (The clock costs more than a switch, so it
      // is asked at every eighth one only.)
      return &m->g0;
    }
  }
  bool from_next = false;
  G* g;
  if (p->preempt.load(std::memory_order_relaxed)) {
    // The slice is over: whoever readies whom, the ring goes first.
    p->preempt.store(false, std::memory_order_relaxed);
    g = p->queue.GetFromRing();
    if (g == nullptr) g = p->queue.Get(&from_next);
    from_next = false;
  } else {
    g = p->queue.Get(&from_next);
  }
  if (g != nullptr) {
    CountSwitch(p, !from_next);
    return g;
  }
  if (sched.global_size.load(std::memory_order_relaxed) > 0) {
    {
      base::SpinLockHolder hold(sched.mu);
      g = TakeGlobal(p, 0);
    }
    if (g != nullptr) CountSwitch(p, true);
  }
  return g;
}

__attribute__((noinline)) G* PickInMode(M* m, P* p, uint32_t mode) {
  const bool told = (mode & kTracing) != 0;
  if (told) TraceLeave(m);
  if ((mode & kNoting) != 0) NoteIfEnds(m);
  mode &= ~kPickedAsUsual;
  // Ending or stopping: g0 looks which.
  G* g = mode == 0 ? PickAsUsual<true>(m, p) : mode == kSeeded ? PickSeeded(m, p) : nullptr;
  if (told) TracePicked(m, g);
  return g;
}

G* PickFromQueues(M* m, P* p) {
  if (const uint32_t mode = sched.mode.load(std::memory_order_relaxed); mode != 0) [[unlikely]] {
    return PickInMode(m, p, mode);
  }
  return PickAsUsual<false>(m, p);
}

// The world is being stopped: puts this M's P down, if it has one.
void StopForWorld(M* m) {
  if (m->p == nullptr) return;
  if (m->spinning) StopSpinning(m);
  base::SpinLockHolder hold(sched.mu);
  // By (1) of "Stopping the world". Meanwhile it may have started again.
  if (sched.stopping()) ReleasePLocked(m);
}

// migrate=always: an M that idles, or null. Threads begin, and fall asleep after the last
// hand-over, in their own time: without patience one park in ten stayed where it was, and in a test
// of milliseconds nearly all.
M* AwaitIdleM() {
  constexpr int64_t kPatienceNs = 10'000'000;
  int64_t until = 0;
  for (;;) {
    if ((sched.mode.load(std::memory_order_relaxed) & (kStopping | kFrozen)) != 0) return nullptr;
    {
      base::SpinLockHolder hold(sched.mu);
      M* m = sched.stopping() ? nullptr : sched.idle_ms;
      if (m != nullptr) {
        sched.idle_ms = m->idle_link;
        sched.idle_m_count.fetch_sub(1, std::memory_order_relaxed);
        return m;
      }
    }
    const int64_t now = NowNanos();
    if (until == 0) {
      until = now + kPatienceNs;
      AskForThread();
    } else if (now >= until) {
      return nullptr;
    }
    sched_yield();
  }
}

// migrate=always: gives g and this M's P to an M that idles, if g parked on this one.
bool SendElsewhere(M* m, G* g) {
  if (g->last_m == nullptr || g->bound_m != nullptr) return false;
  sched.resumed.fetch_add(1, std::memory_order_relaxed);
  if (g->last_m != m) return false;
  M* other = AwaitIdleM();
  if (other == nullptr) {
    sched.resumed_here.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  other->spinning = false;
  other->next_g = g;
  P* p = m->p;
  m->p = nullptr;
  p->status.store(PStatus::kIdle, std::memory_order_relaxed);
  GrantP(p, other);
  return true;
}

// g0 is about to switch to g, and it is not a usual day. True: another M runs it.
__attribute__((noinline)) bool ResumeSlowly(M* m, G* g) {
  if (sched.migrate_always && SendElsewhere(m, g)) return true;
  if (Tracing()) TraceRun(m, g);
  return false;
}

// This thread ends: its locked goroutine has. Its P goes to another.
void StopForGood(M* m) {
  if (P* p = m->p; p != nullptr) {
    if (sched.on_thread_end != nullptr) sched.on_thread_end();
    m->p = nullptr;
    p->status.store(PStatus::kIdle, std::memory_order_relaxed);
    TsanReleaseP(p);
    HandOffP(p);
    if (!CheckDeadlock()) HaveDeadlockWatched();
  }
  sched.ms_ended.fetch_add(1, std::memory_order_relaxed);
}

// Waits in the idle source for as long as nobody comes and no timer is set, but for looks whether
// anybody could still come.
void PollForEver(GList& ready) {
  DeadlockWatch watch;
  for (;;) {
    const int64_t pause_ns = watch.Ask();
    const int64_t until = NowNanos() + pause_ns;
    sched.source->Poll(pause_ns, ready);
    // Before its time: somebody broke the wait.
    if (pause_ns < 0 || !ready.empty() || NowNanos() < until || WorkSomewhere() ||
        EarliestTimer() != kNever) {
      return;
    }
  }
}

// Finds a goroutine for this M's P; sleeps, without a P, while there is none.
G* FindRunnable(M* m) {
top:
  if (G* g = m->next_g) [[unlikely]] {
    m->next_g = nullptr;
    if ((sched.mode.load(std::memory_order_relaxed) & ~kPickedAsUsual) == 0) return g;
    PutGlobal(g);
  }
  if (const uint32_t mode = sched.mode.load(std::memory_order_relaxed); mode != 0) [[unlikely]] {
    if ((mode & kFrozen) != 0) StayFrozen();
    if ((mode & kStopping) != 0) StopForWorld(m);
    if ((mode & ~kPickedAsUsual) == kSeeded) return FindSeeded(m);
  }
  if (m->p == nullptr) {
    StopM(m);
    goto top;  // a P on its way is counted here when the world is being stopped
  }
  P* p = m->p;

  if (G* g = PickLocal(m, p)) return g;

  // Whoever waits for a descriptor comes before other Ps' work: their wait is over already.
  if (sched.source->HasWaiters() && sched.last_poll_ns.load(std::memory_order_relaxed) != 0) {
    GList ready;
    sched.source->Poll(0, ready);
    if (Tracing() && !ready.empty()) TracePoll(m, ready);
    if (G* g = ready.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      InjectList(m, ready);
      CountSwitch(p, true);
      return g;
    }
  }

  // Look at other Ps, but with at most half as many looking as are busy.
  const int procs = sched.procs.load(std::memory_order_relaxed);
  if (procs > 1 &&
      (m->spinning || 2 * sched.spinning.load(std::memory_order_relaxed) <
                          procs - sched.idle_p_count.load(std::memory_order_relaxed))) {
    if (!m->spinning) {
      m->spinning = true;
      sched.spinning.fetch_add(1, std::memory_order_seq_cst);
    }
    if (G* g = StealWork(m, p)) {
      CountSwitch(p, true);
      return g;
    }
  }

  // Nothing: give the P up, unless something came to the global queue.
  {
    sched.mu.lock();
    G* g = TakeGlobal(p, 0);
    if (g != nullptr) {
      sched.mu.unlock();
      CountSwitch(p, true);
      return g;
    }
    if (!m->spinning && sched.need_spinning) {
      sched.need_spinning = false;
      sched.mu.unlock();
      m->spinning = true;
      sched.spinning.fetch_add(1, std::memory_order_seq_cst);
      goto top;
    }
    ReleasePLocked(m);
    sched.mu.unlock();
  }

  // By (2): stop spinning first, then look at everything once more. A goroutine queued between our
  // last look and StopSpinning found us in the count, and so woke nobody.
  if (m->spinning) {
    StopSpinning(m);
    if (WorkSomewhere()) {
      if (P* again = TakeIdleP()) {
        AcquireP(m, again);
        m->spinning = true;
        sched.spinning.fetch_add(1, std::memory_order_seq_cst);
        goto top;
      }
    }
  }

  // Wait: in the idle source if nobody does, else on our own word.
  const int64_t earliest = EarliestTimer();
  if (sched.last_poll_ns.exchange(0, std::memory_order_seq_cst) != 0) {
    // Until here poll_until is kNever, and whoever arms a timer breaks our wait. It must then be
    // the very deadline we wait for: with an earlier one there, a timer armed between the two tells
    // nobody.
    const int64_t deadline = EarliestTimer();
    sched.poll_until.store(deadline, std::memory_order_seq_cst);
    const int64_t now = NowNanos();
    int64_t wait = -1;
    if (deadline != kNever) wait = deadline > now ? deadline - now : 0;
    if (WorkSomewhere()) wait = 0;
    GList ready;
    if (wait < 0) {
      PollForEver(ready);
    } else if (wait != 0 || sched.source->HasWaiters()) {
      sched.source->Poll(wait, ready);
    }
    if (Tracing() && !ready.empty()) TracePoll(m, ready);
    sched.poll_until.store(kNever, std::memory_order_relaxed);
    sched.last_poll_ns.store(NowNanos(), std::memory_order_seq_cst);
    P* again = TakeIdleP();
    if (again == nullptr) {
      InjectList(m, ready);
    } else {
      AcquireP(m, again);
      if (G* g = ready.PopFront()) {
        g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
        InjectList(m, ready);
        CountSwitch(again, true);
        return g;
      }
      if (!m->spinning) {
        m->spinning = true;
        sched.spinning.fetch_add(1, std::memory_order_seq_cst);
      }
    }
    goto top;
  }
  // Another M waits in the source. If it would wake too late for a timer of ours, tell it.
  if (earliest != kNever && sched.poll_until.load(std::memory_order_seq_cst) > earliest) {
    sched.source->Break();
  }
  // The one in the source went there while others ran: who goes to sleep last asks for a deadlock.
  if (earliest == kNever && !CheckDeadlock()) HaveDeadlockWatched();
  StopM(m);
  goto top;
}

}  // namespace

bool WorkSomewhere() {
  if (sched.global_size.load(std::memory_order_seq_cst) != 0) return true;
  const int n = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) {
    if (!sched.all_ps[i]->queue.Empty()) return true;
  }
  return false;
}

G* PickLocal(M* m, P* p) {
  if (m->locked_g != nullptr) {  // g0 gives the P away
    if (Tracing()) TraceLeave(m);
    return nullptr;
  }
  if (sched.migrate_always) [[unlikely]]
    m->g->last_m = m;
  G* g = PickFromQueues(m, p);
  if (g == nullptr || g == &m->g0 || m->g->is_system_stack) return g;
  if ((g->bound_m == nullptr || g->bound_m == m) && !sched.migrate_always) [[likely]]
    return g;
  // g0 decides who runs it. (In migrate=always nearly every one goes elsewhere.)
  m->hand_to = g;
  return &m->g0;
}

void LockedLoop(M* m) {
  SanitizerAfterSwitch(&m->g0);
  for (;;) {
    FinishSwitch(m);
    StopLockedM(m);
    G* g = m->locked_g;
    if (!sched.resumes_slowly.load(std::memory_order_relaxed) || !ResumeSlowly(m, g)) {
      SwitchTo(m, &m->g0, g);
    }
  }
}

void ScheduleLoop(M* m) {
  SanitizerThreadStart(&m->g0);
  for (;;) {
    FinishSwitch(m);
    if (m->ends) {
      StopForGood(m);
      return;
    }
    G* g = m->hand_to;
    m->hand_to = nullptr;
    if (m->locked_g != nullptr) {
      StopLockedM(m);
      g = m->locked_g;
    } else if (g == nullptr) {
      g = FindRunnable(m);
      if (m->spinning) FoundWhileSpinning(m);
    }
    if (g->bound_m != nullptr && g->bound_m != m) {
      PassP(m, g);
    } else if (!sched.resumes_slowly.load(std::memory_order_relaxed) || !ResumeSlowly(m, g)) {
      SwitchTo(m, &m->g0, g);
    }
  }
}

}  // namespace plimsoll::sched

extern "C" void plimsoll_system_main() { plimsoll::sched::LockedLoop(plimsoll::sched::CurrentM()); }
