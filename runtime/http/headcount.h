// A Headcount knows how many are still inside of an object, and lets one wait until all have left.
//
//   inside_.Enter();   ...   inside_.Leave();        // by any goroutine
//   if (!inside_.WaitUntilEmpty(absl::Seconds(20))) ...
//
// Lifetime: who leaves last touches nothing of the object after it has counted itself out, so the
//           object may end as soon as WaitUntilEmpty is true.
// Threads:  any number enter and leave; one waits.
#ifndef PLIMSOLL_RUNTIME_HTTP_HEADCOUNT_H_
#define PLIMSOLL_RUNTIME_HTTP_HEADCOUNT_H_

#include <atomic>
#include <cstddef>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"

namespace plimsoll::http {

class Headcount {
 public:
  // seq_cst: with the server's stage, which is set before one waits: who entered before it was set
  // is counted, who enters after it sees it.
  void Enter() { inside_.fetch_add(1, std::memory_order_seq_cst); }

  void Leave() {
    const Channel<bool> empty = empty_;  // a handle of our own: see Lifetime
    // acq_rel: who sees zero sees all that the leavers did
    if (inside_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      bool value = true;
      // Full: the news is there already.
      [[maybe_unused]] const bool told = empty.TrySend(value);
    }
  }

  // False: somebody is still inside after `at_most`.
  bool WaitUntilEmpty(absl::Duration at_most) {
    const absl::Time deadline = absl::Now() + at_most;
    while (inside_.load(std::memory_order_seq_cst) > 0) {  // seq_cst: as in Enter
      const absl::Duration left = deadline - absl::Now();
      if (left <= absl::ZeroDuration()) return false;
      // The value may be of an earlier zero: the loop looks again.
      [[maybe_unused]] const auto told = empty_.TryRecvFor(left);
    }
    return true;
  }

 private:
  std::atomic<size_t> inside_{0};
  Channel<bool> empty_{1};  // gets a value whenever the count falls to zero
};

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_HEADCOUNT_H_
