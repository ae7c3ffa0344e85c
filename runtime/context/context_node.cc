#include "plimsoll/runtime/context/context_node.h"

#include <new>

#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {
namespace {

// ASan is to see the end of each node.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPooled = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif
#else
constexpr bool kPooled = true;
#endif

// Memory of nodes that are gone, for the next ones. What a shelf does not hold goes to the heap.
class Shelf {
 public:
  void* Take() {
    base::SpinLockHolder hold(mu_);
    Free* const top = top_;
    if (top == nullptr) return nullptr;
    top_ = top->below;
    --count_;
    return top;
  }
  bool Put(void* memory) {
    base::SpinLockHolder hold(mu_);
    if (count_ == kAtMost) return false;
    top_ = ::new (memory) Free{top_};
    ++count_;
    return true;
  }

 private:
  static constexpr int kAtMost = 64;
  struct Free {
    Free* below;
  };
  base::SpinLock mu_;
  Free* top_ = nullptr;
  int count_ = 0;
};

// A P's own while there are not more; a foreign thread shares the first. Call with preemption off.
Shelf& MyShelf() {
  struct alignas(64) Padded {
    Shelf shelf;
  };
  static constinit Padded shelves[64];
  return shelves[(static_cast<unsigned>(sched::CurrentProc()) + 1) % 64].shelf;
}

}  // namespace

void* ContextNode::operator new(size_t size) {
  if (kPooled) {
    sched::NoPreempt no_preempt;
    if (void* memory = MyShelf().Take()) return memory;
  }
  return ::operator new(size);
}

void ContextNode::operator delete(void* memory, size_t size) {
  if (kPooled) {
    sched::NoPreempt no_preempt;
    if (MyShelf().Put(memory)) return;
  }
  ::operator delete(memory, size);
}

ContextNodeRef::ContextNodeRef(const ContextNodeRef& other) : node_(other.node_) {
  if (node_ != nullptr) node_->AddRef();
}

ContextNodeRef::~ContextNodeRef() { ContextNode::Unref(node_); }

ContextNodeRef ContextNode::Make(Kind kind, ContextNode* parent) {
  return ContextNodeRef(new ContextNode(kind, parent));
}

ContextNode::ContextNode(Kind kind, ContextNode* parent) : kind_(kind), parent_(parent) {
  if (parent == nullptr) return;
  parent->AddRef();
  if (kind == Kind::kWithoutCancel) return;
  canceller_ = parent->Decider();
  deadline_ = parent->deadline_;
}

ContextNode::~ContextNode() {
  LeaveCanceller();
  delete done_.load(std::memory_order_acquire);
}

void ContextNode::Unref(ContextNode* node) {
  // By (4) a loop. acq_rel: the last owner sees what the others did.
  while (node != nullptr && node->refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    ContextNode* parent = node->parent_;
    delete node;
    node = parent;
  }
}

