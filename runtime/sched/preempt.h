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

// Asks the M that runs on p to give it away. Any thread but a handler's.
void AskForP(P* p, Asked how);

// The calling thread, M m's, is about to be its no more: from here on no signal of AskForP reaches
// it, and one that is on its way is taken. Call with all signals blocked.
void AskNoMore(M* m);

// Takes a P out of the hands of an M that waits in place, and gives it to the next. Does nothing
// where p is not kPreempted: `to` is then null.
struct HandedOver {
  M* to = nullptr;
  // p came from one that slept, and went to the one that was stopped last: its slice was over
  // before, and goes on for a moment only.
  bool goes_on = false;
};
HandedOver HandOverPreempted(P* p);

// The same, for who stops the world (`stopping`): true if p was kPreempted and is now in the
// caller's hands.
bool TakePreemptedLocked(P* p, bool stopping) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);

// Whether anybody would run on p if it were given away: a goroutine, or a timer that is due.
bool SomebodyWaits(const P* p);
// Whether some M could take a P that is given away.
bool SomebodyCanTakeP();

// Both, and whether who would run would do more than sleep. For sysmon: it makes a system call for
// each of a few goroutines that wait in place.
enum class Successor { kNone, kNoThread, kThere };
// *sleeper becomes what the one that would run waited for where it was stopped, if it was in a
// futex.
Successor FindSuccessor(const P* p, FutexWaited* sleeper);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_PREEMPT_H_
