#include "plimsoll/runtime/chan/select_core.h"

#include <memory>
#include <utility>

#include "plimsoll/runtime/sched/chooser.h"

namespace plimsoll::internal {

int SelectRun::ChooseReady() const {
  uint32_t ready = 0;
  int last = -1;
  for (size_t i = 0; i < ops_.size(); ++i) {
    if (!Ready(ops_[i])) continue;
    ++ready;
    last = static_cast<int>(i);
  }
  if (ready <= 1) return last;
  // Without the locks the flags may change between the two walks: then the last one seen will do.
  uint32_t skip = sched::ChooseBelow(ready);
  for (size_t i = 0; i < ops_.size(); ++i) {
    if (!Ready(ops_[i])) continue;
    last = static_cast<int>(i);
    if (skip-- == 0) break;
  }
  return last;
}

// Step 0. True only if there was a moment at which no case was ready: the one between the two
// walks. One walk would not do: a token may move from a channel not yet looked at to one looked at
// before.
bool SelectRun::NoneWasReady() {
  for (SelectOp& op : ops_) {
    if (op.core == nullptr) continue;
    // acquire, here and in Ready(): the version before the state, by channel_core.h (3a)
    op.version = op.core->version_.load(std::memory_order_acquire);
    if (Ready(op)) return false;
  }
  for (SelectOp& op : ops_) {
    if (op.core == nullptr) continue;
    if (op.core->version_.load(std::memory_order_acquire) != op.version) return false;
  }
  return true;
}

// Step 1. A case found ready under its own lock may be taken, whatever the others are: Select
// promises one of the ready, and it is.
Selected SelectRun::TryUnlocked() {
  constexpr int kTries = 3;
  for (int i = 0; i < kTries; ++i) {
    const int index = ChooseReady();
    if (index < 0) break;
    SelectOp& op = ops_[static_cast<size_t>(index)];
    sched::NoPreempt no_preempt;
    sched::G* wake;
    op.core->mu_.lock();
    const Outcome outcome = Perform(op, &wake);
    op.core->mu_.unlock();
    if (outcome == Outcome::kWouldBlock) continue;
    if (wake != nullptr) sched::Ready(wake);
    return {index, outcome};
  }
  return {-1, Outcome::kWouldBlock};
}

namespace {

// Two lists by next_locked, each in the order of their channels' addresses, as one.
SelectOp* Merge(SelectOp* a, SelectOp* b) {
  SelectOp* all = nullptr;
  SelectOp** end = &all;
  while (a != nullptr && b != nullptr) {
    SelectOp*& least = b->core < a->core ? b : a;
    *end = least;
    end = &least->next_locked;
    least = *end;
  }
  *end = a != nullptr ? a : b;
  return all;
}

// Many: a merge sort of lists. The k-th of `sorted` is empty or has 2^k ops.
[[gnu::noinline]] SelectOp* Sorted(std::span<SelectOp> ops) {
  SelectOp* sorted[32] = {};
  for (SelectOp& op : ops) {
    if (op.core == nullptr) continue;
    op.next_locked = nullptr;
    SelectOp* carry = &op;
    size_t k = 0;
    for (; sorted[k] != nullptr; ++k) carry = Merge(std::exchange(sorted[k], nullptr), carry);
    sorted[k] = carry;
  }
  SelectOp* all = nullptr;
  for (SelectOp* list : sorted) all = Merge(all, list);
  return all;
}

}  // namespace

void SelectRun::SortByLock() {
  constexpr size_t kFew = 12;
  if (ops_.size() > kFew) {
    first_locked_ = Sorted(ops_);
  } else {
    for (SelectOp& op : ops_) {  // an insertion sort: most have one or two cases
      if (op.core == nullptr) continue;
      SelectOp** at = &first_locked_;
      op.next_locked = nullptr;
      while (*at != nullptr && (*at)->core < op.core) at = &(*at)->next_locked;
      op.next_locked = *at;
      *at = &op;
    }
  }
  // One lock a channel.
  for (SelectOp* op = first_locked_; op != nullptr; op = op->next_locked) {
    while (op->next_locked != nullptr && op->next_locked->core == op->core) {
      op->next_locked = op->next_locked->next_locked;
    }
  }
}

void SelectRun::LockAll() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (SelectOp* op = first_locked_; op != nullptr; op = op->next_locked) op->core->mu_.lock();
}