bool ContextNode::TryRef() {
  int64_t refs = refs_.load(std::memory_order_relaxed);
  while (refs != 0) {
    if (refs_.compare_exchange_weak(refs, refs + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

void ContextNode::SetValue(const void* key, std::shared_ptr<const void> value) {
  key_ = key;
  value_ = std::move(value);
}

const void* ContextNode::FindValue(const void* key) const {
  for (const ContextNode* node = this; node != nullptr; node = node->parent_) {
    if (node->key_ == key) return node->value_.get();
  }
  return nullptr;
}

void ContextNode::Join() {
  if (canceller_ == nullptr) return;   // nobody ever cancels it
  if (kind_ == Kind::kHook) AddRef();  // its own
  bool too_late;
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(canceller_->mu_);
    too_late = canceller_->cancelled_;
    if (!too_late) canceller_->children_.PushBack(this);
  }
  if (too_late) Cancel(canceller_->Err(), canceller_->Cause());
}

void ContextNode::LeaveCanceller() {
  if (canceller_ == nullptr) return;
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(canceller_->mu_);
  if (sibling_.linked()) canceller_->children_.Remove(this);
}

void ContextNode::SetTimer(Timer timer) {
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    if (!cancelled_) {
      timer_.emplace(std::move(timer));
      return;
    }
  }
  timer.Stop();
}

RecvChannel<std::monostate> ContextNode::Done() {
  ContextNode* decider = Decider();
  if (decider != this) return decider != nullptr ? decider->Done() : nullptr;
  if (auto* done = done_.load(std::memory_order_acquire)) return *done;
  auto fresh = std::make_unique<Channel<std::monostate>>();
  for (bool closed = false;;) {
    {
      sched::NoPreempt no_preempt;
      base::SpinLockHolder hold(mu_);
      if (auto* done = done_.load(std::memory_order_relaxed)) return *done;
      if (!cancelled_ || closed) {
        done_.store(fresh.get(), std::memory_order_release);
        return *fresh.release();
      }
    }
    // Cancelled, so CloseDone knows nothing of it: closed before anyone can see it open.
    fresh->Close();
    closed = true;
  }
}

absl::Status ContextNode::Err() {
  ContextNode* decider = Decider();
  if (decider == nullptr) return absl::OkStatus();
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(decider->mu_);
  return decider->err_;  // counts a reference, no more
}

absl::Status ContextNode::Cause() {
  ContextNode* decider = Decider();
  if (decider == nullptr) return absl::OkStatus();
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(decider->mu_);
  return decider->cause_;
}

bool ContextNode::Mark(const absl::Status& err, const absl::Status& cause, bool top,
                       ContextNode** list) {
  absl::Status its_err = err;
  absl::Status its_cause = cause;
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(mu_);
  if (cancelled_) return false;
  cancelled_ = true;
  marking_ = top;
  close_done_ = done_.load(std::memory_order_relaxed) != nullptr;
  settled_ = children_.empty() && !close_done_;  // most are leaves that nobody asked
  err_ = std::move(its_err);
  cause_ = std::move(its_cause);
  while (ContextNode* child = children_.PopFront()) {
    if (!child->TryRef()) continue;  // by (2): its destructor waits for our lock
    child->next_to_cancel_ = *list;
    *list = child;
  }
  return true;
}

void ContextNode::CloseDone() {
  if (close_done_) done_.load(std::memory_order_acquire)->Close();
}

void ContextNode::Finish() {
  std::optional<Timer> timer;
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    timer.swap(timer_);
  }
  if (timer.has_value()) timer->Stop();
  if (kind_ == Kind::kHook) {
    plimsoll::Go(std::move(hook_));
    Unref(this);  // its own; the caller has another
  }
}

void ContextNode::EndMarking() {
  Channel<std::monostate> marked(nullptr);
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    marking_ = false;
    std::swap(marked, marked_);
  }
  if (marked != nullptr) marked.Close();
}

void ContextNode::AwaitMarking() {
  Channel<std::monostate> fresh(nullptr);
  Channel<std::monostate> marked(nullptr);
  for (;;) {
    {
      sched::NoPreempt no_preempt;
      base::SpinLockHolder hold(mu_);
      if (!marking_) return;
      if (marked_ == nullptr) marked_ = fresh;
      marked = marked_;
    }
    if (marked != nullptr) break;
    fresh = Channel<std::monostate>();  // not under the lock
  }
  (void)marked.Recv();
}

// A node above may be at it only if every node between is cancelled too.
void ContextNode::AwaitAllMarkings() {
  const auto done_at = [](ContextNode* node) {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(node->mu_);
    return !node->cancelled_ || node->settled_;
  };
  ContextNode* above = this;
  for (; above != nullptr && !done_at(above); above = above->canceller_) above->AwaitMarking();
  // So that many calls for one long chain do not each go up all of it.
  for (ContextNode* node = this; node != above; node = node->canceller_) {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(node->mu_);
    node->settled_ = true;
  }
}

void ContextNode::Cancel(const absl::Status& err, const absl::Status& cause) {
  ContextNode* list = nullptr;
  if (!Mark(err, cause, /*top=*/true, &list)) {
    AwaitAllMarkings();
    return;
  }
  CloseDone();
  ContextNode* cancelled = nullptr;  // by this call
  ContextNode* others = nullptr;     // by another
  while (list != nullptr) {
    ContextNode* child = list;
    list = child->next_to_cancel_;
    const bool ours = child->Mark(err, cause, /*top=*/false, &list);
    if (ours) child->CloseDone();
    child->next_to_cancel_ = std::exchange(ours ? cancelled : others, child);
  }
  // Last: our own nodes need not wait for another's.
  for (ContextNode* child = others; child != nullptr; child = child->next_to_cancel_) {
    child->AwaitMarking();
  }
  EndMarking();
  // From here on users' code may run: in destructors.
  Finish();
  LeaveCanceller();
  while (ContextNode* child = cancelled) {
    cancelled = child->next_to_cancel_;
    child->Finish();
    Unref(child);
  }
  while (ContextNode* child = others) {
    others = child->next_to_cancel_;
    Unref(child);
  }
}

bool ContextNode::StopHook() {
  ContextNode* none = nullptr;
  if (!Mark(absl::OkStatus(), absl::OkStatus(), /*top=*/false, &none)) return false;
  LeaveCanceller();
  hook_ = nullptr;
  if (canceller_ != nullptr) Unref(this);  // its own
  return true;
}

}  // namespace plimsoll::internal
