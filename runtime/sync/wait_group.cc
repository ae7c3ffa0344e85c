#include "plimsoll/runtime/sync/wait_group.h"

#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace {

int32_t Count(uint64_t state) { return static_cast<int32_t>(state >> 32); }
uint32_t Waiters(uint64_t state) { return static_cast<uint32_t>(state); }

}  // namespace

void WaitGroup::Add(int delta, std::source_location where) {
  // The shift drops what does not fit, as Go's does. acq_rel: the last Done has all before it
  // happen before its wake-ups, and pairs with the acquire in Wait().
  const uint64_t change = static_cast<uint64_t>(static_cast<int64_t>(delta)) << 32;
  const uint64_t state = state_.fetch_add(change, std::memory_order_acq_rel) + change;
  const int32_t count = Count(state);
  const uint32_t waiters = Waiters(state);
  if (count < 0) internal::ThrowPanic("sync: negative WaitGroup counter", where);
  if (waiters != 0 && delta > 0 && count == delta) {
    internal::ThrowPanic("sync: WaitGroup misuse: Add called concurrently with Wait", where);
  }
  if (count > 0 || waiters == 0) return;  // a WaitGroup without waiters may be gone from here on

  // The count is zero and goroutines wait. Nobody may add now, and Wait adds no waiter at zero.
  if (state_.load(std::memory_order_relaxed) != state) {
    internal::ThrowPanic("sync: WaitGroup misuse: Add called concurrently with Wait", where);
  }
  Queue woken;
  {
    sched::NoPreempt no_preempt;
    // Under the lock, every waiter that the state counts is in the queue.
    base::SpinLockHolder hold(queue_mu_);
    // release: a Wait that comes later reads this zero, and sees what preceded every Done.
    state_.store(0, std::memory_order_release);
    while (Waiter* w = queue_.PopFront()) woken.PushBack(w);
  }
  while (Waiter* w = woken.PopFront())
    sched::Ready(w->g);  // the last of them may end the WaitGroup
}

void WaitGroup::Wait(std::source_location where) {
  uint64_t state = state_.load(std::memory_order_acquire);  // pairs with Add()
  if (Count(state) == 0) return;
  Waiter w;
  w.g = sched::CurrentG();
  {
    sched::NoPreempt no_preempt;
    queue_mu_.lock();
    do {
      if (Count(state) == 0) {
        queue_mu_.unlock();
        return;
      }
      // acquire, on failure too: pairs with Add()
    } while (!state_.compare_exchange_weak(state, state + 1, std::memory_order_acquire,
                                           std::memory_order_acquire));
    queue_.PushBack(&w);
    sched::ParkAndUnlock(sched::WaitReason::kWaitGroupWait, queue_mu_);
  }
  if (state_.load(std::memory_order_relaxed) != 0) {
    internal::ThrowPanic("sync: WaitGroup is reused before previous Wait has returned", where);
  }
}

}  // namespace plimsoll
