// Park, Ready and Yield.

#include "plimsoll/runtime/sched/park.h"

#include <sched.h>
#include <time.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::sched {
namespace {

constexpr std::string_view kReasonTexts[] = {
    "",
    "chan receive",
    "chan send",
    "chan receive (nil chan)",
    "chan send (nil chan)",
    "select",
    "select (no cases)",
    "sync.Mutex.Lock",
    "sync.RWMutex.RLock",
    "sync.RWMutex.Lock",
    "sync.WaitGroup.Wait",
    "sync.Cond.Wait",
    "semacquire",
    "sleep",
    "IO wait",
    "force gc (idle)",
    "GC assist wait",
    "finalizer wait",
    "drain",
};
static_assert(std::size(kReasonTexts) == static_cast<size_t>(WaitReason::kCount));

// A foreign thread's proxy lives in the thread's own storage: no allocation, and it ends with it.
__attribute__((noinline)) G* MakeProxy() {
  static thread_local G proxy;
  proxy.is_proxy = true;
  plimsoll_tls_proxy = &proxy;
  return &proxy;
}

void ParkProxy(G* g, WaitReason reason, CommitFn commit, void* arg) {
  g->reason = reason;
  g->proxy_word.store(0, std::memory_order_relaxed);
  if (!commit(g, arg)) return;
  // acquire: pairs with the release in Ready
  while (g->proxy_word.load(std::memory_order_acquire) == 0) base::FutexWait(g->proxy_word, 0);
}

bool UnlockCommit(G*, void* mu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  static_cast<base::SpinLock*>(mu)->unlock();
  return true;
}

bool YieldCommit(G* g, void*) {
  g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
  PutLocal(CurrentM()->p, g, /*next=*/false);
  return true;
}

}  // namespace

std::string_view WaitReasonText(WaitReason reason) {
  return kReasonTexts[static_cast<size_t>(reason)];
}

G* CurrentG() {
  if (M* m = CurrentM(); m != nullptr) return m->g;
  if (G* proxy = CurrentProxy(); proxy != nullptr) return proxy;
  return MakeProxy();
}

uint64_t GoroutineId(const G* g) { return g->id; }

void Park(WaitReason reason, CommitFn commit, void* arg) {
  M* m = CurrentM();
  if (m == nullptr) {
    ParkProxy(CurrentG(), reason, commit, arg);
    return;
  }
  const int32_t saved = m->no_preempt;
  m->no_preempt = 1;
  G* g = m->g;
  PLIMSOLL_CHECK(!g->is_system_stack, "Park on a system stack");
  g->reason = reason;
  g->waiting_since_ns = sched.coarse_now_ns.load(std::memory_order_relaxed);
  g->status.store(GStatus::kWaiting, std::memory_order_relaxed);
  m->commit = {commit, g, arg};
  G* next = m->p != nullptr ? PickLocal(m, m->p) : nullptr;
  SwitchTo(m, g, next != nullptr ? next : &m->g0);
  m = CurrentM();  // maybe another thread's
  FinishSwitch(m);
  m->no_preempt = saved;
}

void ParkAndUnlock(WaitReason reason, base::SpinLock& mu) { Park(reason, UnlockCommit, &mu); }

void Ready(G* g) {
  if (g->is_proxy) {
    // release: pairs with the acquire in ParkProxy. The proxy's thread may end once it sees the
    // word; a wake at an address that is gone is harmless (futex(2): it wakes nobody, or a waiter
    // that looks again).
    g->proxy_word.store(1, std::memory_order_release);
    base::FutexWake(g->proxy_word, 1);
    return;
  }
  PLIMSOLL_DCHECK(g->status.load(std::memory_order_relaxed) == GStatus::kWaiting,
                  "Ready of a goroutine that does not wait");
  NoPreempt guard;
  g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
  M* m = CurrentM();
  if (m == nullptr || m->p == nullptr) {
    PutGlobal(g);
    WakeIfIdle();
    return;
  }
  if (PutLocal(m->p, g, /*next=*/true)) WakeForRing();
}

void Yield() {
  M* m = CurrentM();
  if (m == nullptr) {
    sched_yield();
    return;
  }
  if (m->g->is_system_stack || m->p == nullptr) return;
  const int32_t saved = m->no_preempt;
  m->no_preempt = 1;
  G* g = m->g;
  G* next = PickLocal(m, m->p);
  if (next == nullptr) {  // nobody else wants to run, unless a timer is due
    const int64_t when = m->p->next_when.load(std::memory_order_relaxed);
    if (when == kNever || when > NowNanos()) {
      m->no_preempt = saved;
      return;
    }
    next = &m->g0;  // runs the timers
  }
  m->commit = {YieldCommit, g, nullptr};
  SwitchTo(m, g, next);
  m = CurrentM();
  FinishSwitch(m);
  m->no_preempt = saved;
}

int64_t NowNanos() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

namespace {

// What a timed park shares with its timer, on the parked goroutine's stack.
struct TimedPark {
  G* g;
  WakeClaim& claim;
  int64_t deadline_ns;
  CommitFn commit;
  void* arg;
  SchedTimer timer;
  // 1 when the commit no longer touches this frame: only then may the frame go.
  std::atomic<uint32_t> committed{0};

  void AwaitCommitted() const {
    // acquire: pairs with the release in TimedCommit, which another M may still be finishing
    while (committed.load(std::memory_order_acquire) == 0) base::CpuRelax();
  }
};

void TimedOut(void* arg, int64_t) {
  auto* park = static_cast<TimedPark*>(arg);
  park->AwaitCommitted();
  if (park->claim.TryClaim(WakeClaim::kTimedOut)) Ready(park->g);
}

bool TimedCommit(G* g, void* arg) {
  auto* park = static_cast<TimedPark*>(arg);
  // Armed here and not before the park: a timer that fires must find g off its stack.
  park->timer.Arm(park->deadline_ns);
  const bool parked = park->commit == nullptr || park->commit(g, park->arg);
  if (!parked) {
    park->committed.store(1, std::memory_order_release);
    park->timer.Disarm();
    // The timer may have readied g already; then this must not do it again.
    return park->claim.winner() == WakeClaim::kTimedOut;
  }
  park->committed.store(1, std::memory_order_release);
  return true;
}

}  // namespace

uint32_t ParkUntil(WaitReason reason, int64_t deadline_ns, WakeClaim& claim, CommitFn commit,
                   void* arg) {
  TimedPark park{.g = CurrentG(),
                 .claim = claim,
                 .deadline_ns = deadline_ns,
                 .commit = commit,
                 .arg = arg,
                 .timer = SchedTimer(TimedOut, &park)};
  Park(reason, TimedCommit, &park);
  park.AwaitCommitted();
  park.timer.Disarm();
  return claim.winner();
}

}  // namespace plimsoll::sched