void SelectRun::UnlockAll() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (SelectOp* op = first_locked_; op != nullptr; op = op->next_locked) op->core->mu_.unlock();
}

// Static and by value: what runs it may run beside us, by (3).
bool SelectRun::CommitUnlock(sched::G*, void* first_locked) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (auto* op = static_cast<SelectOp*>(first_locked); op != nullptr;) {
    SelectOp* const next = op->next_locked;  // before the unlock: after it, `op` may be gone
    op->core->mu_.unlock();
    op = next;
  }
  return true;
}

Selected SelectRun::TryLocked(sched::G** wake) {
  for (;;) {
    const int index = ChooseReady();
    if (index < 0) return {-1, Outcome::kWouldBlock};
    const Outcome outcome = Perform(ops_[static_cast<size_t>(index)], wake);
    if (outcome != Outcome::kWouldBlock) return {index, outcome};
    // Its queue held only waiters whose claims were lost. They are out now, and the flag is clear.
  }
}

Selected SelectRun::Park(int64_t deadline_ns) {
  sched::WakeClaim claim;
  sched::G* const g = sched::CurrentG();
  for (size_t i = 0; i < ops_.size(); ++i) {
    SelectOp& op = ops_[i];
    if (op.core == nullptr) continue;
    std::construct_at(&op.waiter);
    op.waiter.g = g;
    op.waiter.slot = op.slot;
    op.waiter.claim = &claim;
    op.waiter.token = static_cast<uint32_t>(i) + 1;
    op.core->Enqueue(op.waiter, op.sending);
  }
  uint32_t winner;
  if (deadline_ns == ChannelCore::kNever) {
    sched::Park(ops_.empty() ? sched::WaitReason::kSelectNoCases : sched::WaitReason::kSelect,
                CommitUnlock, first_locked_);
    winner = claim.winner();
  } else {
    winner = sched::ParkUntil(sched::WaitReason::kSelect, deadline_ns, claim, CommitUnlock,
                              first_locked_);
  }
  const bool timed_out = winner == sched::WakeClaim::kTimedOut;
  const size_t index = timed_out ? ops_.size() : winner - 1;
  for (size_t i = 0; i < ops_.size(); ++i) {
    SelectOp& op = ops_[i];
    if (op.core == nullptr || i == index) continue;
    op.core->mu_.lock();  // by (3), also waits for the commit
    op.core->Dequeue(op.waiter, op.sending);
    op.core->mu_.unlock();
  }
  if (timed_out) return {-1, Outcome::kTimedOut};
  return {static_cast<int>(index), ops_[index].waiter.outcome};
}

Selected SelectRun::Run(std::span<SelectOp> ops, int64_t deadline_ns) {
  SelectRun run(ops);
  if (deadline_ns == ChannelCore::kAtOnce && run.NoneWasReady()) {
    return {-1, Outcome::kWouldBlock};
  }
  if (const Selected selected = run.TryUnlocked(); selected.index >= 0) return selected;
  run.SortByLock();
  sched::NoPreempt no_preempt;
  run.LockAll();
  sched::G* wake = nullptr;
  const Selected selected = run.TryLocked(&wake);
  if (selected.index < 0 && deadline_ns != ChannelCore::kAtOnce) return run.Park(deadline_ns);
  run.UnlockAll();
  if (wake != nullptr) sched::Ready(wake);
  return selected;
}

}  // namespace plimsoll::internal
