// A ChannelCore is a channel without its element type: it moves bytes, and it parks.
//
//    +--------------------------- one allocation ----------------------------+
//    | mu  flags  capacity  count  head  tail | recvq  sendq | refs | buffer  |
//    +----------------------------------------------------------------------+
//                                                    head v        v tail
//    buffer: capacity slots of size bytes, a ring  [ - | - | 3 | 4 | 5 | - ]
//
//   what             guarded by       read without it
//   count, flags,    mu               as hints, by Select and by Len()
//   version
//   head, tail,      mu               never
//   recvq, sendq
//   capacity, size   nobody: set once
//
// Invariants, whenever mu is free:
//   (1) recvq is not empty  =>  count == 0 and the channel is open.
//   (2) sendq is not empty  =>  count == capacity and the channel is open.
//       (Both of waiters whose claim is still open; a lost one may linger, wait_queue.h (3).)
//   (3) flags tells: closed; recvq is not empty; sendq is not empty.
//   (3a) version changes with everything that may make the channel ready to send or to receive,
//        right after it.
//   (4) No user code runs under mu: elements move as bytes (bitwise_movable.h).
//   (5) Ready is called after mu was released, on waiters that mu's holder popped.
#ifndef PLIMSOLL_RUNTIME_CHAN_CHANNEL_CORE_H_
#define PLIMSOLL_RUNTIME_CHAN_CHANNEL_CORE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <source_location>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/chan/wait_queue.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {

// What a core must know of its elements.
struct ElementInfo {
  uint32_t size;                // bytes that cross; 0 for an empty type
  uint32_t align;               // of a slot
  void (*destroy)(void* slot);  // for what is left in the buffer at the end; null: nothing to do
  bool collected;               // values may hold collected pointers: the buffer is scanned
};

// What a channel owns besides its values and ends with it: a timer that sends to it. Its destructor
// runs before anything of the channel is torn down.
class ChannelAttachment {
 public:
  virtual ~ChannelAttachment() = default;
};

class ChannelCore {
 public:
  // Deadlines on sched::NowNanos()'s clock.
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();   // waits for ever
  static constexpr int64_t kAtOnce = std::numeric_limits<int64_t>::min();  // does not wait

  // Panics with Go's makechan text when `capacity` elements cannot be addressed.
  static ChannelCore* Make(const ElementInfo& element, size_t capacity, std::source_location where);

  ChannelCore(const ChannelCore&) = delete;
  ChannelCore& operator=(const ChannelCore&) = delete;

  void AddRef() { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Release() {
    // acq_rel: the last owner sees what the others did before they let go.
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) Free(this);
  }

  // Sends the kSize bytes at `value`. kClosed and kWouldBlock, kTimedOut leave them the caller's.
  template <size_t kSize>
  Outcome Send(const void* value, int64_t deadline_ns = kNever) {
    sched::NoPreempt no_preempt;
    mu_.lock();
    if (!SendNeedsNobody()) return SendOrWait(value, deadline_ns);
    std::memcpy(Slot(tail_, kSize), value, kSize);
    Append();
    mu_.unlock();
    return Outcome::kDone;
  }

  // Receives kSize bytes into `slot`. kDone: they are there, and are the caller's now.
  template <size_t kSize>
  Outcome Recv(void* slot, int64_t deadline_ns = kNever) {
    sched::NoPreempt no_preempt;
    mu_.lock();
    if (!RecvNeedsNobody()) return RecvOrWait(slot, deadline_ns);
    std::memcpy(slot, Slot(head_, kSize), kSize);
    DropHead();
    mu_.unlock();
    return Outcome::kDone;
  }

  // kDone, or kClosed when it was closed already.
  Outcome Close();

  size_t Len() const { return attachment_ ? 0 : count_.load(std::memory_order_relaxed); }
  size_t Cap() const { return attachment_ ? 0 : capacity_; }

  // Before the first use. A channel with an attachment is a timer's: its Len and Cap are 0, as
  // Go's.
  void Attach(std::unique_ptr<ChannelAttachment> attachment) {
    attachment_ = std::move(attachment);
  }
  ChannelAttachment* attachment() const { return attachment_.get(); }

  // Destroys what is in the buffer. True: there was something.
  bool Drain();

 private:
  friend class SelectRun;
  friend class ChannelPeek;

  enum Flag : uint32_t { kClosedFlag = 1, kReceivers = 2, kSenders = 4 };

