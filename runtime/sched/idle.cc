// Idle Ps and idle Ms: giving a P up, taking one, putting an M to sleep and waking one. The
// protocol is DESIGN.md's "Waking".

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

void FullFence() {
  // TSan does not know fences; what it checks here goes through the seq_cst operations beside this
  // one.
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
#pragma GCC diagnostic pop
}

}  // namespace

P* TakeIdlePLocked() {
  P* p = sched.idle_ps;
  if (p == nullptr) return nullptr;
  sched.idle_ps = p->idle_link;
  p->idle_link = nullptr;
  sched.ps_taken.fetch_add(1, std::memory_order_seq_cst);
  sched.idle_p_count.fetch_sub(1, std::memory_order_seq_cst);
  return p;
}

void StopM(M* m) {
  PLIMSOLL_DCHECK(m->p == nullptr && !m->spinning);
  {
    base::SpinLockHolder hold(sched.mu);
    m->idle_link = sched.idle_ms;
    sched.idle_ms = m;
    sched.idle_m_count.fetch_add(1, std::memory_order_relaxed);
  }
  // acquire: pairs with the release in StartM; next_p and spinning were written before
  while (m->park_word.load(std::memory_order_acquire) == 0) base::FutexWait(m->park_word, 0);
  m->park_word.store(0, std::memory_order_relaxed);
  AcquireP(m, m->next_p.load(std::memory_order_relaxed));
}

void PutPDownLocked(P* p) {
  if (sched.stopping()) {
    StopPLocked(p);
    return;
  }
  p->status.store(PStatus::kIdle, std::memory_order_relaxed);
  p->idle_link = sched.idle_ps;
  sched.idle_ps = p;
  // seq_cst: an idle P must be seen by whoever queued work before our last look (WakeIfIdle)
  sched.idle_p_count.fetch_add(1, std::memory_order_seq_cst);
}

void ReleasePLocked(M* m) {
  P* p = m->p;
  m->p = nullptr;
  PutPDownLocked(p);
}

void WakeIfIdle() {
  // By (2): the queue store before this fence, the two loads after it. Pairs with the seq_cst
  // fetch_sub of StopSpinning, after which the sleeper looks at the queues.
  FullFence();
  if (sched.idle_p_count.load(std::memory_order_relaxed) == 0) return;
  if (sched.spinning.load(std::memory_order_relaxed) != 0) return;
  int32_t none = 0;
  if (!sched.spinning.compare_exchange_strong(none, 1, std::memory_order_seq_cst)) return;
  StartM(nullptr, /*spinning=*/true);
}

P* TakeIdleP() {
  P* p;
  {
    base::SpinLockHolder hold(sched.mu);
    p = TakeIdlePLocked();
  }
  return p;
}

void AcquireP(M* m, P* p) {
  PLIMSOLL_DCHECK(m->p == nullptr && p != nullptr);
  m->p = p;
  p->m.store(m, std::memory_order_relaxed);
  // release: who signals or stops p->m sees it
  p->status.store(PStatus::kRunning, std::memory_order_release);
  if (sched.sysmon_sleeps.load(std::memory_order_relaxed) != 0) WakeSysmon();
}

void StartM(P* p, bool spinning) {
  M* m = nullptr;
  {
    base::SpinLockHolder hold(sched.mu);
    if (p == nullptr) p = TakeIdlePLocked();
    if (p != nullptr && sched.stopping()) {
      PutPDownLocked(p);
      p = nullptr;
    }
    if (p != nullptr) {
      m = sched.idle_ms;
      if (m != nullptr) {
        sched.idle_ms = m->idle_link;
        sched.idle_m_count.fetch_sub(1, std::memory_order_relaxed);
      } else {
        PutPDownLocked(p);
      }
    }
    // For a moment we are counted as spinning. An M that saw it and did not look at other Ps is
    // about to give its P up, without the second look of those that spin.
    if (m == nullptr && spinning) sched.need_spinning = true;
  }
  if (m == nullptr) {
    if (spinning) sched.spinning.fetch_sub(1, std::memory_order_seq_cst);
    // There is a P and no thread for it: the P waits in the idle list, and a new M will look there.
    // The M in the idle source, if there is one, is a thread too, and awake sooner.
    if (p != nullptr) {
      if (sched.last_poll_ns.load(std::memory_order_seq_cst) == 0) {
        sched.source->Break();
      } else {
        AskForThread();
      }
    }
    return;
  }
  m->spinning = spinning;
  GrantP(p, m);
}

void GrantP(P* p, M* m) {
  if (Tracing()) TraceHandOff(p, m);
  TsanReleaseP(p);
  m->next_p.store(p, std::memory_order_relaxed);
  // release: pairs with the acquire in StopM and AwaitGrant
  m->park_word.store(1, std::memory_order_release);
  base::FutexWake(m->park_word, 1);
}

void HandOffP(P* p) {
  const bool work = !p->queue.Empty() || sched.global_size.load(std::memory_order_seq_cst) > 0;
  if (work) {
    StartM(p, /*spinning=*/false);
    return;
  }
  {
    base::SpinLockHolder hold(sched.mu);
    PutPDownLocked(p);
  }
  // Work that came between the look and the idle list found no idle P.
  if (!p->queue.Empty() || sched.global_size.load(std::memory_order_seq_cst) > 0) WakeIfIdle();
  // Its timers need somebody who waits for them.
  const int64_t when = p->next_when.load(std::memory_order_seq_cst);
  if (when != kNever) TimerMovedForward(when);
}

}  // namespace plimsoll::sched
