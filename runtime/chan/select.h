// Select waits until one of several channel operations can go on, and does that one.
//
//   Select(OnRecv(jobs, [&](std::optional<Job> job) { if (job) Run(*job); }),
//          OnSend(results, result, [&] { ++sent; }),
//          Timeout(absl::Seconds(1), [&] { Log("nothing for a second"); }));
//
//   std::vector<Case> cases;                       // a list made at run time
//   for (auto& ch : inputs) cases.push_back(OnRecv(ch, Handle));
//   int which = Select(cases);
//
// Returns:   the index of the case that was taken, after its handler has run.
// Choice:    of the cases that are ready one is taken at random, each as likely as another. When
//            none is: Default if there is one, else it parks until one is, or until the shortest
//            Timeout. Exactly one case takes effect.
// Blocking:  parks the goroutine; it never polls. No case, or only nil channels: for ever.
// Order:     C++ evaluates the arguments of a call in no set order. Where Go's order of channel and
//            value expressions matters, write Select(InOrder{OnRecv(…), OnSend(…)}): within braces
//            it is from left to right. Each is evaluated once, whether it is chosen or not.
// Channels:  may be nil (never ready), and may appear twice. OnRecv and OnSend only borrow a handle
//            that has a name, which must outlive them; a temporary one they keep, and a Case keeps
//            any. (Counting references up and down would cost more than the rest of a Select.)
// Handlers:  OnRecv's takes std::optional<T> (nullopt: closed and drained) or nothing; the others
//            take nothing. All may be left out. They run on the caller, with nothing locked.
// Memory:    nothing is allocated; with a list made at run time, nothing for up to 8 cases.
// Reuse:     a case kept in a variable may be selected again. An OnSend that was not taken still
//            has its value; one that was taken holds a moved-from one until Refill().
// Misuse:    a send to a closed channel panics when it is chosen, Default or not.
#ifndef PLIMSOLL_RUNTIME_CHAN_SELECT_H_
#define PLIMSOLL_RUNTIME_CHAN_SELECT_H_

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_ref.h"
#include "plimsoll/runtime/chan/element.h"
#include "plimsoll/runtime/chan/select_core.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace internal {

struct NoHandler {
  void operator()() const {}
};

// What decides when a select ends that no channel ends.
struct SelectClock {
  int64_t deadline_ns = ChannelCore::kNever;
  int index = -1;  // the case to take then: a Default, or the shortest Timeout
  bool has_default = false;
};

// A channel that a case uses: borrowed, or kept.
class CaseChannel {
 public:
  template <typename Handle>
  static CaseChannel Of(Handle&& handle) {
    CaseChannel channel;
    channel.core_ = ChannelAccess::Ref(handle).core();
    if constexpr (!std::is_lvalue_reference_v<Handle>) channel.Keep();
    return channel;
  }

  void Keep() {
    if (core_ == nullptr || kept_.core() != nullptr) return;
    core_->AddRef();
    kept_ = ChannelRef(core_);
  }
  ChannelCore* core() const { return core_; }

 private:
  ChannelRef kept_;
  ChannelCore* core_ = nullptr;
};

// Whether F may be a receive's handler. One that takes the value is asked about nothing else.
template <typename T, typename F>
consteval bool HandlesRecv() {
  if constexpr (std::invocable<F&, std::optional<T>>) {
    return true;
  } else {
    return std::invocable<F&>;
  }
}

template <typename T, typename F>
class RecvCase {
 public:
  static constexpr bool kIsSelectCase = true;
  static constexpr bool kIsChannelOp = true;
  static constexpr bool kBindMayThrow = false;

  RecvCase(CaseChannel channel, F handler)
      : channel_(std::move(channel)), handler_(std::move(handler)) {}
  RecvCase(RecvCase&& other) noexcept(std::is_nothrow_move_constructible_v<F>)
      : channel_(std::move(other.channel_)), handler_(std::move(other.handler_)) {}

  void Bind(SelectOp& op) {
    op.core = channel_.core();
    op.slot = in_.bytes();
    op.sending = false;
  }
  void Keep() { channel_.Keep(); }
  void NotTaken() {}
  void Taken(Outcome outcome) {
    std::optional<T> value;
    if (outcome == Outcome::kDone) value = in_.Take();
    if constexpr (std::invocable<F&, std::optional<T>>) {
      handler_(std::move(value));
    } else {
      handler_();
    }
  }

 private:
  CaseChannel channel_;
  [[no_unique_address]] F handler_;
  Incoming<T> in_;
};

