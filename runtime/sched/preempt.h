// Preemption: how a goroutine that keeps its P is made to give it away in place. For this room.
//
// The protocol, and who may do what in which state: DESIGN.md, "Preemption in place".
#ifndef PLIMSOLL_RUNTIME_SCHED_PREEMPT_H_
#define PLIMSOLL_RUNTIME_SCHED_PREEMPT_H_

#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {

// Installs the handler for `signal`. False, and told on stderr: it cannot be; time slices then end
// at scheduling points alone.
bool InstallPreemptHandler(int signal);

// Asks the M that runs on p to give it away; `force`: also from within libc. Any thread but a
// handler's.
void AskForP(P* p, bool force);

// Takes a P out of the hands of an M that waits in place, and gives it to the next. Does nothing
// where p is not kPreempted.
void HandOverPreempted(P* p);

// The same, for who stops the world: true if p was kPreempted and is now in the caller's hands.
bool TakePreemptedLocked(P* p, bool at_front) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);

// Whether anybody would run on p if it were given away: a goroutine, or a timer that is due.
bool SomebodyWaits(const P* p);
// Whether some M could take a P that is given away.
bool SomebodyCanTakeP();

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_PREEMPT_H_
