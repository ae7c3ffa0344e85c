// Where the scheduler tells its tracer. For this room; each is called only while Tracing().
#ifndef PLIMSOLL_RUNTIME_SCHED_TRACE_HOOKS_H_
#define PLIMSOLL_RUNTIME_SCHED_TRACE_HOOKS_H_

#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/trace.h"

namespace plimsoll::sched {

inline bool Tracing() { return (sched.mode.load(std::memory_order_relaxed) & kTracing) != 0; }

// All with preemption off, or on a thread that is not preempted.
void TraceSpawn(M* m, const G* g);
// m's goroutine picks its successor: it parks or ends. (One that yields is told of by TracePicked:
// where nobody else wants to run it stays.)
void TraceLeave(M* m);
// m's goroutine picked g and switches to it; g null, or g0, tells nothing.
void TracePicked(M* m, const G* g);
void TraceRun(const M* m, const G* g);
void TraceReady(const G* g);
void TraceSteal(const M* m, const P* victim, const G* g, uint32_t count);
void TraceHandOff(const P* p, const M* to);
// g was on m, whose thread is detached: it has ended.
void TraceDetach(const M* m, const G* g);
void TracePreempt(const P* p, uint64_t g);
// m's goroutine is about to leave its P for a blocking call.
void TraceCall(const M* m);
// m's goroutine is back from one; `left` is the P it had then, m->p what it has now.
void TraceReturn(const M* m, const P* left);
void TraceRetake(const P* p);
// `late_ns` after its time, a timer of `owner` is about to fire on m.
void TraceTimer(const M* m, const P* owner, int64_t late_ns);
// m's goroutine (null: a foreign thread) has stopped the world, which took so long; and is about to
// start it again.
void TraceStop(const M* m, StopReason why, int64_t took_ns);
void TraceStart(const M* m, StopReason why, int64_t stopped_ns);
// m (null: sysmon) found `ready` in the idle source. Tells each as readied by nobody.
void TracePoll(const M* m, const GList& ready);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRACE_HOOKS_H_
