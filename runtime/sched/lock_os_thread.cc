#include "plimsoll/runtime/sched/lock_os_thread.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll {

using sched::CurrentM;
using sched::G;
using sched::M;

void LockOsThread() {
  sched::NoPreempt guard;
  M* m = CurrentM();
  if (m == nullptr && sched::InForkedChild()) sched::FatalForked();
  if (m == nullptr || sched::Seeded()) return;  // seeded: there is one thread
  PLIMSOLL_CHECK(!m->g->is_system_stack, "LockOsThread on a system stack");
  if (m->g->is_attached) return;  // it is, and stays so
  if (m->g->locks++ > 0) return;
  m->locked_g = m->g;
  m->g->bound_m = m;
  m->picks_slowly = true;
}

void UnlockOsThread() {
  sched::NoPreempt guard;
  M* m = CurrentM();
  if (m == nullptr && sched::InForkedChild()) sched::FatalForked();
  if (m == nullptr || m->g->locks == 0 || m->g->is_attached) return;
  --m->g->locks;
  if (m->g->locks > 0) return;
  m->locked_g = nullptr;
  m->g->bound_m = nullptr;
  m->picks_slowly = sched::sched.migrate_always;
}

int SetMaxThreads(int n) {
  const int before = sched::sched.max_threads.exchange(n, std::memory_order_relaxed);
  sched::CheckThreadLimit(0);
  return before;
}

namespace sched {

void StopLockedM(M* m) {
  if (P* p = m->p; p != nullptr) {
    m->p = nullptr;
    p->status.store(PStatus::kIdle, std::memory_order_relaxed);
    TsanReleaseP(p);
    HandOffP(p);
  }
  {
    // The other Ms may have gone to sleep before it parked: then nobody but us would see that it
    // can never be woken.
    DeadlockWatch watch;
    // acquire: pairs with the release in GrantP: whoever picked our goroutine gave us its P
    while (m->park_word.load(std::memory_order_acquire) == 0) {
      base::FutexWait(m->park_word, 0, watch.Ask());
    }
  }
  m->park_word.store(0, std::memory_order_relaxed);
  if (sched.frozen()) StayFrozen();
  AcquireP(m, m->next_p.load(std::memory_order_relaxed));
}

void CheckThreadLimit(int more) {
  const int max = sched.max_threads.load(std::memory_order_relaxed);
  const int have = static_cast<int>(sched.m_count.load(std::memory_order_relaxed)) -
                   sched.ms_ended.load(std::memory_order_relaxed);
  if (have + more <= max) return;
  base::RawLog("runtime: program exceeds ", max, "-thread limit");
  base::Fatal("thread exhaustion");
}

}  // namespace sched
}  // namespace plimsoll
