// Giving the P away in place: the goroutine stays on its thread, which waits until it is granted a
// P again (DESIGN.md, "States").

#include "plimsoll/runtime/sched/preempt.h"

#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/saved_registers.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

// Waits on this M's word until some P is granted to it.
void AwaitGrant(M* m) {
  // acquire: pairs with the release in GrantP; next_p was written before
  while (m->park_word.load(std::memory_order_acquire) == 0) base::FutexWait(m->park_word, 0);
  m->park_word.store(0, std::memory_order_relaxed);
  P* p = m->next_p.load(std::memory_order_relaxed);
  AcquireP(m, p);
  G* g = m->g;
  g->bound_m = m->locked_g == g ? m : nullptr;
  g->status.store(GStatus::kRunning, std::memory_order_relaxed);
}

// The world is being stopped: puts the P down and waits here. By now somebody may have started it
// again, and then there is nothing to do.
void StopInPlace(M* m) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  G* g = m->g;
  SavedRegisters saved;
  saved.Save();
  sched.mu.lock();
  if (!sched.stopping()) {
    sched.mu.unlock();
    return;
  }
  P* p = m->p;
  m->p = nullptr;
  g->call_sp = saved.sp;
  g->ucontext = nullptr;
  g->bound_m = m;
  m->waited = {};
  // release: pairs with the acquire in ForEachG
  g->status.store(GStatus::kPreempted, std::memory_order_release);
  // At the head: it is interrupted, its slice is not over.
  PutBoundLocked(g, /*at_front=*/true);
  StopPLocked(p);
  sched.mu.unlock();
  AwaitGrant(m);
}

// The slice is over, and the signal came where it could do nothing: the handler's step 5, on the
// goroutine's own stack.
void GiveInPlace(M* m) {
  G* g = m->g;
  P* p = m->p;
  SavedRegisters saved;
  saved.Save();
  g->call_sp = saved.sp;
  g->ucontext = nullptr;
  m->waited = {};
  // release: pairs with the acquire in ForEachG
  g->status.store(GStatus::kPreempted, std::memory_order_release);
  TsanReleaseP(p);
  m->p = nullptr;
  p->preempted_m = m;
  p->preempted_g = g;
  // release: pairs with the acquire in TakePreemptedLocked
  p->status.store(PStatus::kPreempted, std::memory_order_release);
  sched.sysmon_word.fetch_add(1, std::memory_order_release);
  base::FutexWake(sched.sysmon_word, 1);
  AwaitGrant(m);
}

}  // namespace

__attribute__((noinline)) void AtSafePoint() {
  M* m = CurrentM();
  if (m == nullptr) return;
  if (Seeded()) {
    YieldBySeed(m);  // and keeps `attention` as it is
    return;
  }
  m->attention.store(0, std::memory_order_relaxed);
  if (m->p == nullptr || m->g->is_system_stack) return;
  ++m->no_preempt;
  TsanAcquireP(m->p);
  // More than once: the P that is granted may be one that the next stop is waiting for.
  while (sched.stopping() && m->p->status.load(std::memory_order_relaxed) != PStatus::kStopped) {
    StopInPlace(m);
  }
  P* p = m->p;
  if (p->preempt.load(std::memory_order_relaxed) && sched.preempt_slices && SomebodyWaits(p) &&
      SomebodyCanTakeP()) {
    GiveInPlace(m);
  }
  TsanReleaseP(m->p);
  --m->no_preempt;
}

bool SomebodyWaits(const P* p) {
  return !p->queue.Empty() || sched.global_size.load(std::memory_order_relaxed) > 0 ||
         p->next_when.load(std::memory_order_relaxed) <=
             sched.coarse_now_ns.load(std::memory_order_relaxed);
}

bool OthersWait() {
  NoPreempt guard;
  const M* m = CurrentM();
  return m != nullptr && m->p != nullptr && SomebodyWaits(m->p);
}

void BeginSlice() {
  NoPreempt guard;
  const M* m = CurrentM();
  if (m != nullptr && m->p != nullptr) NextTick(m->p);
}

bool SomebodyCanTakeP() {
  base::SpinLockHolder hold(sched.mu);
  return sched.idle_ms != nullptr || !sched.bound.empty();
}

Successor FindSuccessor(const P* p, FutexWaited* sleeper) {
  base::SpinLockHolder hold(sched.mu);
  const bool free = !p->queue.Empty() || sched.global.size() > 0 ||
                    p->next_when.load(std::memory_order_relaxed) <=
                        sched.coarse_now_ns.load(std::memory_order_relaxed);
  *sleeper = {};
  if (!free) {
    const G* next = FirstBoundLocked();
    if (next == nullptr) return Successor::kNone;
    *sleeper = next->bound_m->waited;
  }
  return sched.idle_ms != nullptr || !sched.bound.empty() ? Successor::kThere
                                                          : Successor::kNoThread;
}

bool TakePreemptedLocked(P* p, bool stopping) {
  PStatus expected = PStatus::kPreempted;
  // acquire: pairs with the release in the handler and in GiveInPlace
  if (!p->status.compare_exchange_strong(expected, PStatus::kIdle, std::memory_order_acq_rel)) {
    return false;
  }
  TsanAcquireP(p);
  G* g = p->preempted_g;
  g->bound_m = p->preempted_m;
  PutBoundLocked(g, /*at_front=*/stopping);
  if (!stopping) {
    sched.preemptions.fetch_add(1, std::memory_order_relaxed);
    if (p->preempted_m->waited.word != nullptr) {
      sched.preempt_asleep.fetch_add(1, std::memory_order_relaxed);
    }
  }
  p->preempt.store(false, std::memory_order_relaxed);
  return true;
}

HandedOver HandOverPreempted(P* p) {
  HandedOver done;
  bool thread_wanted = false;
  uint64_t preempted = 0;
  {
    base::SpinLockHolder hold(sched.mu);
    const bool stopping = sched.stopping();
    const G* last = sched.bound.back();
    if (!TakePreemptedLocked(p, stopping)) return done;
    if (stopping) {
      StopPLocked(p);
      return done;
    }
    preempted = p->preempted_g->id;
    const bool slept = p->preempted_m->waited.word != nullptr;
    NextTick(p);
    const bool others = !p->queue.Empty() || sched.global.size() > 0 ||
                        p->next_when.load(std::memory_order_relaxed) <=
                            sched.coarse_now_ns.load(std::memory_order_relaxed);
    if (others && sched.idle_ms != nullptr) {
      done.to = sched.idle_ms;
      sched.idle_ms = done.to->idle_link;
      sched.idle_m_count.fetch_sub(1, std::memory_order_relaxed);
      done.to->spinning = false;
    } else {
      // At worst the one that was queued just now. A goroutine that waits in no place needs a
      // thread that does not.
      thread_wanted = others;
      const G* next = TakeBoundLocked();
      done.to = next->bound_m;
      done.goes_on = slept && next == last;
    }
  }
  if (Tracing()) TracePreempt(p, preempted);
  GrantP(p, done.to);
  if (thread_wanted) {
    sched.preempt_no_thread.fetch_add(1, std::memory_order_relaxed);
    AskForThread();
  }
  return done;
}

}  // namespace plimsoll::sched
