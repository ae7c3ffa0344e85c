#include "plimsoll/runtime/chan/channel_core.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::internal {
namespace {

constexpr size_t kCacheLine = 64;
// What a process can address; Go's makechan draws the same line.
constexpr size_t kMaxBytes = size_t{1} << 47;

size_t Alignment(uint32_t element_align) { return std::max<size_t>(element_align, kCacheLine); }

size_t BufferOffset(size_t align) { return (sizeof(ChannelCore) + align - 1) / align * align; }

using gc::internal::AmbiguousRange;

// Where the record of a scanned buffer lies: behind it.
AmbiguousRange* RangeOf(char* buffer, size_t bytes) {
  constexpr size_t kAlign = alignof(AmbiguousRange);
  return reinterpret_cast<AmbiguousRange*>(buffer + (bytes + kAlign - 1) / kAlign * kAlign);
}

sched::WaitReason Reason(bool sending) {
  return sending ? sched::WaitReason::kChanSend : sched::WaitReason::kChanReceive;
}

bool Unlock(sched::G*, void* mu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  static_cast<base::SpinLock*>(mu)->unlock();
  return true;
}

}  // namespace

ChannelCore* ChannelCore::Make(const ElementInfo& element, size_t capacity,
                               std::source_location where) {
  // Of empty elements there is nothing to store, but a negative number must not pass either.
  if (capacity > kMaxBytes / std::max<size_t>(element.size, 1)) {
    ThrowPanic("makechan: size out of range", where);
  }
  const size_t align = Alignment(element.align);
  const size_t offset = BufferOffset(align);
  const size_t bytes = capacity * element.size;
  const bool scanned = element.collected && bytes > 0;
  char* memory = static_cast<char*>(::operator new(
      offset + bytes + (scanned ? sizeof(AmbiguousRange) + alignof(AmbiguousRange) : 0),
      std::align_val_t{align}));
  auto* core = ::new (memory) ChannelCore(element, capacity, memory + offset);
  if (scanned) {
    char* buffer = memory + offset;
    std::memset(buffer, 0, bytes);
    const auto lo = reinterpret_cast<uintptr_t>(buffer);
    AddRange(::new (RangeOf(buffer, bytes)) AmbiguousRange{.lo = lo, .hi = lo + bytes});
    core->scanned_ = true;
  }
  return core;
}

ChannelCore::ChannelCore(const ElementInfo& element, size_t capacity, char* buffer)
    : capacity_(capacity),
      size_(element.size),
      buffer_(buffer),
      destroy_(element.destroy),
      align_(element.align) {}

ChannelCore::~ChannelCore() {
  attachment_.reset();  // from here on nobody sends any more
  PLIMSOLL_DCHECK(recvq_.empty() && sendq_.empty(), "a channel was freed under its waiters");
  if (destroy_ == nullptr) return;
  for (; count() != 0; DropHead()) destroy_(Slot(head_, size_));
}

void ChannelCore::Free(ChannelCore* core) {
  const size_t align = Alignment(core->align_);
  if (core->scanned_) RemoveRange(RangeOf(core->buffer_, core->capacity_ * core->size_));
  core->~ChannelCore();
  ::operator delete(core, std::align_val_t{align});
}

// Always inline: a hand-off goes through all of these, and the calls would be a fifth of it.
[[gnu::always_inline]] inline void ChannelCore::CopyElement(void* to, const void* from) const {
  // A call of memcpy costs more than these; a word is what most channels carry.
  if (size_ == 8) {
    std::memcpy(to, from, 8);
  } else if (size_ == 4) {
    std::memcpy(to, from, 4);
  } else if (size_ != 0) {
    std::memcpy(to, from, size_);
  }
}

[[gnu::always_inline]] inline void ChannelCore::EnqueueHere(Waiter& w, bool sending) {
  (sending ? sendq_ : recvq_).PushBack(&w);
  SetFlag(sending ? kSenders : kReceivers, true);
}

void ChannelCore::Enqueue(Waiter& w, bool sending) { EnqueueHere(w, sending); }

[[gnu::always_inline]] inline Waiter* ChannelCore::PopSender() {
  if ((flags() & kSenders) == 0) return nullptr;
  Waiter* w = sendq_.PopClaimed();
  if (sendq_.empty()) SetFlag(kSenders, false);
  return w;
}

[[gnu::always_inline]] inline Waiter* ChannelCore::PopReceiver() {
  if ((flags() & kReceivers) == 0) return nullptr;
  Waiter* w = recvq_.PopClaimed();
  if (recvq_.empty()) SetFlag(kReceivers, false);
  return w;
}

void ChannelCore::Dequeue(Waiter& w, bool sending) {
  WaitQueue& queue = sending ? sendq_ : recvq_;
  queue.RemoveIfQueued(&w);
  if (queue.empty()) SetFlag(sending ? kSenders : kReceivers, false);
}

