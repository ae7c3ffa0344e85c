// A Sema counts tokens that goroutines wait for, oldest first: what the other primitives park on.
//
//   Sema readers;
//   readers.Acquire(WaitReason::kRWMutexRLock);   // takes a token, or parks until one is given
//   readers.Release(n);                           // gives n, and wakes as many
//
// Lifetime: Release touches nothing of the Sema once a token can be taken, so whoever takes the
//           last one may destroy it.
#ifndef PLIMSOLL_RUNTIME_SYNC_SEMA_H_
#define PLIMSOLL_RUNTIME_SYNC_SEMA_H_

#include <cstdint>

#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::internal {

class Sema {
 public:
  void Acquire(sched::WaitReason reason) {
    Waiter w;
    w.g = sched::CurrentG();
    sched::NoPreempt no_preempt;
    mu_.lock();
    if (tokens_ > 0) {
      --tokens_;
      mu_.unlock();
      return;
    }
    queue_.PushBack(&w);
    sched::ParkAndUnlock(reason, mu_);
  }

  void Release(int32_t n) {
    Queue woken;
    {
      sched::NoPreempt no_preempt;
      base::SpinLockHolder hold(mu_);
      for (; n > 0; --n) {
        Waiter* w = queue_.PopFront();
        if (w == nullptr) break;
        woken.PushBack(w);
      }
      tokens_ += n;
    }
    while (Waiter* w = woken.PopFront()) sched::Ready(w->g);
  }

 private:
  struct Waiter {
    sched::G* g;
    base::ListLink link;
  };
  using Queue = base::IntrusiveList<Waiter, &Waiter::link>;

  base::SpinLock mu_;
  int32_t tokens_ = 0;  // guarded by mu_, as is queue_; above zero only while queue_ is empty
  Queue queue_;
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_SYNC_SEMA_H_
