// A Context tells work that it is no longer wanted, until when it is, and for whom it is done.
//
//   auto [ctx, cancel] = WithTimeout(parent, absl::Seconds(2));
//   Go([ctx = ctx] { Select(OnRecv(jobs, Run), OnDone(ctx, [] { /* give up */ })); });
//   cancel();                       // at the latest when the work is done
//
// Handle:    a Context is a value, and the first parameter of what heeds it. Copies name one
//            context.
// Tree:      cancelling a context cancels all that were made from it, before cancel returns, and
//            never what it was made from. A second cancel does nothing but wait, as any does, while
//            another call is still at what it would have cancelled: it parks, or blocks its thread.
// Err:       OK while it is wanted; then kCancelled "context canceled" or kDeadlineExceeded
//            "context deadline exceeded". Cause() is what was given with the cancel, or Err().
// Done:      a channel that is closed when it is cancelled; made when it is first asked for. Nil
//            for Background and for what cannot be cancelled.
// Deadline:  the earliest of its own and its parents'; one that has passed cancels at once.
// Threads:   any, all of it.
// Memory:    a child leaves its parent when it is cancelled or its last handle goes; one with a
//            deadline stays until it is cancelled or the deadline has passed.
// Misuse:    a context made from nil, and any question to the nil context, panics with Go's text
//            and the caller's line. (A nil key does not compile.) An AfterFunc of a nil function is
//            fatal, as in Go; here it is so at the call.
#ifndef PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_H_
#define PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_H_

#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string_view>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context_node.h"
#include "plimsoll/runtime/panic/nil.h"

namespace plimsoll {

// What a value is filed under. Its address is its identity: declare it once, at namespace scope.
//
//   inline constexpr ContextKey<User> kUser("user");
template <typename T>
class ContextKey {
 public:
  explicit constexpr ContextKey(std::string_view name) : name_(name) {}
  ContextKey(const ContextKey&) = delete;
  ContextKey& operator=(const ContextKey&) = delete;
  std::string_view name() const { return name_; }

 private:
  std::string_view name_;
};

class Context {
 public:
  Context() = default;  // the nil context: good for nothing but to be assigned to
  explicit Context(internal::ContextNodeRef node) : node_(std::move(node)) {}  // for this room

  RecvChannel<std::monostate> Done(
      std::source_location where = std::source_location::current()) const {
    return Asked(where).Done();
  }
  absl::Status Err(std::source_location where = std::source_location::current()) const {
    return Asked(where).Err();
  }
  absl::Status Cause(std::source_location where = std::source_location::current()) const {
    return Asked(where).Cause();
  }
  std::optional<absl::Time> Deadline(
      std::source_location where = std::source_location::current()) const {
    return Asked(where).deadline();
  }

  // What was filed under `key` in this context or the nearest one above; null when nothing was.
  // Lives as long as this context.
  template <typename T>
  const T* Value(const ContextKey<T>& key,
                 std::source_location where = std::source_location::current()) const {
    return static_cast<const T*>(Asked(where).FindValue(&key));
  }

  friend bool operator==(const Context& a, const Context& b) { return a.node_ == b.node_; }
  friend bool operator==(const Context& a, std::nullptr_t) { return a.node_.get() == nullptr; }

  internal::ContextNode* node() const { return node_.get(); }  // for this room

 private:
  internal::ContextNode& Asked(std::source_location where) const {
    if (node_.get() == nullptr) [[unlikely]]
      internal::PanicOfNil(where);
    return *node_.get();
  }

  internal::ContextNodeRef node_;
};

// Cancels the context it came with. A value; copies cancel the same one.
class CancelFunc {
 public:
  explicit CancelFunc(internal::ContextNodeRef node) : node_(std::move(node)) {}
  void operator()() const;

 private:
  internal::ContextNodeRef node_;
};

// As CancelFunc, with a cause. An OK cause stands for none.
class CancelCauseFunc {
 public:
  explicit CancelCauseFunc(internal::ContextNodeRef node) : node_(std::move(node)) {}
  void operator()(const absl::Status& cause) const;

 private:
  internal::ContextNodeRef node_;
};

struct CancellableContext {
  Context ctx;
  CancelFunc cancel;
};
struct CauseCancellableContext {
  Context ctx;
  CancelCauseFunc cancel;
};

// The root: never cancelled, no values, no deadline.
const Context& Background();
// The same, where it is not clear yet which to use.
const Context& TODO();

CancellableContext WithCancel(const Context& parent,
                              std::source_location where = std::source_location::current());
CauseCancellableContext WithCancelCause(
    const Context& parent, std::source_location where = std::source_location::current());
CancellableContext WithDeadline(const Context& parent, absl::Time deadline,
                                std::source_location where = std::source_location::current());
CancellableContext WithTimeout(const Context& parent, absl::Duration timeout,
                               std::source_location where = std::source_location::current());
// With what Cause() tells when the time has passed.
CancellableContext WithDeadlineCause(const Context& parent, absl::Time deadline, absl::Status cause,
                                     std::source_location where = std::source_location::current());
CancellableContext WithTimeoutCause(const Context& parent, absl::Duration timeout,
                                    absl::Status cause,
                                    std::source_location where = std::source_location::current());

// The values of `parent`, and neither its cancellation nor its deadline.
Context WithoutCancel(const Context& parent,
                      std::source_location where = std::source_location::current());

namespace internal {
Context ContextWithValue(const Context& parent, const void* key, std::shared_ptr<const void> value,
                         std::source_location where);
}  // namespace internal

template <typename T>
Context WithValue(const Context& parent, const ContextKey<T>& key, std::type_identity_t<T> value,
                  std::source_location where = std::source_location::current()) {
  return internal::ContextWithValue(parent, &key, std::make_shared<const T>(std::move(value)),
                                    where);
}

// What AfterFunc returns: call it to stop. True if that prevented the run; it does not wait for one
// that has begun.
class StopFunc {
 public:
  explicit StopFunc(internal::ContextNodeRef hook) : hook_(std::move(hook)) {}
  bool operator()() const { return hook_->StopHook(); }

 private:
  internal::ContextNodeRef hook_;
};

// Runs f() once `ctx` and all below what was cancelled are cancelled, on a goroutine of its own.
StopFunc AfterFunc(const Context& ctx, std::function<void()> f,
                   std::source_location where = std::source_location::current());

// A Select case that is taken when `ctx` is cancelled.
template <std::invocable F = internal::NoHandler>
auto OnDone(const Context& ctx, F handler = {},
            std::source_location where = std::source_location::current()) {
  return OnRecv(ctx.Done(where), std::move(handler));
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_H_
