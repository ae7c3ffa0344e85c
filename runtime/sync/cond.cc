#include "plimsoll/runtime/sync/cond.h"

namespace plimsoll {

void Cond::WaitForTurn(uint32_t ticket) {
  Waiter w;
  w.g = sched::CurrentG();
  w.ticket = ticket;
  sched::NoPreempt no_preempt;
  mu_.lock();
  if (static_cast<int32_t>(ticket - signalled_.load(std::memory_order_relaxed)) < 0) {
    mu_.unlock();  // signalled between the unlock and here
    return;
  }
  queue_.PushBack(&w);
  sched::ParkAndUnlock(sched::WaitReason::kCondWait, mu_);
}

void Cond::Signal() {
  // Nobody has drawn a ticket that was not signalled: nothing to do. acquire: whoever changed the
  // condition under the lock sees the tickets drawn under it before.
  if (next_ticket_.load(std::memory_order_acquire) == signalled_.load(std::memory_order_acquire)) {
    return;
  }
  sched::NoPreempt no_preempt;
  mu_.lock();
  const uint32_t ticket = signalled_.load(std::memory_order_relaxed);
  if (ticket == next_ticket_.load(std::memory_order_relaxed)) {
    mu_.unlock();
    return;
  }
  signalled_.store(ticket + 1, std::memory_order_release);
  // It is the first in the queue, but for those that drew a ticket and were overtaken on the way
  // here. One that is not queued yet will see signalled_.
  Queue passed;
  Waiter* wake = nullptr;
  while (Waiter* w = queue_.PopFront()) {
    if (w->ticket == ticket) {
      wake = w;
      break;
    }
    passed.PushBack(w);
  }
  Queue back_to_front;
  while (Waiter* w = passed.PopFront()) back_to_front.PushFront(w);
  while (Waiter* w = back_to_front.PopFront()) queue_.PushFront(w);
  mu_.unlock();
  if (wake != nullptr) sched::Ready(wake->g);
}

void Cond::Broadcast() {
  Queue woken;
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    signalled_.store(next_ticket_.load(std::memory_order_relaxed), std::memory_order_release);
    while (Waiter* w = queue_.PopFront()) woken.PushBack(w);
  }
  while (Waiter* w = woken.PopFront()) sched::Ready(w->g);
}

}  // namespace plimsoll