template <typename T, typename F>
class SendCase {
 public:
  static constexpr bool kIsSelectCase = true;
  static constexpr bool kIsChannelOp = true;
  static constexpr bool kBindMayThrow =
      !std::is_nothrow_move_constructible_v<T> || Wire<T>::kBoxed;  // a box may find no memory

  SendCase(CaseChannel channel, T value, F handler, std::source_location where)
      : channel_(std::move(channel)),
        value_(std::move(value)),
        handler_(std::move(handler)),
        where_(where) {}
  SendCase(SendCase&& other) noexcept(std::is_nothrow_move_constructible_v<T> &&
                                      std::is_nothrow_move_constructible_v<F>)
      : channel_(std::move(other.channel_)),
        value_(std::move(other.value_)),
        handler_(std::move(other.handler_)),
        where_(other.where_) {}

  void Bind(SelectOp& op) {
    NotTaken();  // of the select before, if one that gave back before us threw
    out_.emplace(std::move(value_));
    op.core = channel_.core();
    op.slot = const_cast<void*>(out_->bytes());  // a select only reads what it sends
    op.sending = true;
  }
  void NotTaken() {
    if (!out_.has_value()) return;  // never bound: a case before it threw
    value_ = std::move(out_->value());
    out_.reset();
  }
  void Taken(Outcome outcome) {
    if (outcome == Outcome::kClosed) {
      NotTaken();
      ThrowPanic("send on closed channel", where_);
    }
    out_->Forget();
    out_.reset();
    handler_();
  }
  void Keep() { channel_.Keep(); }
  // A new value for the next Select.
  void Refill(T value) { value_ = std::move(value); }

 private:
  CaseChannel channel_;
  T value_;
  [[no_unique_address]] F handler_;
  std::source_location where_;
  std::optional<Outgoing<T>> out_;  // engaged while a select runs
};

template <typename F>
class DefaultCase {
 public:
  static constexpr bool kIsSelectCase = true;
  static constexpr bool kIsChannelOp = false;
  static constexpr bool kBindMayThrow = false;

  explicit DefaultCase(F handler) : handler_(std::move(handler)) {}
  void SetClock(SelectClock& clock, int index) const {
    clock = {ChannelCore::kAtOnce, index, true};
  }
  void Taken() { handler_(); }

 private:
  [[no_unique_address]] F handler_;
};

template <typename F>
class TimeoutCase {
 public:
  static constexpr bool kIsSelectCase = true;
  static constexpr bool kIsChannelOp = false;
  static constexpr bool kBindMayThrow = false;

  TimeoutCase(absl::Duration timeout, F handler)
      : timeout_(timeout), handler_(std::move(handler)) {}
  void SetClock(SelectClock& clock, int index) const {
    if (clock.has_default) return;
    const int64_t deadline_ns = DeadlineAfter(timeout_);
    if (deadline_ns < clock.deadline_ns) clock = {deadline_ns, index, false};
  }
  void Taken() { handler_(); }

 private:
  absl::Duration timeout_;
  [[no_unique_address]] F handler_;
};

template <typename C>
concept SelectCase = std::remove_cvref_t<C>::kIsSelectCase;

// Which case was taken: an op of the run, or the one that the clock names.
inline int IndexOf(const Selected& selected, const SelectClock& clock, const int* case_of_op) {
  return selected.index >= 0 ? case_of_op[selected.index] : clock.index;
}

}  // namespace internal

// Receives from `channel`: any handle that can.
template <typename Handle, typename F = internal::NoHandler>
auto OnRecv(Handle&& channel, F handler = {}) {
  using T = typename std::remove_cvref_t<Handle>::value_type;
  static_assert(
      std::is_base_of_v<RecvSide<std::remove_cvref_t<Handle>, T>, std::remove_cvref_t<Handle>>,
      "OnRecv takes a Channel or a RecvChannel");
  static_assert(
      internal::HandlesRecv<T, F>(),
      "OnRecv's handler takes nothing or a std::optional<T>: empty when the channel is closed");
  return internal::RecvCase<T, F>(internal::CaseChannel::Of(std::forward<Handle>(channel)),
                                  std::move(handler));
}

// Sends `value` to `channel`: any handle that can.
template <typename Handle, std::invocable F = internal::NoHandler>
auto OnSend(Handle&& channel, typename std::remove_cvref_t<Handle>::value_type value,
            F handler = {}, std::source_location where = std::source_location::current()) {
  using T = typename std::remove_cvref_t<Handle>::value_type;
  static_assert(
      std::is_base_of_v<SendSide<std::remove_cvref_t<Handle>, T>, std::remove_cvref_t<Handle>>,
      "OnSend takes a Channel or a SendChannel");
  return internal::SendCase<T, F>(internal::CaseChannel::Of(std::forward<Handle>(channel)),
                                  std::move(value), std::move(handler), where);
}

