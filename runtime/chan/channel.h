// A Channel carries values of type T between goroutines, first in, first out.
//
//   Channel<Job> jobs(/*capacity=*/8);
//   Go([jobs] { jobs.Send(Job{1}); jobs.Close(); });
//   while (std::optional<Job> job = jobs.Recv()) Run(*job);      // or: for (Job& job : jobs)
//   Run(job);
//
// Handle:    a Channel is a reference. Copies name one channel; the last copy frees it, and what
//            is still in its buffer. SendChannel<T> and RecvChannel<T> are handles to one end.
// Capacity:  counts values, not bytes. Zero is a rendezvous: Send waits for its Recv.
// Blocking:  parks the goroutine, never its thread. A thread of your own is blocked instead.
// Threads:   any number of goroutines, and of threads, may use a channel at once. A handle object
//            itself is a plain value: give each goroutine its copy.
// Ordering:  what precedes Send(v) is visible after the Recv that returns v; what precedes
//            Close() is visible after a Recv that returns nullopt; the k-th Recv precedes the end
//            of the (k + capacity)-th Send. Those who wait are served in the order they came.
// Values:    anything std::movable. A value is moved into the channel and out of it, never under a
//            lock. A move that throws in Send sends nothing; in Recv, that value is lost. Types
//            that are not kBitwiseMovable cost one allocation a value.
// Nil:       Channel<T>(nullptr) is Go's nil channel: it blocks for ever; its Len and Cap are 0.
// Misuse:    Send after Close, a second Close, Close of nil, and a negative or huge capacity panic
//            with Go's text and the caller's line.
#ifndef PLIMSOLL_RUNTIME_CHAN_CHANNEL_H_
#define PLIMSOLL_RUNTIME_CHAN_CHANNEL_H_

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/chan/channel_ref.h"
#include "plimsoll/runtime/chan/element.h"

namespace plimsoll {

// What a receive that need not wait found.
enum class RecvStatus : uint8_t {
  kValue,
  kEmpty,   // nothing yet
  kClosed,  // nothing, and nothing will come
};

template <typename T>
struct TryRecvResult {
  RecvStatus status;
  std::optional<T> value;  // engaged exactly when status is kValue
};

// What every handle that may send can do.
template <typename Handle, typename T>
class SendSide {
 public:
  // Delivers `value`, parking while the channel is full.
  void Send(T value, std::source_location where = std::source_location::current()) const {
    internal::Outgoing<T> out(std::move(value));
    if (core() == nullptr) internal::BlockForEver(sched::WaitReason::kChanSendNil);
    Finish(out, core()->template Send<internal::Wire<T>::kSize>(out.bytes()), where);
  }

  // Delivers `value` only if it need not park. False: the channel is full, `value` is what it was,
  // as it is where the channel is closed and this panics.
  [[nodiscard]] bool TrySend(T& value,
                             std::source_location where = std::source_location::current()) const {
    return SendUntil(value, internal::ChannelCore::kAtOnce, where);
  }

  // As Send, for at most `timeout`. False: it passed, `value` is untouched.
  [[nodiscard]] bool TrySendFor(
      T& value, absl::Duration timeout,
      std::source_location where = std::source_location::current()) const {
    return SendUntil(value, internal::DeadlineAfter(timeout), where);
  }

  // Ends the stream. Values already sent are still received; parked receivers wake, parked
  // senders panic.
  void Close(std::source_location where = std::source_location::current()) const {
    if (core() == nullptr) internal::ThrowPanic("close of nil channel", where);
    if (core()->Close() == internal::Outcome::kClosed) {
      internal::ThrowPanic("close of closed channel", where);
    }
  }

 private:
  friend Handle;  // and nobody else is one
  SendSide() = default;

  internal::ChannelCore* core() const { return static_cast<const Handle*>(this)->ref_.core(); }

  static bool Finish(internal::Outgoing<T>& out, internal::Outcome outcome,
                     std::source_location where) {
    if (outcome == internal::Outcome::kDone) [[likely]] {
      out.Forget();
      return true;
    }
    if (outcome == internal::Outcome::kClosed) {
      internal::ThrowPanic("send on closed channel", where);
    }
    return false;
  }

  bool SendUntil(T& value, int64_t deadline_ns, std::source_location where) const {
    if (core() == nullptr) {
      internal::WaitOnNil(sched::WaitReason::kChanSendNil, deadline_ns);
      return false;
    }
    internal::Outgoing<T> out(std::move(value));
    const internal::Outcome outcome =
        core()->template Send<internal::Wire<T>::kSize>(out.bytes(), deadline_ns);
    if (outcome != internal::Outcome::kDone) value = std::move(out.value());
    return Finish(out, outcome, where);
  }
};

// What every handle that may receive can do.
template <typename Handle, typename T>
class RecvSide {
 public:
  // Returns the oldest value, parking while there is none. nullopt: closed and drained.
  std::optional<T> Recv() const {
    if (core() == nullptr) internal::BlockForEver(sched::WaitReason::kChanReceiveNil);
    internal::Incoming<T> in;
    if (core()->template Recv<internal::Wire<T>::kSize>(in.bytes()) == internal::Outcome::kDone)
        [[likely]] {
      return in.Take();
    }
    return std::nullopt;
  }

