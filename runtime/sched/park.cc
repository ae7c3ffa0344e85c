// Park, Ready and Yield.

#include "plimsoll/runtime/sched/park.h"

#include <sched.h>
#include <time.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/preempt.h"
#include "plimsoll/runtime/sched/stack_use.h"
#include "plimsoll/runtime/sched/switch_to.h"
#include "plimsoll/runtime/sched/timers.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

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
  if (InForkedChild()) FatalForked();
  if (Seeded()) base::Fatal("runtime: a thread that is not the runtime's came into a seeded run");
  static thread_local G proxy;
  proxy.wakes_slowly = kProxy;
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

// No timer: the kernel ends the thread's own wait, so no P has to look at its clock for it, and it
// works where no scheduler runs.
uint32_t ParkProxyUntil(G* g, WaitReason reason, int64_t deadline_ns, WakeClaim& claim,
                        CommitFn commit, void* arg) {
  g->reason = reason;
  g->proxy_word.store(0, std::memory_order_relaxed);
  if (commit != nullptr && !commit(g, arg)) return claim.winner();
  // acquire: pairs with the release in Ready
  while (g->proxy_word.load(std::memory_order_acquire) == 0) {
    const int64_t now = NowNanos();
    if (deadline_ns > now) {
      base::FutexWait(g->proxy_word, 0, deadline_ns - now);
    } else if (claim.TryClaim(WakeClaim::kTimedOut)) {
      break;  // whoever claims from now on loses, and readies nobody
    } else {
      base::FutexWait(g->proxy_word, 0);  // the Ready of who was first is on its way
    }
  }
  return claim.winner();
}

// Without a guard an overflow has already written where it should not; it is told at least.
__attribute__((noinline, cold)) void CheckCanary(const G* g) {
  // (The kernel guards an attached thread's.)
  if (g->is_attached || sched.stacks.CanaryIntact(g->stack)) return;
  base::RawLog("runtime: goroutine stack exceeds ", g->stack.hi - g->stack.lo,
               "-byte limit (seen by its canary: no guard could be made for it)");
  PrintHowToGetMore(g);
  base::Fatal("stack overflow");
}

// Ready of one that is not woken as usual. True: that is all.
__attribute__((noinline)) bool WakeSlowly(G* g) {
  if (g->is_proxy()) {
    // release: pairs with the acquire in ParkProxy. The proxy's thread may end once it sees the
    // word; a wake at an address that is gone is harmless (futex(2): it wakes nobody, or a waiter
    // that looks again).
    g->proxy_word.store(1, std::memory_order_release);
    base::FutexWake(g->proxy_word, 1);
    return true;
  }
  g->wakes_slowly = 0;
  if (Tracing()) {
    NoPreempt guard;
    TraceReady(g);
  }
  return false;
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
  TsanAcquireP(m->p);
  G* g = m->g;
  PLIMSOLL_CHECK(!g->is_system_stack, "Park on a system stack");
  if (sched.stacks.has_unguarded()) [[unlikely]]
    CheckCanary(g);
  g->reason = reason;
  g->waiting_since_ns = sched.coarse_now_ns.load(std::memory_order_relaxed);
  g->status.store(GStatus::kWaiting, std::memory_order_relaxed);
  m->commit = {commit, g, arg};
  G* next = m->p != nullptr ? PickNext(m, m->p) : nullptr;
  SwitchTo(m, g, next != nullptr ? next : &m->g0);
  m = CurrentM();  // maybe another thread's
  FinishSwitch(m);
  EndRegion(m, saved);
}

void ParkAndUnlock(WaitReason reason, base::SpinLock& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Park(reason, UnlockCommit, &mu);
}

void Ready(G* g) {
  if (g->wakes_slowly != 0) [[unlikely]] {
    if (WakeSlowly(g)) return;
  }
  PLIMSOLL_DCHECK(g->status.load(std::memory_order_relaxed) == GStatus::kWaiting,
                  "Ready of a goroutine that does not wait");
  M* m = CurrentM();
  if (m == nullptr) {
    g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
    PutGlobal(g);
    WakeIfIdle();
    return;
  }
  // NoPreempt by hand: there is no park in between, so it is one M.
  ++m->no_preempt;
  TsanAcquireP(m->p);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
  if (P* p = m->p; p != nullptr) [[likely]] {
    if (m->g == &m->g0 && (p->queue.peek_next() != nullptr || p->queue.ring_size() > 0)) {
      // Timers that are due together: the earlier deadline first, not the last one in front.
      p->queue.PutBack(g, PutGlobalBatch);
      WakeForRing();
    } else if (p->queue.PutNext(g, PutGlobalBatch, OneP()) || p->queue.ring_size() > 0) {
      WakeForRing();
    }
  } else {
    PutGlobal(g);
    WakeIfIdle();
  }
  std::atomic_signal_fence(std::memory_order_seq_cst);
  EndRegion(m, m->no_preempt - 1);
}

