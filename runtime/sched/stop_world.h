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

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::sched {

// What it is stopped for, for who traces (trace.h).
enum class StopReason : uint8_t {
  kOther,
  kProcs,     // another number of Ps
  kTracing,   // tracing begins or ends
  kTrim,      // memory of parked stacks goes back
  kStackUse,  // how deep stacks are
  kGcStart,   // a mark beside the program begins, and
  kGcEnd,     // ends
  kGcCycle,   // all of a mark
  kCount,
};
std::string_view StopReasonText(StopReason reason);

void StopTheWorld(StopReason why = StopReason::kOther);
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
// `ucontext`. One that went to a stack of the program's own (a coroutine's) is shown with all of
// its own stack, and of that other one with `away`: the first kAwayBytes from where it was left,
// among them what its frames had in registers when it called the runtime.
struct GView {
  enum class State : uint8_t {
    kCaller,        // the one that stopped the world: sp is that of ForEachG
    kRunnable,      // in a queue
    kWaiting,       // parked, for `reason`
    kBlockingCall,  // runs foreign code below sp; sp is where it entered
    kPreempted,     // stopped in place: at the end of a region, or in a handler
  };
  // Not a number that is copied: of a G that is in no cache it lies in a line of its own.
  const G* g;
  uint64_t id() const;
  State state;
  WaitReason reason;
  uintptr_t sp;
  uintptr_t lo;  // of its stack
  uintptr_t hi;  // of what may hold anything: its frames and its closure
  // The interrupted ucontext_t, for a goroutine that waits in a handler; null otherwise. sp is then
  // below the red zone.
  const void* ucontext;
  // The end of the altstack that the ucontext lies on, the thread's or one of the program's; 0: on
  // none. Between the two are its vector registers, and, where a handler of the program's was
  // interrupted, that one's frames and what the goroutine had in registers when it began.
  uintptr_t context_hi;
  // A copy, there until the visit ends; empty for a goroutine that is on its own stack.
  const uintptr_t* away;
  size_t away_words;
};
inline constexpr size_t kAwayBytes = 4096;

// Calls visit(view, arg) once for each goroutine that lives. Requires: the caller stopped the
// world. `visit` must not make or end a goroutine. `caller_sp`: what is shown of the caller begins
// there, above frames of its own that are of no interest; 0: with all of them.
void ForEachG(void (*visit)(const GView& g, void* arg), void* arg, uintptr_t caller_sp = 0);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_STOP_WORLD_H_
