// ChannelPeek counts who waits on a channel, so that a test can wait for a state and not for a
// time.
//
//   Go([ch] { ch.Send(1); });
//   ChannelPeek::AwaitSenders(ch, 1);   // returns once that goroutine is queued
#ifndef PLIMSOLL_RUNTIME_CHAN_CHANNEL_PEEK_H_
#define PLIMSOLL_RUNTIME_CHAN_CHANNEL_PEEK_H_

#include <cstddef>

#include "plimsoll/runtime/chan/channel_ref.h"

namespace plimsoll::internal {

class ChannelPeek {
 public:
  template <typename Handle>
  static size_t Senders(const Handle& handle) {
    return Count(ChannelAccess::Ref(handle).core(), /*senders=*/true);
  }
  template <typename Handle>
  static size_t Receivers(const Handle& handle) {
    return Count(ChannelAccess::Ref(handle).core(), /*senders=*/false);
  }
  template <typename Handle>
  static void AwaitSenders(const Handle& handle, size_t n) {
    while (Senders(handle) != n) sched::Yield();
  }
  template <typename Handle>
  static void AwaitReceivers(const Handle& handle, size_t n) {
    while (Receivers(handle) != n) sched::Yield();
  }

 private:
  static size_t Count(ChannelCore* core, bool senders) {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(core->mu_);
    return (senders ? core->sendq_ : core->recvq_).Count();
  }
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_CHANNEL_PEEK_H_
