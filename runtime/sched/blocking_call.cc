#include "plimsoll/runtime/sched/blocking_call.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/switch_to.h"

namespace plimsoll::sched {
namespace {

bool QueueGlobally(G* g, void*) {
  // release: pairs with ForEachG; g is off its stack
  g->status.store(GStatus::kRunnable, std::memory_order_release);
  PutGlobal(g);
  WakeIfIdle();
  return true;
}

}  // namespace

void EnterBlockingCall(const SavedRegisters& saved) {
  M* m = CurrentM();
  if (m == nullptr || Seeded()) return;  // seeded: there is no other thread to run the rest
  if (m->blocking_depth++ > 0) return;   // within another: the P is given up already
  PLIMSOLL_CHECK(!m->g->is_system_stack && m->p != nullptr, "BlockingCall on a system stack");
  ++m->no_preempt;  // the P that a preemption would take is not ours any more
  TsanAcquireP(m->p);
  P* p = m->p;
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
    if (sched.stopping()) {
      m->attention.store(1, std::memory_order_relaxed);
    }
  } else if (P* idle = TakeIdleP(); idle != nullptr) {
    AcquireP(m, idle);
  } else {
    // No P: this goroutine waits in the global queue, and this M on its own. It stays kSyscall
    // until its commit has run: by then it is off its stack.
    G* g = m->g;
    m->commit = {QueueGlobally, g, nullptr};
    SwitchTo(m, g, &m->g0);
    m = CurrentM();
    FinishSwitch(m);
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
