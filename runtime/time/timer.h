// A Timer sends the time once on a channel, or runs a function, after a while.
//
//   Timer timer(absl::Seconds(5));
//   Select(OnRecv(timer.C(), [] { ... }), OnRecv(work, ...));
//   timer.Stop();
//
//   Timer later = AfterFunc(absl::Seconds(5), [] { ... });   // on a goroutine of its own
//   RecvChannel<absl::Time> alarm = After(absl::Seconds(5));
//
// Stale:     once Stop or Reset has returned, no time of before can be received: no draining loop.
// Channel:   looks unbuffered (Len and Cap are 0). It holds one time until somebody receives it.
// Stop:      true if this call kept it from firing, or took back a time nobody had received. It
//            does not wait for a function that runs already.
// Lifetime:  a Timer moves, and is not copied. Its channel, or After's, keeps it going when the
//            Timer is gone; the last handle to the channel ends it. The function of an AfterFunc
//            runs whether or not its Timer still lives.
// Clock:     CLOCK_MONOTONIC; what is sent is the wall clock's time.
// Needs:     a running Main, on whichever thread: without one it is fatal, and says so. Sleep does
//            not.
// Misuse:    an AfterFunc of a nil function is fatal, "go of nil func value", as in Go; here it is
//            so at the call, whose line is told, and not when the time has passed.
#ifndef PLIMSOLL_RUNTIME_TIME_TIMER_H_
#define PLIMSOLL_RUNTIME_TIME_TIMER_H_

#include <concepts>
#include <functional>
#include <memory>
#include <source_location>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/time/timer_state.h"

namespace plimsoll {

class Timer {
 public:
  explicit Timer(absl::Duration duration);
  Timer(Timer&&) noexcept = default;
  Timer& operator=(Timer&&) noexcept = default;

  // Receives the time at which it fired. The nil channel for an AfterFunc.
  const RecvChannel<absl::Time>& C() const { return channel_; }

  // Takes it back.
  bool Stop();

  // As Stop, then starts anew. What it returns is what Stop would have.
  bool Reset(absl::Duration duration);

 private:
  friend Timer AfterFunc(absl::Duration duration, std::function<void()> f,
                         std::source_location where);

  explicit Timer(internal::FuncTimerRef func) : channel_(nullptr), func_(std::move(func)) {}
  internal::ChannelTimer& channel_timer() const;

  RecvChannel<absl::Time> channel_;
  internal::FuncTimerRef func_;  // null: a timer with a channel
};

// Runs f() after `duration`, on a goroutine of its own, unless it is stopped before.
Timer AfterFunc(absl::Duration duration, std::function<void()> f,
                std::source_location where = std::source_location::current());

// The channel of a Timer that nobody means to stop.
RecvChannel<absl::Time> After(absl::Duration duration);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_TIME_TIMER_H_
