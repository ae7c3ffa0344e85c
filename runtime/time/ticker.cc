#include "plimsoll/runtime/time/ticker.h"

#include <algorithm>

#include "plimsoll/runtime/chan/deadline.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace {

int64_t PeriodNanos(absl::Duration period) {
  return std::max<int64_t>(absl::ToInt64Nanoseconds(period), 1);
}

}  // namespace

Ticker::Ticker(absl::Duration period, std::source_location where) : channel_(nullptr) {
  if (period <= absl::ZeroDuration()) {
    internal::ThrowPanic("non-positive interval for NewTicker", where);
  }
  channel_ = internal::ChannelTimer::MakeChannel();
  internal::ChannelTimer::Of(channel_).Start(internal::NanosFromNow(period), PeriodNanos(period));
}

void Ticker::Stop() { (void)internal::ChannelTimer::Of(channel_).Stop(); }

void Ticker::Reset(absl::Duration period, std::source_location where) {
  if (period <= absl::ZeroDuration()) {
    internal::ThrowPanic("non-positive interval for Ticker.Reset", where);
  }
  Stop();
  internal::ChannelTimer::Of(channel_).Start(internal::NanosFromNow(period), PeriodNanos(period));
}

}  // namespace plimsoll
