// One line about the scheduler every so many milliseconds, in Go's form:
//
//   SCHED 1005ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 needspinning=0
//   idlethreads=2 runqueue=0 [ 0 0 ] schedticks=[ 128 90 ]            (on one line)
//
// By:        sysmon, which then does not sleep for good while all Ps idle: an idle process wakes
//            100 times a second while it is traced.
// Counted:   threads are Ms; runqueue is the global one; the lists are a P's queue and time slices.
//            needspinning is Go's and always 0 here: our Ms have no such state.
#ifndef PLIMSOLL_RUNTIME_SCHED_SCHEDTRACE_H_
#define PLIMSOLL_RUNTIME_SCHED_SCHEDTRACE_H_

#include <cstdint>

namespace plimsoll::sched {

// 0 turns it off. Call before Run, or at any time while sysmon is awake.
void SetSchedTrace(int64_t interval_ms);

// For sysmon.
bool SchedTracing();
void PrintSchedTraceIfDue(int64_t now);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SCHEDTRACE_H_