  // As Recv, and tells apart why there is no value; never parks.
  [[nodiscard]] TryRecvResult<T> TryRecv() const {
    return RecvUntil(internal::ChannelCore::kAtOnce);
  }

  // As Recv, for at most `timeout`: kEmpty when it passed.
  [[nodiscard]] TryRecvResult<T> TryRecvFor(absl::Duration timeout) const {
    return RecvUntil(internal::DeadlineAfter(timeout));
  }

  // Receives until the channel is closed and drained.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;

    explicit Iterator(const RecvSide& channel) : channel_(&channel), value_(channel.Recv()) {}
    T& operator*() { return *value_; }
    Iterator& operator++() {
      value_ = channel_->Recv();
      return *this;
    }
    bool operator!=(std::default_sentinel_t) const { return value_.has_value(); }
    bool operator==(std::default_sentinel_t) const { return !value_.has_value(); }

   private:
    const RecvSide* channel_;
    std::optional<T> value_;
  };
  Iterator begin() const { return Iterator(*this); }
  std::default_sentinel_t end() const { return std::default_sentinel; }

 private:
  friend Handle;  // and nobody else is one
  RecvSide() = default;

  internal::ChannelCore* core() const { return static_cast<const Handle*>(this)->ref_.core(); }

  TryRecvResult<T> RecvUntil(int64_t deadline_ns) const {
    if (core() == nullptr) {
      internal::WaitOnNil(sched::WaitReason::kChanReceiveNil, deadline_ns);
      return {RecvStatus::kEmpty, std::nullopt};
    }
    internal::Incoming<T> in;
    switch (core()->template Recv<internal::Wire<T>::kSize>(in.bytes(), deadline_ns)) {
      case internal::Outcome::kDone:
        return {RecvStatus::kValue, in.Take()};
      case internal::Outcome::kClosed:
        return {RecvStatus::kClosed, std::nullopt};
      default:
        return {RecvStatus::kEmpty, std::nullopt};
    }
  }
};

template <std::movable T>
class Channel : public SendSide<Channel<T>, T>, public RecvSide<Channel<T>, T> {
 public:
  using value_type = T;

  explicit Channel(size_t capacity = 0,
                   std::source_location where = std::source_location::current())
      : ref_(internal::ChannelCore::Make(internal::Wire<T>::kInfo, capacity, where)) {}

  // The nil channel. (A template, so that Channel<int>(0) is not ambiguous.)
  template <std::same_as<std::nullptr_t> Nil>
  Channel(Nil) {}  // NOLINT: a nil channel is written nullptr

  size_t Len() const { return ref_.Len(); }
  size_t Cap() const { return ref_.Cap(); }

  // Whether two handles name one channel.
  friend bool operator==(const Channel& a, const Channel& b) { return a.ref_ == b.ref_; }
  friend bool operator==(const Channel& a, std::nullptr_t) { return a.ref_.core() == nullptr; }

 private:
  friend class SendSide<Channel, T>;
  friend class RecvSide<Channel, T>;
  friend class internal::ChannelAccess;
  internal::ChannelRef ref_;
};

// The end of a channel that can only send and close.
template <std::movable T>
class SendChannel : public SendSide<SendChannel<T>, T> {
 public:
  using value_type = T;

  SendChannel(const Channel<T>& channel)  // NOLINT: a narrower view, as in Go
      : ref_(internal::ChannelAccess::Ref(channel)) {}
  template <std::same_as<std::nullptr_t> Nil>
  SendChannel(Nil) {}  // NOLINT: a nil channel is written nullptr

  size_t Len() const { return ref_.Len(); }
  size_t Cap() const { return ref_.Cap(); }
  friend bool operator==(const SendChannel& a, const SendChannel& b) { return a.ref_ == b.ref_; }
  friend bool operator==(const SendChannel& a, std::nullptr_t) { return a.ref_.core() == nullptr; }

 private:
  friend class SendSide<SendChannel, T>;
  friend class internal::ChannelAccess;
  internal::ChannelRef ref_;
};

// The end of a channel that can only receive.
template <std::movable T>
class RecvChannel : public RecvSide<RecvChannel<T>, T> {
 public:
  using value_type = T;

  RecvChannel(const Channel<T>& channel)  // NOLINT: a narrower view, as in Go
      : ref_(internal::ChannelAccess::Ref(channel)) {}
  template <std::same_as<std::nullptr_t> Nil>
  RecvChannel(Nil) {}  // NOLINT: a nil channel is written nullptr

  size_t Len() const { return ref_.Len(); }
  size_t Cap() const { return ref_.Cap(); }
  friend bool operator==(const RecvChannel& a, const RecvChannel& b) { return a.ref_ == b.ref_; }
  friend bool operator==(const RecvChannel& a, std::nullptr_t) { return a.ref_.core() == nullptr; }

 private:
  friend class RecvSide<RecvChannel, T>;
  friend class internal::ChannelAccess;
  internal::ChannelRef ref_;
};

// A handle is one pointer that counts: its bytes may move.
template <typename T>
inline constexpr bool kBitwiseMovable<Channel<T>> = true;
template <typename T>
inline constexpr bool kBitwiseMovable<SendChannel<T>> = true;
template <typename T>
inline constexpr bool kBitwiseMovable<RecvChannel<T>> = true;

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CHAN_CHANNEL_H_
