// A ContextNode is one context of the tree.
//
//   Background <── WithCancel A <── WithValue V <── WithTimeout B     parent: counted, upwards
//                       A.children ──────────────────> B              children: not counted, from
//                                                                     the nearest canceller
//   field                          guarded by
//   parent, canceller, key,        nobody: set when it is made
//   value, deadline
//   children, cancelled, err,      mu
//   cause, timer, marking,
//   marked, settled
//   sibling                        the canceller's mu
//   done                           atomic; set once, under mu
//
// Invariants:
//   (1) A node is in children of its canceller from when it joined until it is cancelled or dies.
//   (2) children holds no references. Under mu a child's memory is there, as its destructor takes
//   mu to
//       leave; whether it still lives is told by TryRef.
//   (3) Locks of two nodes are never held together.
//   (3a) When Cancel returns, every node below is cancelled, whoever cancels it: "marking" is true
//       from when a call has cancelled the node until it has cancelled all below it, and no user's
//       code runs meanwhile. Who finds a node cancelled waits for its marking, and, if it was about
//       to cancel it, for those of the nodes above that may have cancelled it. One who marks waits
//       for nodes below its own alone, so nobody waits in a circle.
//   (4) Neither the cancelling of a deep tree nor the end of a long chain recurses.
#ifndef PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_NODE_H_
#define PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_NODE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll::internal {

class ContextNode;

// One counted reference.
class ContextNodeRef {
 public:
  ContextNodeRef() = default;
  explicit ContextNodeRef(ContextNode* node) : node_(node) {}  // takes one over
  ContextNodeRef(const ContextNodeRef& other);
  ContextNodeRef(ContextNodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  ContextNodeRef& operator=(ContextNodeRef other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~ContextNodeRef();

  ContextNode* operator->() const { return node_; }
  ContextNode* get() const { return node_; }
  friend bool operator==(const ContextNodeRef& a, const ContextNodeRef& b) {
    return a.node_ == b.node_;
  }

 private:
  ContextNode* node_ = nullptr;
};

class ContextNode {
 public:
  enum class Kind : uint8_t {
    kRoot,
    kCancel,
    kValue,
    kWithoutCancel,
    kHook,  // an AfterFunc: a child that owns itself until it has run or was stopped
  };

  // A child of `parent`, or a root. It heeds its parent from Join on.
  static ContextNodeRef Make(Kind kind, ContextNode* parent);
  void SetValue(const void* key, std::shared_ptr<const void> value);
  void SetDeadline(absl::Time deadline) { deadline_ = deadline; }
  void SetHook(std::function<void()> f) { hook_ = std::move(f); }
  void Join();
  // Stops `timer` when this node is cancelled.
  void SetTimer(Timer timer);

  RecvChannel<std::monostate> Done();
  absl::Status Err();
  absl::Status Cause();
  std::optional<absl::Time> deadline() const { return deadline_; }
  const void* FindValue(const void* key) const;

  // Cancels this node and all below; where another call does so already, waits until they are.
  void Cancel(const absl::Status& err, const absl::Status& cause);
  // For a hook: true if this call kept it from running.
  bool StopHook();

  void AddRef() { refs_.fetch_add(1, std::memory_order_relaxed); }
  static void Unref(ContextNode* node);

  // A request makes and drops a few: their memory comes from shelves, one a P, and goes back there.
  static void* operator new(size_t size);
  static void operator delete(void* memory, size_t size);

 private:
  ContextNode(Kind kind, ContextNode* parent);
  ~ContextNode();
  bool TryRef();
  // True for the one call that cancels it. Puts its children, each with a reference, before
  // `*list`. `top`: its marking begins.
  bool Mark(const absl::Status& err, const absl::Status& cause, bool top, ContextNode** list);
  // What the one call then does without locks: closes Done; and, when no marking needs it any more,
  // stops the timer and runs the hook.
  void CloseDone();
  void Finish();
  void EndMarking();
  void AwaitMarking();
  void AwaitAllMarkings();
  void LeaveCanceller();
  // The node that decides whether this one is cancelled: itself or the nearest above; may be null.
  ContextNode* Decider() { return kind_ == Kind::kCancel ? this : canceller_; }

  const Kind kind_;
  std::atomic<int64_t> refs_{1};
  ContextNode* const parent_;  // null for a root
  ContextNode* canceller_ = nullptr;
  const void* key_ = nullptr;
  std::shared_ptr<const void> value_;
  std::optional<absl::Time> deadline_;
  std::function<void()> hook_;

  base::SpinLock mu_;
  bool cancelled_ = false;
  bool marking_ = false;
  bool settled_ = false;     // cancelled, and so is all below
  bool close_done_ = false;  // Done was made before cancelled_ was set: CloseDone does it
  absl::Status err_;
  absl::Status cause_;
  std::optional<Timer> timer_;
  Channel<std::monostate> marked_{nullptr};  // closed by EndMarking, where somebody waits for it
  base::ListLink sibling_;
  base::IntrusiveList<ContextNode, &ContextNode::sibling_> children_;
  ContextNode* next_to_cancel_ = nullptr;  // for the one that took it out of children
  std::atomic<Channel<std::monostate>*> done_{nullptr};
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CONTEXT_CONTEXT_NODE_H_
