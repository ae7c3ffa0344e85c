// An M is an operating-system thread that runs goroutines while it holds a P.
//
// Its g0 is the thread's own stack (but a slot of the pool for an attached thread, whose stack is
// its goroutine's): the scheduler's loop runs there when this M has nothing else to run. What a
// goroutine asks to be done after it has left its stack is the M's `commit`, which the goroutine
// that runs next carries out (DESIGN.md, "One switch a park").
#ifndef PLIMSOLL_RUNTIME_SCHED_M_H_
#define PLIMSOLL_RUNTIME_SCHED_M_H_

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/altstack.h"
#include "plimsoll/runtime/sched/g.h"
#include "plimsoll/runtime/sched/tls.h"

namespace plimsoll::sched {

struct P;

// What is to be done for `g` once it has left its stack.
struct Commit {
  CommitFn fn = nullptr;
  G* g = nullptr;
  void* arg = nullptr;
};

// How an M is asked for its P: gently, so that a goroutine within libc is left alone; for good;
// only if its goroutine waits in a futex, as sysmon saw it do; or only while the word that others
// sleep for is 0, and so a lock that its goroutine may hold is free.
enum Asked : uint32_t {
  kNotAsked,
  kAskedGently,
  kAskedForGood,
  kAskedAsleep,
  kAskedAtRelease,
};

// A futex wait without a deadline, that a thread was interrupted in and enters again when it goes
// on.
struct FutexWaited {
  uint32_t* word = nullptr;  // null: it was interrupted elsewhere
  uint32_t value = 0;        // it sleeps only where it finds this
  uint32_t flags = 0;        // FUTEX_PRIVATE_FLAG or none
};

struct alignas(128) M : MHead {
  bool spinning = false;
  bool picks_slowly = false;  // its goroutine is locked to it, or migrate=always
  uint32_t id = 0;
  Commit commit;
  ExceptionState* eh = nullptr;  // this thread's, for the life of the thread
  int* errno_address = nullptr;  // likewise
  G g0;
  std::atomic<P*> next_p{nullptr};         // given by who wakes us, before park_word
  std::atomic<uint32_t> asked{kNotAsked};  // the preemption signal that is on its way is ours
  // While its goroutine waits in place; written before kPreempted is released.
  FutexWaited waited;
  FutexWaited release;  // of kAskedAtRelease; written by sysmon before `asked`
  // Guarded by Scheduler::mu_ (DESIGN.md, "One that would only sleep").
  int64_t turn_ends_ns = 0;    // until then its goroutine goes first again where it fell asleep
  int64_t passed_over_ns = 0;  // since when others go before it; 0: nobody did
  uint64_t goes_at = 0;        // its turn has come once the global queue's taken() is this
  G* locked_g = nullptr;       // LockOsThread: the one goroutine that runs here
  bool ends = false;           // its locked goroutine has ended, and so does its thread
  G* next_g = nullptr;         // to be run first, with next_p
  G* hand_to = nullptr;        // bound to another M, which gets our P once we are on g0
  P* syscall_p = nullptr;      // the P we left in kSyscall
  int32_t blocking_depth = 0;  // of BlockingCalls within BlockingCalls
  std::atomic<uint32_t> park_word{0};  // 0: parked or about to; 1: woken
  M* idle_link = nullptr;              // guarded by Scheduler::mu_
  pthread_t thread{};
  // The kernel's number of the thread; 0: it has none now. Others send signals by it: by AskForP
  // under signal_mu, under which it becomes 0; a dump without, to a thread that does not heed them.
  std::atomic<int32_t> tid{0};
  base::SpinLock signal_mu;
  // Set by this thread's handler when another ends the process: what the kernel saved of it.
  std::atomic<const void*> frozen_context{nullptr};
  M* all_link = nullptr;  // the one made before this one (Scheduler::all_ms)
  AltStack altstack;      // where this thread's signal handlers run

  // Of an M that serves threads that the runtime did not make (attach.h).
  G* attached_g = nullptr;   // null: it serves one of the runtime's own
  int32_t attach_depth = 0;  // 0: it has no thread
  bool preempt_was_blocked = false;
  stack_t users_altstack = {};                            // what the thread had before
  std::atomic<uintptr_t> attached_lo{0}, attached_hi{0};  // its stack; hi 0: none
};
static_assert(std::is_base_of_v<MHead, M> && !std::is_polymorphic_v<M>);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_M_H_
