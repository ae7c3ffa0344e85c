// A Tracer is told what the scheduler does: who was made, parked, readied, run, stolen, preempted,
// in a blocking call; which timers fired, and what a poll found; when the world stood still, and
// for what; the collector's cycles.
//
//   TraceBuffer buffer(1 << 20);               // trace_buffer.h: keeps the first million events
//   CHECK(StartTracing(buffer));
//   ...
//   StopTracing();                             // from here on buffer is the caller's alone
//   Write("trace.json", TracePicture(buffer.events()));    // for ui.perfetto.dev
//
// Cost:     none while off: not an instruction in Park, Ready, Yield, Go, BlockingCall or a switch.
//           The hooks lie behind tests that are there for something else (DESIGN.md, "Tracing").
// On:       every pick goes the long way, every event takes the time, counts two shared words and
//           calls the tracer: a few hundred ns each.
// Threads:  Trace is called on any thread: goroutines', sysmon, foreign ones; many at once. An
//           event comes before whatever it makes possible: a Ready before the run it leads to.
// Within:   with preemption off, and in part where a goroutine has not yet left its stack. A tracer
//           may not block, allocate, take a lock that is held elsewhere, or call the runtime.
// Left out: the Ready of one that parked before the tracing began; a BlockingCall within another.
//           One that was in a call when the tracing began is told of when it returns. The stops
//           of the world that begin and end the tracing.
// One:      tracer works at a time.
#ifndef PLIMSOLL_RUNTIME_SCHED_TRACE_H_
#define PLIMSOLL_RUNTIME_SCHED_TRACE_H_

#include <concepts>
#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/stop_world.h"

namespace plimsoll::sched {

enum class TraceKind : uint8_t {
  kSpawn,     // g was made by `other`
  kRun,       // g begins, or goes on, on `proc`
  kPark,      // g leaves its P, to wait for `reason`
  kYield,     // g leaves its P, to the back of the queue
  kEnd,       // g has ended
  kReady,     // g, which had parked, was made runnable by `other`
  kSteal,     // `proc` took `count` goroutines from the P `other`, and runs g of them
  kHandOff,   // `proc` goes to `thread`; g goes on there in place, or 0: it looks for something
  kPreempt,   // g's slice on `proc` was ended in place
  kCall,      // g begins a BlockingCall; it leaves `proc` to whoever takes it meanwhile
  kReturn,    // g is back, on `proc`, or waits for a P: -1. It had left the P `other`; count 1: and
              // found it there
  kRetake,    // `proc` was taken from a goroutine that is in a BlockingCall
  kTimer,     // a timer of the P `other` fires on `proc`, `count` us late
  kPoll,      // `thread` found `count` goroutines whose wait is over; a kReady of each follows
  kStop,      // the world stands still, for `stop`, `count` us after that was asked for
  kStart,     // it goes on, `count` us later
  kGcBegin,   // the collector's cycle `other` begins
  kGcMarked,  // it has marked all that lives; the world is stopped
  kGcEnd,     // it is over, but for the sweep
  kCount,
};
std::string_view TraceKindText(TraceKind kind);

struct TraceEvent {
  int64_t when_ns = 0;  // CLOCK_MONOTONIC; the Chooser's in seeded mode
  uint64_t g = 0;       // a goroutine's number
  uint64_t other = 0;   // 0: a foreign thread, a timer, the runtime
  int32_t proc = -1;    // a P's number; -1: none
  int32_t thread = -1;  // an M's number, of who tells; of who gets the P for kHandOff; -1: none
  uint32_t count = 0;
  TraceKind kind = TraceKind::kSpawn;
  WaitReason reason = WaitReason::kNone;
  StopReason stop = StopReason::kOther;
};

template <typename T>
concept Tracer = requires(T& tracer, const TraceEvent& event) {
  { tracer.Trace(event) } noexcept -> std::same_as<void>;
};

// The same without a type; use StartTracing.
using TraceFn = void (*)(void* tracer, const TraceEvent& event);
bool StartTracingBy(TraceFn fn, void* tracer);

// Stops the world for a moment. False: another tracer is at work. Parks, so not from a
// no-preempt region. `tracer` lives until StopTracing has returned.
template <Tracer T>
[[nodiscard]] bool StartTracing(T& tracer) {
  return StartTracingBy([](void* t, const TraceEvent& event) { static_cast<T*>(t)->Trace(event); },
                        &tracer);
}

// On return the tracer is called no more. Stops the world for a moment; does nothing where none is
// at work.
void StopTracing();

// The collector's wiring tells of a cycle: kGcBegin, kGcMarked, kGcEnd. Nothing where nobody
// traces.
void TraceGc(TraceKind kind, uint64_t cycle);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRACE_H_
