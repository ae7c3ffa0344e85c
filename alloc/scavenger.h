// The Scavenger decides how much idle memory to give back, and when. It holds no memory and no
// lock.
//
//   Scavenger scavenger;
//   pages.Release(scavenger.Plan(now_ns, pages.Stats(), pages.limit()));     // about every 100 ms
//
// Without a limit: what lay idle for a whole second, beyond a sixteenth of what is in use and 1
// MiB, goes back evenly over the next five: a spike costs about one percent of a CPU after it, and
// ten seconds later at most live * 1.25 + 16 MiB is held. Under a limit: above 90 % of it, what is
// over goes at once. Time: whatever clock the caller has, so long as it does not run backwards.
#ifndef PLIMSOLL_ALLOC_SCAVENGER_H_
#define PLIMSOLL_ALLOC_SCAVENGER_H_

#include <cstdint>

namespace plimsoll::alloc {

class Scavenger {
 public:
  // Idle memory that is not worth giving back.
  static constexpr uint64_t Keep(uint64_t in_use) { return in_use / 16 + (uint64_t{1} << 20); }

  // Bytes to release now. `in_use` and `idle` are what the page heap holds; `limit` is UINT64_MAX
  // when there is none.
  uint64_t Plan(int64_t now_ns, uint64_t in_use, uint64_t idle, uint64_t limit);

 private:
  static constexpr int64_t kWindowNs = 1'000'000'000;
  static constexpr int64_t kPayOutNs = 5'000'000'000;
  static constexpr uint64_t kLeast = uint64_t{2} << 20;  // smaller releases are not worth a call

  int64_t window_start_ns_ = INT64_MIN;
  int64_t last_ns_ = 0;
  uint64_t low_water_ = 0;  // the least idle memory seen in this window
  uint64_t due_ = 0;        // still to release
  double rate_ = 0;         // bytes a nanosecond
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SCAVENGER_H_
