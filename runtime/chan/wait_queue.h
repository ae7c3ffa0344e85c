// A WaitQueue holds the goroutines that wait on one channel in one direction, oldest first.
//
//   channel ── recvq ─> [Waiter]─>[Waiter]          each on the stack of the goroutine that waits
//           └─ sendq ─> (empty)                      (Go's sudog, without its allocation)
//
//   field          written by                         read by
//   g, slot,       the waiter, before it queues       the waker, under the channel's lock
//   claim, token
//   outcome        the waker, before it Readies g     the waiter, after its Park returned
//
// Invariants:
//   (1) A Waiter is in a queue only while its goroutine is parked, or about to be, or is taking
//       itself out; all three happen under the channel's lock.
//   (2) Whoever gets a Waiter from PopClaimed owns its goroutine's wake-up, and nobody else does.
//   (3) A Waiter whose claim was lost may still be queued: its goroutine takes it out.
#ifndef PLIMSOLL_RUNTIME_CHAN_WAIT_QUEUE_H_
#define PLIMSOLL_RUNTIME_CHAN_WAIT_QUEUE_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {

// How an operation on a channel ended.
enum class Outcome : uint8_t {
  kDone,        // the value went across
  kClosed,      // the channel is closed (and, for a receiver, drained)
  kWouldBlock,  // it would have had to wait
  kTimedOut,    // it waited until its deadline
};

struct Waiter {
  sched::G* g = nullptr;
  void* slot = nullptr;               // the value to send, or where to put the value received
  sched::WakeClaim* claim = nullptr;  // null: only one waker can reach this goroutine
  uint32_t token = 0;                 // with what to claim: the select case's index + 1
  Outcome outcome = Outcome::kDone;
  base::ListLink link;
};

class WaitQueue {
 public:
  bool empty() const { return list_.empty(); }

  void PushBack(Waiter* w) { list_.PushBack(w); }

  // Takes out the oldest waiter whose wake-up we won; null when there is none.
  Waiter* PopClaimed() {
    while (Waiter* w = list_.PopFront()) {
      if (w->claim == nullptr || w->claim->TryClaim(w->token)) return w;  // by (2)
    }
    return nullptr;
  }

  // Takes `w` out if nobody has yet.
  void RemoveIfQueued(Waiter* w) {
    if (w->link.linked()) list_.Remove(w);
  }

  // How many wait; for tests. Takes every waiter out and puts it back, so it is slow.
  size_t Count() {
    base::IntrusiveList<Waiter, &Waiter::link> all;
    size_t n = 0;
    for (; Waiter* w = list_.PopFront(); ++n) all.PushBack(w);
    while (Waiter* w = all.PopFront()) list_.PushBack(w);
    return n;
  }

 private:
  base::IntrusiveList<Waiter, &Waiter::link> list_;
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_WAIT_QUEUE_H_
