// Park and Ready: the one door through which a goroutine blocks, and the one through which it
// wakes.
//
//   // In a primitive of ours, under its SpinLock `mu`, with preemption off:
//   sched::NoPreempt guard;
//   mu.lock();
//   if (value_is_there) { ...; mu.unlock(); return; }
//   Waiter w{sched::CurrentG()};
//   queue.PushBack(&w);
//   sched::ParkAndUnlock(sched::WaitReason::kChanReceive, mu);   // returns after Ready(w.g)
//
// Blocking:  Park leaves the goroutine's thread to other goroutines. On a thread that is not the
//            runtime's (a foreign thread), it blocks the thread: CurrentG() is then a proxy.
// Order:     what precedes Ready(g) is visible to g after its Park returns.
// Wake-ups:  exactly one Ready for one Park; there are no spurious returns. Ready may come before
//            the park is complete only if the commit function makes it impossible to see g earlier
//            (it publishes g, or unlocks what guards g).
// Threads:   Ready may be called from any thread, with or without a P; never with a SpinLock held
//            that the woken goroutine will take, and never from a signal handler.
// Migration: Park may return on another thread. No thread_local, errno or pthread_self() read
//            before it is valid after it; the runtime reads its own through CurrentM() alone.
#ifndef PLIMSOLL_RUNTIME_SCHED_PARK_H_
#define PLIMSOLL_RUNTIME_SCHED_PARK_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/tls.h"
#include "plimsoll/runtime/sched/wake_claim.h"

namespace plimsoll::sched {

struct G;  // a goroutine, or a foreign thread's proxy; its fields are the scheduler's

// Why a goroutine waits. The texts are Go's and are what dumps print.
enum class WaitReason : uint8_t {
  kNone,
  kChanReceive,
  kChanSend,
  kChanReceiveNil,
  kChanSendNil,
  kSelect,
  kSelectNoCases,
  kMutexLock,
  kRWMutexRLock,
  kRWMutexLock,
  kWaitGroupWait,
  kCondWait,
  kSemacquire,
  kSleep,
  kIoWait,
  kForceGcIdle,
  kGcAssistWait,
  kFinalizerWait,
  kDrain,
  kCount,
};
std::string_view WaitReasonText(WaitReason reason);

// The running goroutine; on a foreign thread its proxy, made at first use. Never null.
G* CurrentG();

// A number unique in the process, from 1 (the main goroutine); 0 for a proxy.
uint64_t GoroutineId(const G* g);

// Runs after g has left its stack, on the stack of whatever runs next, with preemption off: it must
// be short, must not park, and must not throw. It publishes g to those who will Ready it. Returning
// false takes the park back: g runs on at once.
using CommitFn = bool (*)(G* g, void* arg);

// Blocks the current goroutine until Ready. Call with preemption off or on; a SpinLock may be held
// only if `commit` unlocks it.
void Park(WaitReason reason, CommitFn commit, void* arg);

// Park whose commit is `mu.unlock()`.
void ParkAndUnlock(WaitReason reason, base::SpinLock& mu) ABSL_UNLOCK_FUNCTION(mu);

// Park with a deadline on NowNanos()'s clock. A timer claims `claim` with WakeClaim::kTimedOut when
// the deadline passes; other wakers claim it with their own word before they call Ready. Returns
// claim.winner(); when it returns, the timer can no longer touch `claim`. Where the commit refuses,
// the timer claims nothing, even if it is due.
uint32_t ParkUntil(WaitReason reason, int64_t deadline_ns, WakeClaim& claim, CommitFn commit,
                   void* arg);

// Makes a parked goroutine runnable. It goes to the current P's runnext where there is a P (and so
// inherits the caller's place), else to the global queue.
void Ready(G* g);

// Goes behind every runnable goroutine of this P, and lets the next one run.
void Yield();

// Whether a goroutine, or a timer that is due, waits for this P. A guess: it may have run by now.
bool OthersWait();

// The caller's slice begins now. For who limits its own turns and is best not stopped within.
void BeginSlice();

// Whether spinning for a moment, for the `spins`-th time, may serve better than parking: at most
// four times, where another P is busy, this one has nothing else to run, and the quota allows it
// (spin_budget.h). A spin is about a microsecond. Counted in Stats::spins where it says yes.
bool CanSpin(int spins);

// The number of the P that runs the caller, from 0; -1 on a foreign thread. Stays true only while
// preemption is off and nothing parks.
int CurrentProc();

// Nanoseconds of CLOCK_MONOTONIC, through the Chooser's clock in deterministic tests.
int64_t NowNanos();

// What an M does that was asked for its attention while its P could not be taken: it may wait here,
// on this thread, until it is given a P again.
void AtSafePoint();

// While one lives, this goroutine's P cannot be taken from it. Nests. Not kept across a Park: Park
// gives up and restores the count itself.
class NoPreempt {
 public:
  NoPreempt() {
    if (MHead* m = CurrentMHead(); m != nullptr) {
      ++m->no_preempt;
      TsanAcquireP(m->p);
    }
    // What is guarded stays between the two counts, for a handler on this thread.
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  ~NoPreempt() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
    MHead* m = CurrentMHead();  // maybe another M, after a park
    if (m != nullptr) TsanReleaseP(m->p);
    if (m != nullptr && --m->no_preempt == 0 && m->attention.load(std::memory_order_relaxed) != 0)
        [[unlikely]] {
      AtSafePoint();
    }
  }
  NoPreempt(const NoPreempt&) = delete;
  NoPreempt& operator=(const NoPreempt&) = delete;
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_PARK_H_
