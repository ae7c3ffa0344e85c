#include "plimsoll/runtime/context/context.h"

#include "absl/time/clock.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

using internal::ContextNode;
using internal::ContextNodeRef;

// Made once: an absl::Status with a text allocates.
const absl::Status& Canceled() {
  static const auto* status = new absl::Status(absl::CancelledError("context canceled"));
  return *status;
}
const absl::Status& DeadlineExceeded() {
  static const auto* status =
      new absl::Status(absl::DeadlineExceededError("context deadline exceeded"));
  return *status;
}

void RefuseNil(const Context& parent, std::source_location where) {
  if (parent == nullptr) internal::ThrowPanic("cannot create context from nil parent", where);
}

ContextNodeRef MakeCancel(const Context& parent, std::source_location where) {
  RefuseNil(parent, where);
  ContextNodeRef node = ContextNode::Make(ContextNode::Kind::kCancel, parent.node());
  node->Join();
  return node;
}

// `timeout` is what the timer waits, on the monotonic clock; `deadline` is what Deadline() tells.
CancellableContext MakeTimed(const Context& parent, absl::Time deadline, absl::Duration timeout,
                             absl::Status cause, std::source_location where) {
  RefuseNil(parent, where);
  const std::optional<absl::Time> parents = parent.Deadline();
  if (parents.has_value() && *parents <= deadline) return WithCancel(parent, where);
  ContextNodeRef node = ContextNode::Make(ContextNode::Kind::kCancel, parent.node());
  node->SetDeadline(deadline);
  node->Join();
  if (cause.ok()) cause = DeadlineExceeded();
  if (timeout <= absl::ZeroDuration()) {
    node->Cancel(DeadlineExceeded(), cause);
  } else if (timeout != absl::InfiniteDuration()) {
    node->SetTimer(
        plimsoll::AfterFunc(timeout, [node, cause] { node->Cancel(DeadlineExceeded(), cause); }));
  }
  return {Context(node), CancelFunc(node)};
}

}  // namespace

void CancelFunc::operator()() const { node_->Cancel(Canceled(), Canceled()); }

void CancelCauseFunc::operator()(const absl::Status& cause) const {
  node_->Cancel(Canceled(), cause.ok() ? Canceled() : cause);
}

const Context& Background() {
  static const auto* root = new Context(ContextNode::Make(ContextNode::Kind::kRoot, nullptr));
  return *root;
}

const Context& TODO() {
  static const auto* root = new Context(ContextNode::Make(ContextNode::Kind::kRoot, nullptr));
  return *root;
}

CancellableContext WithCancel(const Context& parent, std::source_location where) {
  const ContextNodeRef node = MakeCancel(parent, where);
  return {Context(node), CancelFunc(node)};
}

CauseCancellableContext WithCancelCause(const Context& parent, std::source_location where) {
  const ContextNodeRef node = MakeCancel(parent, where);
  return {Context(node), CancelCauseFunc(node)};
}

CancellableContext WithDeadline(const Context& parent, absl::Time deadline,
                                std::source_location where) {
  return MakeTimed(parent, deadline, deadline - absl::Now(), absl::OkStatus(), where);
}

CancellableContext WithTimeout(const Context& parent, absl::Duration timeout,
                               std::source_location where) {
  return MakeTimed(parent, absl::Now() + timeout, timeout, absl::OkStatus(), where);
}

CancellableContext WithDeadlineCause(const Context& parent, absl::Time deadline, absl::Status cause,
                                     std::source_location where) {
  return MakeTimed(parent, deadline, deadline - absl::Now(), std::move(cause), where);
}

CancellableContext WithTimeoutCause(const Context& parent, absl::Duration timeout,
                                    absl::Status cause, std::source_location where) {
  return MakeTimed(parent, absl::Now() + timeout, timeout, std::move(cause), where);
}

Context WithoutCancel(const Context& parent, std::source_location where) {
  RefuseNil(parent, where);
  return Context(ContextNode::Make(ContextNode::Kind::kWithoutCancel, parent.node()));
}

Context internal::ContextWithValue(const Context& parent, const void* key,
                                   std::shared_ptr<const void> value, std::source_location where) {
  RefuseNil(parent, where);
  ContextNodeRef node = ContextNode::Make(ContextNode::Kind::kValue, parent.node());
  node->SetValue(key, std::move(value));
  return Context(std::move(node));
}

StopFunc AfterFunc(const Context& ctx, std::function<void()> f, std::source_location where) {
  if (ctx == nullptr) internal::PanicOfNil(where);
  if (internal::IsNil(f)) internal::FatalGoOfNil(where);
  ContextNodeRef hook = ContextNode::Make(ContextNode::Kind::kHook, ctx.node());
  hook->SetHook(std::move(f));
  hook->Join();
  return StopFunc(std::move(hook));
}

}  // namespace plimsoll
