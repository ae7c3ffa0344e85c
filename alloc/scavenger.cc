#include "plimsoll/alloc/scavenger.h"

#include <algorithm>

namespace plimsoll::alloc {

uint64_t Scavenger::Plan(int64_t now_ns, uint64_t in_use, uint64_t idle, uint64_t limit) {
  const uint64_t keep = Keep(in_use);
  if (window_start_ns_ == INT64_MIN) {
    window_start_ns_ = last_ns_ = now_ns;
    low_water_ = idle;
  }
  const int64_t passed = std::max<int64_t>(0, now_ns - last_ns_);
  last_ns_ = std::max(last_ns_, now_ns);
  low_water_ = std::min(low_water_, idle);
  if (now_ns - window_start_ns_ >= kWindowNs) {
    // Nobody wanted the low water for a second: that much is certainly not needed soon.
    due_ = low_water_ > keep ? low_water_ - keep : 0;
    rate_ = std::max(rate_, static_cast<double>(due_) / kPayOutNs);
    if (due_ == 0) rate_ = 0;
    window_start_ns_ = now_ns;
    low_water_ = idle;
  }
  due_ = std::min(due_, idle > keep ? idle - keep : 0);

  uint64_t now = 0;
  if (due_ > 0) {
    now = std::min(due_,
                   std::max(kLeast, static_cast<uint64_t>(rate_ * static_cast<double>(passed))));
    due_ -= now;
  }
  if (limit != UINT64_MAX) {
    const uint64_t goal = limit / 10 * 9;
    if (in_use + idle > goal) now = std::max(now, std::min(idle, in_use + idle - goal));
  }
  return now;
}

}  // namespace plimsoll::alloc