  ChannelCore(const ElementInfo& element, size_t capacity, char* buffer);
  ~ChannelCore();
  static void Free(ChannelCore* core);

  bool closed() const { return (flags() & kClosedFlag) != 0; }
  // acquire: for Select's look without locks, where the version must not be read after these. Under
  // mu_ relaxed would do; on x86-64 it is the same load.
  uint32_t flags() const { return flags_.load(std::memory_order_acquire); }
  size_t count() const { return count_.load(std::memory_order_acquire); }

  // With mu_ held: whether the buffer alone can take, or give, a value.
  bool SendNeedsNobody() const {
    return count() < capacity_ && (flags() & (kClosedFlag | kReceivers)) == 0;
  }
  bool RecvNeedsNobody() const { return count() != 0 && (flags() & kSenders) == 0; }

  // True when a send, or a receive, would not wait. Decisive under mu_ but for lost claims.
  bool SendReady() const {
    return count() < capacity_ || (flags() & (kClosedFlag | kReceivers)) != 0;
  }
  bool RecvReady() const { return count() != 0 || (flags() & (kClosedFlag | kSenders)) != 0; }

  char* Slot(size_t index, size_t size) const { return buffer_ + index * size; }
  void Append() {
    if (++tail_ == capacity_) tail_ = 0;
    // release: pairs with the acquire in Select's look without locks, as NewVersion's does
    count_.store(count() + 1, std::memory_order_release);
    NewVersion();
  }
  void DropHead() {
    if (++head_ == capacity_) head_ = 0;
    count_.store(count() - 1, std::memory_order_release);
    NewVersion();
  }
  // After the change it stands for: who reads the new version reads the new state as well. The
  // other way round, a Select with Default read the new version and the old state, found nothing
  // changed at its second look, and missed a token that had been there all the time
  // (//tests/model:chan_test).
  void NewVersion() {
    version_.store(version_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  // With mu_ held and preemption off: hands over, waits, or finds that it cannot; unlocks.
  [[gnu::noinline]] Outcome SendOrWait(const void* value, int64_t deadline_ns)
      ABSL_UNLOCK_FUNCTION(mu_);
  [[gnu::noinline]] Outcome RecvOrWait(void* slot, int64_t deadline_ns) ABSL_UNLOCK_FUNCTION(mu_);

  // With mu_ held: does it if it can be done at once (else kWouldBlock); `wake` is then whom to
  // Ready once mu_ is free, or null.
  Outcome SendLocked(const void* value, sched::G** wake);
  Outcome RecvLocked(void* slot, sched::G** wake);
  Outcome SendHere(const void* value, sched::G** wake);  // the same, inline in channel_core.cc
  Outcome RecvHere(void* slot, sched::G** wake);

  // With mu_ held: waits in a queue, and unlocks. How the wait ended.
  Outcome Wait(void* slot, bool sending, int64_t deadline_ns) ABSL_UNLOCK_FUNCTION(mu_);
  Outcome WaitUntil(Waiter& w, bool sending, int64_t deadline_ns) ABSL_UNLOCK_FUNCTION(mu_);

  // With mu_ held: keeps (3).
  void Enqueue(Waiter& w, bool sending);
  void EnqueueHere(Waiter& w, bool sending);
  Waiter* PopSender();
  Waiter* PopReceiver();
  void Dequeue(Waiter& w, bool sending);
  void SetFlag(Flag flag, bool on) {
    const uint32_t old = flags();
    flags_.store(on ? old | flag : old & ~uint32_t{flag}, std::memory_order_release);
    if (on) NewVersion();
  }

  void CopyElement(void* to, const void* from) const;

  base::SpinLock mu_;
  std::atomic<uint32_t> flags_{0};
  const size_t capacity_;
  std::atomic<size_t> count_{0};
  std::atomic<uint32_t> version_{0};
  const uint32_t size_;
  size_t head_ = 0;
  size_t tail_ = 0;
  char* const buffer_;
  WaitQueue recvq_;
  WaitQueue sendq_;
  void (*const destroy_)(void* slot);
  const uint32_t align_;
  bool scanned_ = false;  // the collector looks at the buffer, and its range lies behind
  std::unique_ptr<ChannelAttachment> attachment_;
  std::atomic<size_t> refs_{1};
};

// What an operation on a nil channel does.
[[noreturn]] void BlockForEver(sched::WaitReason reason);

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_CHANNEL_CORE_H_
