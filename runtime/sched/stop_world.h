// StopTheWorld halts every goroutine but the caller's; in a stopped world, ForEachG shows them.
//
//   sched::StopTheWorld();
//   sched::ForEachG([](const sched::GView& g, void* arg) { Scan(g.sp, g.hi); }, nullptr);
//   sched::StartTheWorld();
//
// Stopped:   no M but the caller's holds a P. Goroutines in a BlockingCall go on with what they do
//            there and stop where it ends; threads that are not the runtime's go on.
// Within:    the caller may not park, start a BlockingCall or end. It allocates no collected value.
//            Ready, Go and timers may be called; what they make runnable runs after the start.
// Threads:   one stops the world at a time; another waits, parked. Call on a goroutine, or on a
//            thread that is not the runtime's; not within a BlockingCall, not on a system stack.
// Waits:     for each M to reach a scheduling point, the end of a no-preempt region, or, where
//            preemption is on, any instruction outside of one. PLIMSOLL_DEBUG=preempt=off turns
//            time slices off, not this.
#ifndef PLIMSOLL_RUNTIME_SCHED_STOP_WORLD_H_
#define PLIMSOLL_RUNTIME_SCHED_STOP_WORLD_H_

#include <cstdint>

#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::sched {

void StopTheWorld();
void StartTheWorld();

// How long the last stop took to be complete, and how many there were.
struct WorldStats {
  uint64_t stops = 0;
  int64_t last_stop_ns = 0;
  int64_t longest_stop_ns = 0;
};
WorldStats GetWorldStats();

// A goroutine of a stopped world. [sp, hi) holds every frame it will return to, its closure, and
// the callee-saved registers it will see again; a register that only a signal frame holds is in
// `ucontext`.
struct GView {
  enum class State : uint8_t {
    kCaller,        // the one that stopped the world: sp is that of ForEachG
    kRunnable,      // in a queue
    kWaiting,       // parked, for `reason`
    kBlockingCall,  // runs foreign code below sp; sp is where it entered
    kPreempted,     // stopped in place: at the end of a region, or in a handler
  };
  uint64_t id;
  State state;
  WaitReason reason;
  uintptr_t sp;
  uintptr_t lo;  // of its stack
  uintptr_t hi;
  // The interrupted ucontext_t, for a goroutine that waits in a handler; null otherwise. sp is then
  // below the red zone; where the goroutine runs on a stack that is not the scheduler's, it is lo.
  const void* ucontext;
  // The end of the altstack that the ucontext lies on, 0: on none. Between the two are its vector
  // registers, and, where a handler of the program's was interrupted, that one's frames and what
  // the goroutine had in registers when it began.
  uintptr_t context_hi;
};

// Calls visit(view, arg) once for each goroutine that lives. Requires: the caller stopped the
// world. `visit` must not make or end a goroutine.
void ForEachG(void (*visit)(const GView& g, void* arg), void* arg);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_STOP_WORLD_H_
