// SetProcs changes how many Ps there are while goroutines run, and what looking for work is
// measured by.
//
//   const int before = sched::SetProcs({.procs = 4});
//
// Stops the world to change their number. Goroutines and timers of Ps that go move to those that
// stay; nothing is lost and nothing runs twice.
//
// Threads:   on a goroutine; changes are made one after the other.
#ifndef PLIMSOLL_RUNTIME_SCHED_PROCS_H_
#define PLIMSOLL_RUNTIME_SCHED_PROCS_H_

#include <optional>

namespace plimsoll::sched {

struct ProcsChange {
  int procs = 0;  // 1 to kMaxProcs; more is kMaxProcs, less: as many as before
  std::optional<double> spin_quota = {};  // as RunOptions'; none: as it was
};

// Returns how many there were. A seeded run keeps its one P.
int SetProcs(const ProcsChange& change);

// While `held`, nobody spins for work or for a lock: where the kernel throttles us, what is spun is
// taken from the work. Any thread.
void HoldSpinning(bool held);

// Calls `fn` about once a second while goroutines run, on a goroutine of the runtime's own, which
// NumGoroutine, dumps and the deadlock detector do not count. It may block; while it does it is not
// called. An idle process is not woken for it. Call once.
void CallEachSecond(void (*fn)());

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_PROCS_H_
