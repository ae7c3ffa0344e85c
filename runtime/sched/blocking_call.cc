#include "plimsoll/runtime/sched/blocking_call.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

bool QueueGlobally(G* g, void*) {
  g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
  PutGlobal(g);
  WakeIfIdle();
  return true;
}

}  // namespace

void EnterBlockingCall() {
  M* m = CurrentM();
  if (m == nullptr) return;
  if (m->blocking_depth++ > 0) return;  // within another: the P is given up already
  PLIMSOLL_CHECK(!m->g->is_system_stack && m->p != nullptr, "BlockingCall on a system stack");
  ++m->no_preempt;  // the P that a preemption would take is not ours any more
  P* p = m->p;
  m->p = nullptr;
  m->syscall_p = p;
  sched.blocking_calls.fetch_add(1, std::memory_order_seq_cst);
  p->syscalltick.store(p->syscalltick.load(std::memory_order_relaxed) + 1,
                       std::memory_order_relaxed);
  // release: whoever takes the P sees all we did in it
  p->status.store(PStatus::kSyscall, std::memory_order_release);
}

void ExitBlockingCall() {
  M* m = CurrentM();
  if (m == nullptr || --m->blocking_depth > 0) return;
  P* p = m->syscall_p;
  m->syscall_p = nullptr;
  PStatus expected = PStatus::kSyscall;
  // acquire: if sysmon had it and gave it back, we see what was done in it
  if (p->status.compare_exchange_strong(expected, PStatus::kRunning, std::memory_order_acq_rel)) {
    m->p = p;
  } else if (P* idle = TakeIdleP(); idle != nullptr) {
    AcquireP(m, idle);
  } else {
    // No P: this goroutine waits in the global queue, and this M on its own.
    Park(WaitReason::kNone, QueueGlobally, nullptr);
    m = CurrentM();
  }
  sched.blocking_calls.fetch_sub(1, std::memory_order_seq_cst);
  --m->no_preempt;
  // Its slice is over: without this, one call after the other would keep its P for ever.
  if (m->no_preempt == 0 && m->p->preempt.load(std::memory_order_relaxed)) {
    Yield();
  }
}

}  // namespace plimsoll::sched
