// Trimming gives back the memory of stacks that were deep once and whose goroutines have been
// parked for long since (DESIGN.md, "Trimming parked stacks").
//
//   sched::TrimParkedStacks(/*parked_ns=*/0);   // a test: all of them, now
//
// Of itself: sysmon looks once a minute while goroutines run, and once or twice after they stopped;
//            a goroutine of the runtime's own then stops the world for a bounded batch.
// Keeps:     everything a goroutine will see again, how deep its stack has been (stack_use.h), its
//            guard or canary.
// Not:       a goroutine that is locked to a thread, in a BlockingCall, preempted, or runnable.
#ifndef PLIMSOLL_RUNTIME_SCHED_TRIM_H_
#define PLIMSOLL_RUNTIME_SCHED_TRIM_H_

#include <cstdint>

namespace plimsoll::sched {

// Since the start.
struct TrimStats {
  uint64_t rounds = 0;  // of sysmon's looks over all stacks
  uint64_t stops = 0;   // of the world
  uint64_t stacks = 0;  // of which memory was given back; one that goes in parts counts for each
  uint64_t bytes = 0;
};
TrimStats GetTrimStats();

// Looks at every stack and trims those whose goroutines have been parked for `parked_ns` by
// sysmon's clock. On a goroutine; stops the world for each batch.
void TrimParkedStacks(int64_t parked_ns);

// Before Run: sysmon shall look for goroutines that have been parked for `parked_ns`, as often.
void StartTrimming(int64_t parked_ns);

// For sysmon, whenever it is awake; `idle`: every P idles. Returns when it wants to be called
// again, in ns: -1 not before something runs.
int64_t LookForStacksToTrim(int64_t now, bool idle);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRIM_H_
