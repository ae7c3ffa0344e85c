// What the parts of the scheduler share: its state, and the steps between them. Private to sched/.
#ifndef PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_
#define PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_

#include <atomic>
#include <cstdint>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/g.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/m.h"
#include "plimsoll/runtime/sched/p.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/tls.h"

namespace plimsoll::sched {

struct Scheduler {
  base::SpinLock mu;

  // The global queue: goroutines that no P owns.
  GList global ABSL_GUARDED_BY(mu);
  std::atomic<int32_t> global_size{0};

  // Idle Ps and idle Ms, last in first out: the warmest first.
  P* idle_ps ABSL_GUARDED_BY(mu) = nullptr;
  std::atomic<int32_t> idle_p_count{0};
  std::atomic<uint64_t> ps_taken{0};  // + 1 whenever an idle P is taken
  M* idle_ms ABSL_GUARDED_BY(mu) = nullptr;
  std::atomic<int32_t> idle_m_count{0};

  std::atomic<int32_t> spinning{0};
  std::atomic<int32_t> procs{0};
  P* all_ps[kMaxProcs] = {};  // [0, procs) are set before procs is
  std::atomic<uint32_t> m_count{0};
  bool may_spin = true;
  void (*on_thread_start)(unsigned m) = nullptr;

  // The poller's role: last_poll_ns is 0 while an M waits in the idle source.
  IdleSource* source = nullptr;
  std::atomic<int64_t> last_poll_ns{1};
  std::atomic<int64_t> poll_until{
      kNever};  // when that M will wake by itself; kNever while none waits

  // Sysmon sleeps for good while every P is idle.
  std::atomic<uint32_t> sysmon_sleeps{0};
  std::atomic<int64_t> coarse_now_ns{0};

  // The thread that makes threads.
  std::atomic<uint32_t> maker_requests{0};
  std::atomic<uint64_t> thread_failures{0};
  std::atomic<int32_t> threads_in_making{0};  // counted in own_threads, maybe not yet there
  std::atomic<int32_t> own_threads{0};        // of this process, that can never Ready from outside

  std::atomic<int64_t> goroutines{0};
  std::atomic<bool> main_left{false};  // main called Goexit
  std::atomic<uint64_t> next_id{1};
  std::atomic<int32_t> blocking_calls{0};

  base::SpinLock free_mu;
  G* free_gs ABSL_GUARDED_BY(free_mu) = nullptr;
  int32_t free_count ABSL_GUARDED_BY(free_mu) = 0;

  std::atomic<bool> started{false};
  std::atomic<bool> frozen{false};  // the process is ending
  std::atomic<int32_t> frozen_ms{0};
  std::atomic<int64_t> exit_deadline_ns{0};
  std::atomic<int> exit_code{0};

  stack::StackPool stacks;
};

extern Scheduler sched;

// --- goroutine.cc: making, starting and ending goroutines.

// Runs on whichever goroutine was switched to: does what the one before asked for.
void FinishSwitch(M* m);
// Leaves `from` for `to` on this M; returns when `from` is switched to again, maybe on another M.
void SwitchTo(M* m, G* from, G* to, bool last = false);
// Takes dead goroutines from this P's list to the shared one when it has many.
void ReapG(M* m, G* g);

// Leaves the current goroutine for good. Its destructors have run.
[[noreturn]] void ExitGoroutine();

// --- scheduler.cc: finding work, idling, waking.

// The next to run on this P, or null for none. On a parking goroutine's stack, where no timer's
// function may run since the commit has not, it may be g0.
G* PickLocal(M* m, P* p);
// The loop of an M's g0. Never returns.
[[noreturn]] void ScheduleLoop(M* m);
// Puts g at the front (or the back) of this P's queue. Returns whether the ring has something now.
bool PutLocal(P* p, G* g, bool next);
void PutGlobal(G* g);
void PutGlobalList(GList& list);
// Queues `list`: into this M's P if it has one, else globally; wakes Ps for them.
void InjectList(M* m, GList& list);
// Wakes one P if one idles and nobody looks for work already. Preceded by a queue store; has the
// fence of (2).
void WakeIfIdle();
// The same after PutLocal said that the ring has something; does nothing where there is one P.
inline void WakeForRing() {
  if (sched.procs.load(std::memory_order_relaxed) > 1) WakeIfIdle();
}
// Whether anything is runnable in any queue.
bool WorkSomewhere();
// Gives `p` to an idle M, or asks for a thread. p null: an idle P, if there is one.
void StartM(P* p, bool spinning);
// This M lets its P go for a blocking call or for good; somebody else may need it.
void HandOffP(P* p);
void AcquireP(M* m, P* p);
// Takes an idle P, or null.
P* TakeIdleP();
void BecomeM(M* m, pthread_t thread);

// --- timers.cc

// Runs what is due in p's heap. Returns the earliest deadline left.
int64_t RunTimers(M* m, P* p, int64_t now);
// The earliest deadline of all Ps.
int64_t EarliestTimer();
// Tells the M in the idle source that there is a deadline before it would wake.
void TimerMovedForward(int64_t when);

// --- threads.cc: the threads that are no Ms' work: sysmon, the maker; and M's beginnings.

void StartThreads(int ms);
void AskForThread();
void WakeSysmon();

// --- exit.cc

[[noreturn]] void ExitProcess(int code);
// Called by an M about to wait for ever: Fatal if nobody could ever wake anything again. False:
// that could not be told now, so ask again soon.
bool CheckDeadlock();
[[noreturn]] void StayFrozen();

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_