[[gnu::always_inline]] inline Outcome ChannelCore::SendHere(const void* value, sched::G** wake) {
  *wake = nullptr;
  if (closed()) return Outcome::kClosed;
  if (Waiter* receiver = PopReceiver()) {  // by (1) the buffer is empty: nobody is overtaken
    CopyElement(receiver->slot, value);
    receiver->outcome = Outcome::kDone;
    *wake = receiver->g;
    return Outcome::kDone;
  }
  if (count() < capacity_) {
    CopyElement(Slot(tail_, size_), value);
    Append();
    return Outcome::kDone;
  }
  return Outcome::kWouldBlock;
}

Outcome ChannelCore::SendLocked(const void* value, sched::G** wake) {
  return SendHere(value, wake);
}

[[gnu::always_inline]] inline Outcome ChannelCore::RecvHere(void* slot, sched::G** wake) {
  *wake = nullptr;
  if (count() != 0) {
    CopyElement(slot, Slot(head_, size_));
    DropHead();
    // The oldest sender's value takes the place that became free, at the end of the line.
    if (Waiter* sender = PopSender()) {
      CopyElement(Slot(tail_, size_), sender->slot);
      Append();
      sender->outcome = Outcome::kDone;
      *wake = sender->g;
    }
    return Outcome::kDone;
  }
  if (Waiter* sender = PopSender()) {  // only an unbuffered channel gets here, by (2)
    CopyElement(slot, sender->slot);
    sender->outcome = Outcome::kDone;
    *wake = sender->g;
    return Outcome::kDone;
  }
  return closed() ? Outcome::kClosed : Outcome::kWouldBlock;
}

Outcome ChannelCore::RecvLocked(void* slot, sched::G** wake) { return RecvHere(slot, wake); }

// The lock goes with the commit, which the analysis does not follow.
[[gnu::noinline]] Outcome ChannelCore::WaitUntil(Waiter& w, bool sending, int64_t deadline_ns)
    ABSL_NO_THREAD_SAFETY_ANALYSIS {
  sched::WakeClaim claim;
  w.claim = &claim;
  w.token = 1;
  Enqueue(w, sending);
  if (sched::ParkUntil(Reason(sending), deadline_ns, claim, Unlock, &mu_) !=
      sched::WakeClaim::kTimedOut) {
    return w.outcome;
  }
  mu_.lock();
  Dequeue(w, sending);
  mu_.unlock();
  return Outcome::kTimedOut;
}

[[gnu::always_inline]] inline Outcome ChannelCore::Wait(void* slot, bool sending,
                                                        int64_t deadline_ns) {
  Waiter w;
  w.slot = slot;
  w.g = sched::CurrentG();
  if (deadline_ns != kNever) return WaitUntil(w, sending, deadline_ns);
  EnqueueHere(w, sending);
  sched::ParkAndUnlock(Reason(sending), mu_);
  return w.outcome;
}

Outcome ChannelCore::SendOrWait(const void* value, int64_t deadline_ns) {
  sched::G* wake;
  const Outcome outcome = SendHere(value, &wake);
  if (outcome == Outcome::kWouldBlock && deadline_ns != kAtOnce) {
    // A receiver only reads the value.
    return Wait(const_cast<void*>(value), /*sending=*/true, deadline_ns);
  }
  mu_.unlock();
  if (wake != nullptr) sched::Ready(wake);
  return outcome;
}

Outcome ChannelCore::RecvOrWait(void* slot, int64_t deadline_ns) {
  sched::G* wake;
  const Outcome outcome = RecvHere(slot, &wake);
  if (outcome == Outcome::kWouldBlock && deadline_ns != kAtOnce) {
    return Wait(slot, /*sending=*/false, deadline_ns);
  }
  mu_.unlock();
  if (wake != nullptr) sched::Ready(wake);
  return outcome;
}

Outcome ChannelCore::Close() {
  base::IntrusiveList<Waiter, &Waiter::link> woken;
  {
    sched::NoPreempt no_preempt;
    mu_.lock();
    if (closed()) {
      mu_.unlock();
      return Outcome::kClosed;
    }
    SetFlag(kClosedFlag, true);
    while (Waiter* w = PopReceiver()) woken.PushBack(w);
    while (Waiter* w = PopSender()) woken.PushBack(w);
    mu_.unlock();
  }
  while (Waiter* w = woken.PopFront()) {
    w->outcome = Outcome::kClosed;
    sched::Ready(w->g);  // `w` is gone after this
  }
  return Outcome::kDone;
}

bool ChannelCore::Drain() {
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(mu_);
  PLIMSOLL_DCHECK(destroy_ == nullptr, "Drain is for values that need no destructor");
  const bool any = count() != 0;
  while (count() != 0) DropHead();
  return any;
}

void BlockForEver(sched::WaitReason reason) {
  sched::Park(reason, [](sched::G*, void*) { return true; }, nullptr);
  base::Fatal("a goroutine that waits on nothing was made ready");
}

}  // namespace plimsoll::internal