// Is taken when none is ready; Select then does not park.
template <std::invocable F = internal::NoHandler>
auto Default(F handler = {}) {
  return internal::DefaultCase<F>(std::move(handler));
}

// Is taken when none was ready for `timeout`.
template <std::invocable F = internal::NoHandler>
auto Timeout(absl::Duration timeout, F handler = {}) {
  return internal::TimeoutCase<F>(timeout, std::move(handler));
}

template <internal::SelectCase... Cases>
int Select(Cases&&... cases) {
  constexpr size_t kOps = (size_t{0} + ... + size_t{std::remove_cvref_t<Cases>::kIsChannelOp});
  std::array<internal::SelectOp, kOps> ops;
  std::array<int, kOps> case_of_op;
  internal::SelectClock clock;
  size_t n = 0;
  int index = 0;
  [[maybe_unused]] const auto prepare = [&]<typename C>(C& c) {
    if constexpr (C::kIsChannelOp) {
      c.Bind(ops[n]);
      case_of_op[n++] = index;
    } else {
      c.SetClock(clock, index);
    }
    ++index;
  };
  if constexpr ((false || ... || std::remove_cvref_t<Cases>::kBindMayThrow)) {
    try {
      (prepare(cases), ...);
    } catch (...) {  // a move of a value's: those before it are given back
      [[maybe_unused]] const auto unbind = []<typename C>(C& c) {
        if constexpr (C::kIsChannelOp) c.NotTaken();
      };
      (unbind(cases), ...);
      throw;
    }
  } else {
    (prepare(cases), ...);
  }

  const internal::Selected selected = internal::SelectRun::Run(ops, clock.deadline_ns);
  const int taken = internal::IndexOf(selected, clock, case_of_op.data());

  // First give back what was not sent: the handler may throw, or select again.
  index = 0;
  [[maybe_unused]] const auto give_back = [&]<typename C>(C& c) {
    if constexpr (C::kIsChannelOp) {
      if (index != taken) c.NotTaken();
    }
    ++index;
  };
  (give_back(cases), ...);
  index = 0;
  [[maybe_unused]] const auto run_handler = [&]<typename C>(C& c) {
    if (index++ != taken) return;
    if constexpr (C::kIsChannelOp) {
      c.Taken(selected.outcome);
    } else {
      c.Taken();
    }
  };
  (run_handler(cases), ...);
  return taken;
}

// Cases whose expressions are evaluated in the order in which they are written.
template <typename... Cases>
struct InOrder {
  explicit InOrder(Cases... c) : cases(std::move(c)...) {}
  std::tuple<Cases...> cases;
};

template <typename... Cases>
int Select(InOrder<Cases...>&& in_order) {
  return std::apply([](auto&... cases) { return Select(cases...); }, in_order.cases);
}

// Any case, for a list made at run time.
class Case {
 public:
  template <internal::SelectCase C>
  Case(C c)  // NOLINT: made from what OnRecv and its like return
      : impl_(std::make_unique<Impl<C>>(std::move(c))) {}

 private:
  friend int Select(std::span<Case> cases);

  struct Any {
    virtual ~Any() = default;
    virtual bool is_channel_op() const = 0;
    virtual void Bind(internal::SelectOp& op) = 0;
    virtual void SetClock(internal::SelectClock& clock, int index) = 0;
    virtual void NotTaken() = 0;
    virtual void Taken(internal::Outcome outcome) = 0;
  };
  template <typename C>
  struct Impl final : Any {
    explicit Impl(C from) : c(std::move(from)) {
      if constexpr (C::kIsChannelOp) c.Keep();
    }
    bool is_channel_op() const override { return C::kIsChannelOp; }
    void Bind([[maybe_unused]] internal::SelectOp& op) override {
      if constexpr (C::kIsChannelOp) c.Bind(op);
    }
    void SetClock([[maybe_unused]] internal::SelectClock& clock,
                  [[maybe_unused]] int index) override {
      if constexpr (!C::kIsChannelOp) c.SetClock(clock, index);
    }
    void NotTaken() override {
      if constexpr (C::kIsChannelOp) c.NotTaken();
    }
    void Taken([[maybe_unused]] internal::Outcome outcome) override {
      if constexpr (C::kIsChannelOp) {
        c.Taken(outcome);
      } else {
        c.Taken();
      }
    }
    C c;
  };
  std::unique_ptr<Any> impl_;
};

int Select(std::span<Case> cases);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CHAN_SELECT_H_
