#include "plimsoll/runtime/sched/procs.h"

#include <errno.h>
#include <sys/mman.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/stop_world.h"

namespace plimsoll::sched {
namespace {

// The timers of a P that goes become P 0's. A foreign thread may want one meanwhile: it takes the
// owner's lock, and looks whether that is still the owner.
void MoveTimers(P* from, P* to) {
  base::SpinLockHolder hold_from(from->timers_mu);
  base::SpinLockHolder hold_to(to->timers_mu);
  while (!from->timers.empty()) {
    SchedTimer* t = from->timers.Min();
    from->timers.Remove(t);
    TimerAccess::Owner(*t).store(to, std::memory_order_release);
    if (!to->timers.Push(t)) base::Fatal("runtime: no memory for ", to->timers.size(), " timers");
  }
  from->next_when.store(kNever, std::memory_order_relaxed);
  to->next_when.store(to->timers.empty() ? kNever : to->timers.MinWhen(),
                      std::memory_order_seq_cst);
}

// Requires: the world is stopped.
void Retire(P* p) {
  bool from_next;
  while (G* g = p->queue.Get(&from_next)) PutGlobal(g);
  MoveTimers(p, sched.all_ps[0]);
  ShareFreeGs(p);
  p->preempt.store(false, std::memory_order_relaxed);
}

void RunHousekeeper(void (*fn)()) {
  for (;;) {
    Park(
        WaitReason::kSleep,
        [](G* g, void*) {
          // release: pairs with the acquire in WakeHousekeeper
          sched.housekeeper.store(g, std::memory_order_release);
          return true;
        },
        nullptr);
    fn();
  }
}

}  // namespace

bool MakePs(int n) {
  const int made = sched.procs_made.load(std::memory_order_relaxed);
  if (n <= made) return true;
  const size_t bytes = sizeof(P) * static_cast<size_t>(n - made);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  for (int i = made; i < n; ++i) {
    P* p = ::new (static_cast<char*>(memory) + sizeof(P) * static_cast<size_t>(i - made)) P;
    p->id = i;
    p->random =
        0x9e3779b97f4a7c15u * static_cast<uint64_t>(i + 1) ^ static_cast<uint64_t>(NowNanos());
    p->random |= 1;  // xorshift never leaves zero
    sched.all_ps[i] = p;
  }
  // release: pairs with the acquire of those who add up counters
  sched.procs_made.store(n, std::memory_order_release);
  return true;
}

int SetProcs(const ProcsChange& change) {
  if (change.spin_quota.has_value()) sched.spin_budget.SetQuota(*change.spin_quota);
  const int n = change.procs < kMaxProcs ? change.procs : kMaxProcs;
  if (n < 1 || Seeded()) return sched.procs.load(std::memory_order_relaxed);
  StopTheWorld(StopReason::kProcs);
  const int before = sched.procs.load(std::memory_order_relaxed);
  if (!MakePs(n)) {
    StartTheWorld();
    base::RawLog("plimsoll: P stays ", before, ": no memory for ", n, ": ", base::ErrnoName(errno));
    return before;
  }
  for (int i = n; i < before; ++i) Retire(sched.all_ps[i]);
  if (M* m = CurrentM(); m != nullptr && m->p->id >= n) {
    m->p->m.store(nullptr, std::memory_order_relaxed);
    m->p = sched.all_ps[0];
    m->p->m.store(m, std::memory_order_relaxed);
  }
  sched.procs.store(n, std::memory_order_release);
  StartTheWorld();
  return before;
}

void HoldSpinning(bool held) { sched.spin_budget.Hold(held); }

void CallEachSecond(void (*fn)()) {
  if (Seeded()) return;
  auto run = [fn] {
    CurrentG()->is_runtimes_own = true;
    RunHousekeeper(fn);
  };
  // It counts as one that has ended: it never does.
  sched.reaped.fetch_add(1, std::memory_order_relaxed);
  if (!internal::Spawn(internal::kEntryOps<decltype(run)>, &run, {})) internal::FatalNoStack();
}

void WakeHousekeeper() {
  // acquire: pairs with the release of its park
  if (G* g = sched.housekeeper.exchange(nullptr, std::memory_order_acquire)) Ready(g);
}

}  // namespace plimsoll::sched
