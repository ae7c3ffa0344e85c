#include "plimsoll/runtime/time/timer.h"

#include "plimsoll/runtime/chan/deadline.h"
#include "plimsoll/runtime/panic/nil.h"

namespace plimsoll {

Timer::Timer(absl::Duration duration) : channel_(internal::ChannelTimer::MakeChannel()) {
  channel_timer().Start(internal::NanosFromNow(duration), /*period_ns=*/0);
}

internal::ChannelTimer& Timer::channel_timer() const {
  return internal::ChannelTimer::Of(channel_);
}

bool Timer::Stop() { return func_ != nullptr ? func_->Stop() : channel_timer().Stop(); }

bool Timer::Reset(absl::Duration duration) {
  const bool was_active = Stop();
  const int64_t when_ns = internal::NanosFromNow(duration);
  if (func_ != nullptr) {
    func_->Start(when_ns);
  } else {
    channel_timer().Start(when_ns, /*period_ns=*/0);
  }
  return was_active;
}

Timer AfterFunc(absl::Duration duration, std::function<void()> f, std::source_location where) {
  if (internal::IsNil(f)) internal::FatalGoOfNil(where);
  internal::FuncTimerRef func(new internal::FuncTimer(std::move(f)));
  func->Start(internal::NanosFromNow(duration));
  return Timer(std::move(func));
}

RecvChannel<absl::Time> After(absl::Duration duration) { return Timer(duration).C(); }

}  // namespace plimsoll
