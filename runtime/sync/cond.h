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
// Lock:      anything with lock() and unlock(). Held at the call: Wait on an unlocked Mutex is its
//            fatal unlock, and tells the caller's line.
// Copies:    none: what Go finds out when it runs ("sync.Cond is copied") does not compile.
#ifndef PLIMSOLL_RUNTIME_SYNC_COND_H_
#define PLIMSOLL_RUNTIME_SYNC_COND_H_

#include <atomic>
#include <concepts>
#include <cstdint>
#include <source_location>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

class Cond {
 public:
  Cond() = default;
  Cond(const Cond&) = delete;
  Cond& operator=(const Cond&) = delete;

  // Clang's analysis would have to know of whatever lock this is.
  template <typename Lock>
  void Wait(Lock& lock, std::source_location where = std::source_location::current())
      ABSL_NO_THREAD_SAFETY_ANALYSIS {
    // Drawn with the lock held: a Signal after the unlock finds us, queued or not.
    const uint32_t ticket = next_ticket_.fetch_add(1, std::memory_order_relaxed);
    if constexpr (requires { lock.unlock(where); }) {
      lock.unlock(where);
    } else {
      lock.unlock();
    }
    struct LockAgain {  // also when the goroutine is ended in its wait
      Lock& lock;
      ~LockAgain() noexcept(false) { lock.lock(); }
    } lock_again{lock};
    WaitForTurn(ticket);
  }

  template <typename Lock, std::predicate Predicate>
  void Wait(Lock& lock, Predicate holds,
            std::source_location where = std::source_location::current()) {
    while (!holds()) Wait(lock, where);
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
