#include "plimsoll/runtime/time/sleep.h"

#include "plimsoll/runtime/chan/deadline.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

void Sleep(absl::Duration duration) {
  if (duration <= absl::ZeroDuration()) return;
  sched::WakeClaim nobody_else;
  sched::ParkUntil(
      sched::WaitReason::kSleep, internal::NanosFromNow(duration), nobody_else,
      [](sched::G*, void*) { return true; }, nullptr);
}

}  // namespace plimsoll
