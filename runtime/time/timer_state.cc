#include "plimsoll/runtime/time/timer_state.h"

#include <time.h>

#include <limits>

#include "plimsoll/runtime/chan/channel_ref.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {
namespace {

// Not absl::Now(): this runs where nothing may be locked.
absl::Time WallClock() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return absl::TimeFromTimespec(now);
}

}  // namespace

Channel<absl::Time> ChannelTimer::MakeChannel() {
  Channel<absl::Time> channel(1);
  ChannelCore* core = ChannelAccess::Ref(channel).core();
  core->Attach(std::make_unique<ChannelTimer>(core));
  return channel;
}

ChannelTimer& ChannelTimer::Of(const RecvChannel<absl::Time>& channel) {
  return *static_cast<ChannelTimer*>(ChannelAccess::Ref(channel).core()->attachment());
}

void ChannelTimer::Start(int64_t when_ns, int64_t period_ns) {
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    when_ns_ = when_ns;
    period_ns_ = period_ns;
  }
  timer_.Arm(when_ns);
}

bool ChannelTimer::Stop() {
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    period_ns_ = 0;  // by (2)
  }
  const bool was_pending = timer_.Disarm();  // a run in progress has sent what it sends
  const bool was_sent = core_->Drain();
  return was_pending || was_sent;
}

void ChannelTimer::Fire(void* self, int64_t now_ns) {
  auto* timer = static_cast<ChannelTimer*>(self);
  {
    base::SpinLockHolder hold(timer->mu_);
    if (timer->period_ns_ > 0) {
      // The next point of the grid that lies ahead.
      const int64_t passed = (now_ns - timer->when_ns_) / timer->period_ns_ + 1;
      timer->when_ns_ += passed * timer->period_ns_;
      timer->timer_.Arm(timer->when_ns_);
    }
  }
  const absl::Time now = WallClock();
  static_assert(!Wire<absl::Time>::kBoxed);
  // Full: the reader is slow, and this tick is dropped.
  (void)timer->core_->Send<Wire<absl::Time>::kSize>(&now, ChannelCore::kAtOnce);
}

void FuncTimer::Start(int64_t when_ns) {
  AddRef();                            // the armed timer's
  if (timer_.Arm(when_ns)) Release();  // it was armed, and had one
}

bool FuncTimer::Stop() {
  if (!timer_.Disarm()) return false;
  Release();
  return true;
}

void FuncTimer::Fire(void* self, int64_t) {
  auto* timer = static_cast<FuncTimer*>(self);
  // The goroutine takes over the armed timer's reference. If it is the last and drops it while we
  // still return from here, ~SchedTimer waits for us.
  plimsoll::Go([timer] {
    struct ReleaseAtEnd {
      FuncTimer* timer;
      ~ReleaseAtEnd() { timer->Release(); }
    } at_end{timer};
    timer->f_();
  });
}

}  // namespace plimsoll::internal
