// NanosFromNow turns a duration into a moment on the scheduler's clock without overflow.
#ifndef PLIMSOLL_RUNTIME_CHAN_DEADLINE_H_
#define PLIMSOLL_RUNTIME_CHAN_DEADLINE_H_

#include <cstdint>
#include <limits>

#include "absl/time/time.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {

// The moment `duration` from now, now for a negative one; INT64_MAX, which is "never", for one
// beyond the clock's range.
inline int64_t NanosFromNow(absl::Duration duration) {
  const int64_t now = sched::NowNanos();
  if (duration <= absl::ZeroDuration()) return now;
  // Rounded up: a sleep is never short. Saturates at INT64_MAX.
  int64_t ns = absl::ToInt64Nanoseconds(duration);
  if (absl::Nanoseconds(ns) < duration && ns < std::numeric_limits<int64_t>::max()) ++ns;
  return ns >= std::numeric_limits<int64_t>::max() - now ? std::numeric_limits<int64_t>::max()
                                                         : now + ns;
}

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_DEADLINE_H_
