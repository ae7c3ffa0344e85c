#include "plimsoll/runtime/sched/blocking_call.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/switch_to.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

bool QueueGlobally(G* g, void*) {
  g->left_call = true;
  // release: pairs with ForEachG; g is off its stack
  g->status.store(GStatus::kRunnable, std::memory_order_release);
  PutGlobal(g);
  WakeIfIdle();
  return true;
}

template <bool kTold>
[[gnu::always_inline]] inline void EnterOn(M* m, const SavedRegisters& saved) {
  PLIMSOLL_CHECK(!m->g->is_system_stack && m->p != nullptr, "BlockingCall on a system stack");
  ++m->no_preempt;  // the P that a preemption would take is not ours any more
  TsanAcquireP(m->p);
  P* p = m->p;
  if constexpr (kTold) TraceCall(m);
  m->p = nullptr;
  m->syscall_p = p;
  sched.blocking_calls.fetch_add(1, std::memory_order_seq_cst);
  p->syscalltick.store(p->syscalltick.load(std::memory_order_relaxed) + 1,
                       std::memory_order_relaxed);
  G* g = m->g;
  g->call_sp = saved.sp;
  g->status.store(GStatus::kSyscall, std::memory_order_release);  // pairs with ForEachG
  // release: whoever takes the P sees all we did in it
  p->status.store(PStatus::kSyscall, std::memory_order_release);
}

__attribute__((noinline)) void EnterUnusually(M* m, const SavedRegisters& saved) {
  if (Seeded()) {  // there is no other thread to run the rest
    --m->blocking_depth;
  } else {
    EnterOn<true>(m, saved);
  }
}

// Back with the P it left, and the world is being stopped or a tracer is told.
__attribute__((noinline)) void ReturnUnusually(M* m) {
  if (sched.stopping()) m->attention.store(1, std::memory_order_relaxed);
  if (Tracing()) TraceReturn(m, m->p);
}

// The P that it `left` was taken. Returns the M that runs it now, with another one: at once, or
// when one came by.
__attribute__((noinline)) M* ReturnElsewhere(M* m, const P* left) {
  if (P* idle = TakeIdleP(); idle != nullptr) {
    AcquireP(m, idle);
    if (Tracing()) TraceReturn(m, left);
    return m;
  }
  if (Tracing()) TraceReturn(m, left);
  // No P: this goroutine waits in the global queue, and this M on its own. It stays kSyscall until
  // its commit has run: by then it is off its stack.
  G* g = m->g;
  m->commit = {QueueGlobally, g, nullptr};
  SwitchTo(m, g, &m->g0);
  m = CurrentM();
  FinishSwitch(m);
  m->g->left_call = false;
  return m;
}

}  // namespace

void EnterBlockingCall(const SavedRegisters& saved) {
  M* m = CurrentM();
  if (m == nullptr) return;
  if (m->blocking_depth++ > 0) return;  // within another: the P is given up already
  if (sched.calls_unusually) [[unlikely]] {
    EnterUnusually(m, saved);
  } else {
    EnterOn<false>(m, saved);
  }
}

void ExitBlockingCall() {
  M* m = CurrentM();
  if (m == nullptr || Seeded() || --m->blocking_depth > 0) return;
  P* p = m->syscall_p;
  m->syscall_p = nullptr;
  PStatus expected = PStatus::kSyscall;
  // acquire: if sysmon had it and gave it back, we see what was done in it
  if (p->status.compare_exchange_strong(expected, PStatus::kRunning, std::memory_order_acq_rel)) {
    m->p = p;
    p->m.store(m, std::memory_order_relaxed);  // another M's may have been in between
    if ((sched.mode.load(std::memory_order_relaxed) & (kStopping | kTracing)) != 0) [[unlikely]] {
      ReturnUnusually(m);
    }
  } else {
    m = ReturnElsewhere(m, p);
  }
  m->g->status.store(GStatus::kRunning, std::memory_order_relaxed);
  sched.blocking_calls.fetch_sub(1, std::memory_order_seq_cst);
  EndRegion(m, m->no_preempt - 1);
  // Its slice is over: without this, one call after the other would keep its P for ever.
  if (m->no_preempt == 0 && m->p->preempt.load(std::memory_order_relaxed)) {
    Yield();
  }
}

}  // namespace plimsoll::sched