void Yield() {
  M* m = CurrentM();
  if (m == nullptr) {
    if (InForkedChild()) FatalForked();
    sched_yield();
    return;
  }
  if (m->g->is_system_stack || m->p == nullptr) return;
  const int32_t saved = m->no_preempt;
  m->no_preempt = 1;
  TsanAcquireP(m->p);
  G* g = m->g;
  G* next = PickLocal(m, m->p);
  if (next == nullptr && m->locked_g != nullptr && SomebodyWaits(m->p)) {
    next = &m->g0;
  } else if (next == nullptr) {  // nobody else wants to run, unless a timer is due
    const int64_t when = m->p->next_when.load(std::memory_order_relaxed);
    if (when == kNever || when > NowNanos()) {
      EndRegion(m, saved);
      return;
    }
    next = &m->g0;  // runs the timers
  }
  m->commit = {YieldCommit, g, nullptr};
  SwitchTo(m, g, next);
  m = CurrentM();
  FinishSwitch(m);
  EndRegion(m, saved);
}

bool CanSpin(int spins) {
  constexpr int kAtMost = 4;
  if (spins >= kAtMost || !sched.spin_budget.open() || Seeded()) return false;
  const int procs = sched.procs.load(std::memory_order_relaxed);
  if (procs == 1 || procs <= sched.idle_p_count.load(std::memory_order_relaxed) +
                                 sched.spinning.load(std::memory_order_relaxed) + 1) {
    return false;  // nobody else runs who could let go
  }
  NoPreempt guard;
  M* m = CurrentM();
  if (m == nullptr) return true;
  P* p = m->p;
  if (p == nullptr || p->queue.peek_next() != nullptr || p->queue.ring_size() != 0) return false;
  p->stat_spins.store(p->stat_spins.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  return true;
}

int64_t NowNanos() {
  if (Seeded()) [[unlikely]]
    return VirtualNanos();
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

namespace {

// How far a timed park's commit is (DESIGN.md, "Timers").
enum CommitPhase : uint32_t {
  kCommitting,
  kDue,        // likewise, and the timer has come: the commit wakes the goroutine
  kCommitted,  // the commit no longer touches the frame
};

// What a timed park shares with its timer, on the parked goroutine's stack.
struct TimedPark {
  G* g;
  WakeClaim& claim;
  int64_t deadline_ns;
  CommitFn commit;
  void* arg;
  SchedTimer timer;
  std::atomic<uint32_t> phase{kCommitting};

  // For the goroutine that another waker was fast to wake: a few instructions, unless the M that
  // commits lost its CPU.
  void AwaitCommitted() const {
    // acquire: pairs with the releases in TimedCommit, which another M may still be finishing
    for (uint32_t spins = 0; phase.load(std::memory_order_acquire) != kCommitted; ++spins) {
      if (spins < 1000) {
        base::CpuRelax();
      } else {
        sched_yield();
      }
    }
  }
};

void TimedOut(void* arg, int64_t) {
  auto* park = static_cast<TimedPark*>(arg);
  // Too early to wake g: left to the commit, and not waited for. Arming wakes a thread, which often
  // takes the CPU of the one that commits.
  // acq_rel: pairs with TimedCommit's, either way: g is off its stack, or our run of the timer is
  // seen by who ends it
  uint32_t phase = kCommitting;
  if (park->phase.compare_exchange_strong(phase, kDue, std::memory_order_acq_rel)) return;
  if (park->claim.TryClaim(WakeClaim::kTimedOut)) Ready(park->g);
}

bool TimedCommit(G* g, void* arg) {
  auto* park = static_cast<TimedPark*>(arg);
  // Armed here and not before the park: a timer that fires must find g off its stack.
  park->timer.Arm(park->deadline_ns);
  if (park->commit != nullptr && !park->commit(g, park->arg)) {
    // Until it is disarmed the phase stays: a timer that comes must not wake g, whose frame we use.
    park->timer.Disarm();
    park->phase.store(kCommitted, std::memory_order_release);
    return false;
  }
  uint32_t phase = kCommitting;
  if (park->phase.compare_exchange_strong(phase, kCommitted, std::memory_order_acq_rel)) {
    return true;  // g may be running, and the frame gone
  }
  // The timer came. Unless another waker was first, g is ours to wake.
  const bool ours = park->claim.TryClaim(WakeClaim::kTimedOut);
  park->phase.store(kCommitted, std::memory_order_release);
  return !ours;
}

}  // namespace

uint32_t ParkUntil(WaitReason reason, int64_t deadline_ns, WakeClaim& claim, CommitFn commit,
                   void* arg) {
  if (CurrentM() == nullptr) {
    return ParkProxyUntil(CurrentG(), reason, deadline_ns, claim, commit, arg);
  }
  TimedPark park{.g = CurrentG(),
                 .claim = claim,
                 .deadline_ns = deadline_ns,
                 .commit = commit,
                 .arg = arg,
                 .timer = SchedTimer(TimedOut, &park)};
  Park(reason, TimedCommit, &park);
  park.AwaitCommitted();
  if (claim.winner() != WakeClaim::kTimedOut) park.timer.Disarm();
  park.timer.Retire();
  return claim.winner();
}

}  // namespace plimsoll::sched
