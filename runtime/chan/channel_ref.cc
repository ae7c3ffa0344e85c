#include "plimsoll/runtime/chan/channel_ref.h"

namespace plimsoll::internal {

int64_t DeadlineAfter(absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration()) return ChannelCore::kAtOnce;
  const int64_t now = sched::NowNanos();
  // ToInt64Nanoseconds saturates at INT64_MAX, which is infinite time too.
  const int64_t ns = absl::ToInt64Nanoseconds(timeout);
  return ns >= ChannelCore::kNever - now ? ChannelCore::kNever : now + ns;
}

void WaitOnNil(sched::WaitReason reason, int64_t deadline_ns) {
  if (deadline_ns == ChannelCore::kAtOnce) return;
  if (deadline_ns == ChannelCore::kNever) BlockForEver(reason);
  sched::WakeClaim claim;
  sched::ParkUntil(reason, deadline_ns, claim, [](sched::G*, void*) { return true; }, nullptr);
}

}  // namespace plimsoll::internal
