// A Ticker sends the time on a channel, again and again.
//
//   Ticker ticker(absl::Seconds(1));
//   for (;;) { ticker.C().Recv(); Report(); }
//
// Slow:      a tick that nobody has received when the next comes is dropped; there is no burst to
//            catch up. The ticks stay on the grid of the period.
// Stale:     once Stop or Reset has returned, no tick of before can be received. Stop does not
//            close the channel.
// Channel:   looks unbuffered (Len and Cap are 0).
// Lifetime:  a Ticker moves, and is not copied; its channel keeps it going.
// Misuse:    a period of zero or less panics with Go's text.
#ifndef PLIMSOLL_RUNTIME_TIME_TICKER_H_
#define PLIMSOLL_RUNTIME_TIME_TICKER_H_

#include <source_location>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/time/timer_state.h"

namespace plimsoll {

class Ticker {
 public:
  explicit Ticker(absl::Duration period,
                  std::source_location where = std::source_location::current());
  Ticker(Ticker&&) noexcept = default;
  Ticker& operator=(Ticker&&) noexcept = default;

  const RecvChannel<absl::Time>& C() const { return channel_; }

  void Stop();
  void Reset(absl::Duration period, std::source_location where = std::source_location::current());

 private:
  RecvChannel<absl::Time> channel_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_TIME_TICKER_H_
