// A ChannelRef is one counted reference to a channel, or to none: what every handle holds.
#ifndef PLIMSOLL_RUNTIME_CHAN_CHANNEL_REF_H_
#define PLIMSOLL_RUNTIME_CHAN_CHANNEL_REF_H_

#include <cstddef>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::internal {

class ChannelRef {
 public:
  ChannelRef() = default;
  // Takes over the reference that Make returned.
  explicit ChannelRef(ChannelCore* core) : core_(core) {}
  ChannelRef(const ChannelRef& other) : core_(other.core_) {
    if (core_ != nullptr) core_->AddRef();
  }
  ChannelRef(ChannelRef&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  ChannelRef& operator=(ChannelRef other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~ChannelRef() {
    if (core_ != nullptr) core_->Release();
  }

  ChannelCore* core() const { return core_; }
  size_t Len() const { return core_ == nullptr ? 0 : core_->Len(); }
  size_t Cap() const { return core_ == nullptr ? 0 : core_->Cap(); }
  friend bool operator==(const ChannelRef&, const ChannelRef&) = default;

 private:
  ChannelCore* core_ = nullptr;
};

// The way from a handle to its reference, for Select and for the narrower handles.
class ChannelAccess {
 public:
  template <typename Handle>
  static const ChannelRef& Ref(const Handle& handle) {
    return handle.ref_;
  }
};

// The moment `timeout` from now on sched::NowNanos()'s clock: kAtOnce when it is not positive,
// kNever when it lies beyond the clock's range.
int64_t DeadlineAfter(absl::Duration timeout);

// A wait on a nil channel: nothing ever comes, but a deadline may pass.
void WaitOnNil(sched::WaitReason reason, int64_t deadline_ns);

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_CHANNEL_REF_H_
