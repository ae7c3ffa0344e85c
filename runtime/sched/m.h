// An M is an operating-system thread that runs goroutines while it holds a P.
//
// Its g0 is the thread's own stack: the scheduler's loop runs there when this M has nothing else to
// run. What a goroutine asks to be done after it has left its stack is the M's `commit`, which the
// goroutine that runs next carries out (DESIGN.md, "One switch a park").
#ifndef PLIMSOLL_RUNTIME_SCHED_M_H_
#define PLIMSOLL_RUNTIME_SCHED_M_H_

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <type_traits>

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

struct alignas(128) M : MHead {
  bool spinning = false;
  uint32_t id = 0;
  Commit commit;
  ExceptionState* eh = nullptr;  // this thread's, for the life of the thread
  int* errno_address = nullptr;  // likewise
  G g0;
  P* next_p = nullptr;                 // given by who wakes us; guarded by the park word's order
  P* syscall_p = nullptr;              // the P we left in kSyscall
  int32_t blocking_depth = 0;          // of BlockingCalls within BlockingCalls
  std::atomic<uint32_t> park_word{0};  // 0: parked or about to; 1: woken
  M* idle_link = nullptr;              // guarded by Scheduler::mu_
  pthread_t thread{};
};
static_assert(std::is_base_of_v<MHead, M> && !std::is_polymorphic_v<M>);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_M_H_
