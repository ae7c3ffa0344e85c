// The collector's world: goroutines.
//
//   StartCollector();          // runtime.cc, before the first goroutine
//
// Environment: GOGC, as Go's: a percentage, or "off".
// PLIMSOLL_DEBUG=gctrace=1,verify=1,checkmark=1,
//            gcfault=NAME: a line for each cycle; the checks of runtime/gc/verify.h; a planted
//            fault. gcstoptheworld=1, as Go's: marks with the world stopped.
// Stopped:   by sched/stop_world.h. Goroutines within a BlockingCall go on with what they do there,
//            and may not touch collected values: what they had on their stacks before is scanned.
// Roots:     every goroutine's stack from where it left it, and the registers, vector registers
//            included, of those that were stopped in a signal handler.
// Marking:   goroutines beside the program's, a quarter of the Ps' time and what is idle;
//            where there is a quota of less, a quarter of that.
// Sweeping:  a goroutine for each cycle, until it is done.
#ifndef PLIMSOLL_RUNTIME_GC_GC_WORLD_H_
#define PLIMSOLL_RUNTIME_GC_GC_WORLD_H_

#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/runtime/gc/collector.h"

namespace plimsoll {

// What the environment asks of the collector; what it does not understand is told on stderr, and
// taken as if it were not there. Null: not set.
gc::Options CollectorOptions(const char* gogc, const base::DebugText& debug);

// Bytes that the process may use, from the container or GOMEMLIMIT; UINT64_MAX: no limit. May
// change while the collector runs, and holds at once: on a goroutine a cycle begins where it is due
// by the new one, and idle memory beyond it goes back. What the heap may have of it is
// measured in each cycle, and once a second: the limit, less what the process has in memory besides
// the heap, less a margin of an eighth, at most 16 MiB.
void SetCollectorMemoryLimit(uint64_t bytes);

// CPUs that the kernel gives the process; infinity: as many as it uses. Goroutines that mark take a
// quarter of them, and wait where they have had it. May change while the collector runs.
void SetCollectorCpuQuota(double cpus);

// Joins the collector to the scheduler.
void StartCollector(const gc::Options& options);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_GC_GC_WORLD_H_
