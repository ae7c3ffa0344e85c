#include "plimsoll/runtime/chan/channel_ref.h"

#include "plimsoll/runtime/chan/deadline.h"

namespace plimsoll::internal {

int64_t DeadlineAfter(absl::Duration timeout) {
  if (timeout <= absl::ZeroDuration()) return ChannelCore::kAtOnce;
  return NanosFromNow(timeout);
}

void WaitOnNil(sched::WaitReason reason, int64_t deadline_ns) {
  if (deadline_ns == ChannelCore::kAtOnce) return;
  if (deadline_ns == ChannelCore::kNever) BlockForEver(reason);
  sched::WakeClaim claim;
  sched::ParkUntil(reason, deadline_ns, claim, [](sched::G*, void*) { return true; }, nullptr);
}

}  // namespace plimsoll::internal
