// A Cond is where goroutines wait for something that a lock guards to change.
//
//   std::unique_lock hold(mu);
//   while (queue.empty()) cond.Wait(hold);
//   cond.Wait(hold, [&] { return !queue.empty(); });   // the same
//
// Waiting:   Wait unlocks, parks, and locks again before it returns. It returns only when it was
//            signalled, but what it waited for may be gone by then: test it in a loop.
// Order:     Signal wakes the one that has waited longest; Broadcast wakes all.
// Threads:   any; Signal and Broadcast may be called with or without the lock.
// Lock:      anything with lock() and unlock().
// Copies:    none: what Go finds out when it runs ("sync.Cond is copied") does not compile.
#ifndef PLIMSOLL_RUNTIME_SYNC_COND_H_
#define PLIMSOLL_RUNTIME_SYNC_COND_H_

#include <atomic>
#include <concepts>
#include <cstdint>

#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

class Cond {
 public:
  Cond() = default;
  Cond(const Cond&) = delete;
  Cond& operator=(const Cond&) = delete;

  template <typename Lock>
  void Wait(Lock& lock) {
    // Drawn with the lock held: a Signal after the unlock finds us, queued or not.
    const uint32_t ticket = next_ticket_.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    struct LockAgain {  // also when the goroutine is ended in its wait
      Lock& lock;
      ~LockAgain() noexcept(false) { lock.lock(); }
    } lock_again{lock};
    WaitForTurn(ticket);
  }

  template <typename Lock, std::predicate Predicate>
  void Wait(Lock& lock, Predicate holds) {
    while (!holds()) Wait(lock);
  }

  void Signal();
  void Broadcast();

 private:
  struct Waiter {
    sched::G* g;
    uint32_t ticket;
    base::ListLink link;
  };
  using Queue = base::IntrusiveList<Waiter, &Waiter::link>;

  void WaitForTurn(uint32_t ticket);

  // Tickets wrap around: they are compared by their difference.
  std::atomic<uint32_t> next_ticket_{0};
  // Tickets below this one were signalled. Guarded by mu_; atomic for the look without it.
  std::atomic<uint32_t> signalled_{0};
  base::SpinLock mu_;
  Queue queue_;  // guarded by mu_; nearly in the order of the tickets
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_COND_H_
