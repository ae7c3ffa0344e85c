// A TraceBuffer is a Tracer that keeps events, and TracePicture makes a picture of them that
// ui.perfetto.dev and chrome://tracing open.
//
//   TraceBuffer buffer(1 << 20);      // 40 MiB
//
// Capacity:  the first `events` are kept; those after them are counted and lost.
// Threads:   Trace on any, at once. The rest where no tracing is at work.
// Order:     about that of time. TracePicture sorts.
#ifndef PLIMSOLL_RUNTIME_SCHED_TRACE_BUFFER_H_
#define PLIMSOLL_RUNTIME_SCHED_TRACE_BUFFER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/types/span.h"
#include "plimsoll/runtime/sched/trace.h"

namespace plimsoll::sched {

class TraceBuffer {
 public:
  explicit TraceBuffer(size_t events);

  void Trace(const TraceEvent& event) noexcept {
    // relaxed: StopTracing orders all of it before who reads
    const size_t at = next_.fetch_add(1, std::memory_order_relaxed);
    if (at < capacity_) events_[at] = event;
  }

  absl::Span<const TraceEvent> events() const;
  uint64_t lost() const;
  // Forgets all.
  void Clear() { next_.store(0, std::memory_order_relaxed); }

 private:
  const size_t capacity_;
  std::unique_ptr<TraceEvent[]> events_;
  std::atomic<size_t> next_{0};
};
static_assert(Tracer<TraceBuffer>);

// In the Trace Event Format (JSON): a row for each P, a bar for each time that a goroutine ran on
// it, with why it left, and for each that it was in a blocking call and the P still its own; an
// arrow from each spawn and ready to the run it led to; points for steals, hand-offs, timers, polls
// and Ps retaken. A row for the world, with a bar for each time that it stood still, and one for
// the collector, with a bar for each cycle and a point where its mark is over. Times in us from the
// first event. Holds numbers and texts of ours alone.
std::string TracePicture(absl::Span<const TraceEvent> events);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TRACE_BUFFER_H_
