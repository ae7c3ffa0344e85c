#include "plimsoll/container/health/heartbeat.h"

#include <time.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace plimsoll::container {

int64_t MonotonicNowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Heartbeat::Heartbeat(absl::Duration max_age, NowNs now)
    : max_age_ns_(absl::ToInt64Nanoseconds(max_age)), now_(now), last_ns_(now()) {}

absl::Status Heartbeat::Check() const {
  // The beat is read before the clock: the other order could see a beat younger than "now".
  const int64_t last = last_ns_.load(std::memory_order_relaxed);
  const int64_t age = now_() - last;
  if (age <= max_age_ns_) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("no beat for ", absl::FormatDuration(absl::Nanoseconds(age)), ", at most ",
                   absl::FormatDuration(absl::Nanoseconds(max_age_ns_)), " allowed"));
}

}  // namespace plimsoll::container
