// What stands behind Timer, Ticker and AfterFunc: a SchedTimer, and what it does when it fires.
//
//   ChannelTimer   owned by the channel that it sends to (ChannelAttachment): it dies first, and
//                  its SchedTimer waits there for a run in progress
//   FuncTimer      counted: by the Timer, and by the goroutine that runs the function or by the
//                  armed timer that will start one
//
// Invariants:
//   (1) A one-shot timer does not arm itself: after Disarm it is quiet.
//   (2) A ticker arms itself under mu, if period_ns is not 0; Stop sets that to 0 under mu before
//       it disarms.
//   (3) Nobody is readied under mu.
#ifndef PLIMSOLL_RUNTIME_TIME_TIMER_STATE_H_
#define PLIMSOLL_RUNTIME_TIME_TIMER_STATE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::internal {

class ChannelTimer final : public ChannelAttachment {
 public:
  // A channel that a new ChannelTimer sends to; it is not armed yet.
  static Channel<absl::Time> MakeChannel();
  // The timer of such a channel.
  static ChannelTimer& Of(const RecvChannel<absl::Time>& channel);

  explicit ChannelTimer(ChannelCore* core) : core_(core), timer_(Fire, this) {}

  // Fires at when_ns, and from then on every period_ns if that is not 0.
  void Start(int64_t when_ns, int64_t period_ns);

  // True: it was pending, or had sent a time that nobody had received.
  bool Stop();

 private:
  static void Fire(void* self, int64_t now_ns);

  ChannelCore* const core_;  // it owns us
  base::SpinLock mu_;
  int64_t when_ns_ = 0;    // guarded by mu_, as is period_ns_
  int64_t period_ns_ = 0;  // 0: once
  sched::SchedTimer timer_;
};

class FuncTimer {
 public:
  explicit FuncTimer(std::function<void()> f) : f_(std::move(f)), timer_(Fire, this) {}

  void Start(int64_t when_ns);
  // True: it was pending.
  bool Stop();

  void AddRef() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Release() {
    // acq_rel: the last owner sees what the others did before they let go
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  static void Fire(void* self, int64_t now_ns);

  const std::function<void()> f_;
  std::atomic<int> refs_{1};
  sched::SchedTimer timer_;
};

// The Timer's reference.
struct ReleaseFuncTimer {
  void operator()(FuncTimer* timer) const { timer->Release(); }
};
using FuncTimerRef = std::unique_ptr<FuncTimer, ReleaseFuncTimer>;

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_TIME_TIMER_STATE_H_
