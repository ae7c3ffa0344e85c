// A Heartbeat tells whether a loop that should come round often still does.
//
//   Heartbeat sysmon(/*max_age=*/absl::Seconds(5));
//   for (;;) { sysmon.Beat(); ... }                                    // the watched loop
//   health.AddProbe(Aspect::kLive, "sysmon", [&] { return sysmon.Check(); });
//
// Memory:    none but the object. Beat reads a clock and stores a word, so it may be called with
//            preemption off, while the world is stopped and in a signal handler.
// Blocking:  never.
// Threads:   any number may beat and check at once.
// Start:     the constructor counts as a beat.
// Freezes:   a process that the kernel has frozen (quota, SIGSTOP, a paused machine) is found late
//            by the first check after it thaws, if that comes before the next beat. Let it fail
//            more than once before you act: Kubernetes' failureThreshold is 3.
#ifndef PLIMSOLL_CONTAINER_HEALTH_HEARTBEAT_H_
#define PLIMSOLL_CONTAINER_HEALTH_HEARTBEAT_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace plimsoll::container {

// A clock that never goes back, in nanoseconds.
using NowNs = int64_t (*)();

// CLOCK_MONOTONIC.
int64_t MonotonicNowNs();

class Heartbeat {
 public:
  explicit Heartbeat(absl::Duration max_age, NowNs now = &MonotonicNowNs);

  // The loop came round.
  void Beat() { last_ns_.store(now_(), std::memory_order_relaxed); }

  // OK while the last beat is at most max_age old; else kDeadlineExceeded, with both in its text.
  absl::Status Check() const;

 private:
  const int64_t max_age_ns_;
  const NowNs now_;
  // Relaxed: the time is the whole message; nothing else is read because of it.
  std::atomic<int64_t> last_ns_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_HEALTH_HEARTBEAT_H_
