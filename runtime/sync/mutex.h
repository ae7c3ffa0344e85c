// A Mutex lets one goroutine in at a time, and parks the others.
//
//   Mutex mu;
//   { std::lock_guard hold(mu); ++shared; }
//
// Blocking:  parks the goroutine, never its thread. A thread of your own is blocked instead.
// Fairness:  normally a newcomer may get in before those who wait: it is running already. Once a
//            waiter has waited for 1 ms the mutex is handed from one to the next in the order they
//            came, until one has waited less or none is left.
// Spinning:  before it parks, lock() spins for about a microsecond where the holder may be running:
//            other Ps are busy, this one has nothing else to run, and the quota allows it.
// Threads:   any goroutine or thread; the one that unlocks need not be the one that locked.
// Ordering:  what precedes unlock() is visible after the lock() that follows it.
// Lifetime:  may be destroyed as soon as nobody holds or waits for it, as std::mutex may.
// Misuse:    unlock() of an unlocked Mutex is fatal, and tells the caller's line. Not recursive: a
//            second lock() waits for ever.
#ifndef PLIMSOLL_RUNTIME_SYNC_MUTEX_H_
#define PLIMSOLL_RUNTIME_SYNC_MUTEX_H_

#include <atomic>
#include <cstdint>
#include <source_location>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    uint32_t free = 0;
    // pairs with the release in unlock() and UnlockSlow()
    if (!state_.compare_exchange_strong(free, kLocked, std::memory_order_acquire,
                                        std::memory_order_relaxed)) [[unlikely]] {
      LockSlow();
    }
  }

  // False: it is held, or being handed to one who waits.
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);

  void unlock(std::source_location where = std::source_location::current()) ABSL_UNLOCK_FUNCTION() {
    // One addition, where an exchange that compares would first have to wait for the state.
    // Release: pairs with the acquire in lock(), try_lock() and LockSlow().
    const uint32_t before = state_.fetch_sub(kLocked, std::memory_order_release);
    if (before != kLocked) [[unlikely]]
      UnlockSlow(before, where, /*yield=*/true);
  }

 private:
  friend class RWMutex;

  // As unlock, and the caller runs on where the mutex is handed to another: it holds what is wanted
  // more.
  void UnlockAndGoOn(std::source_location where = std::source_location::current())
      ABSL_UNLOCK_FUNCTION() {
    const uint32_t before = state_.fetch_sub(kLocked, std::memory_order_release);  // as unlock's
    if (before != kLocked) [[unlikely]]
      UnlockSlow(before, where, /*yield=*/false);
  }

  // state_. kStarving and kWaiters change under queue_mu_ only. Without it: kLocked is set where
  // MayTake, and cleared by the owner; kWoken is set by one that spins, and only beside kLocked.
  // "Leaving": neither kLocked nor kWoken, but kWaiters. An owner has let go and still has to wake
  // the oldest waiter; it alone may change the state then, under queue_mu_. Could somebody else
  // take the mutex meanwhile, he could wake that waiter himself, who deletes it, and the one that
  // leaves would come to a lock that is gone.
  enum : uint32_t {
    kLocked = 1,
    kStarving = 2,  // the next owner is the oldest waiter; unlock passes kLocked on
    kWaiters = 4,   // the queue is not empty
    kWoken = 8,     // a waiter that was made ready, or one that spins, competes: wake no other
  };

  struct Waiter {
    sched::G* g;
    int64_t since_ns;     // when it first queued
    bool handed = false;  // woken as the owner
    base::ListLink link;
  };

  static bool MayTake(uint32_t state) {
    return (state & (kLocked | kStarving)) == 0 && (state & (kWaiters | kWoken)) != kWaiters;
  }

  void LockSlow();
  bool LockWithoutQueue(bool* awoke);
  void UnlockSlow(uint32_t before, std::source_location where, bool yield);

  std::atomic<uint32_t> state_{0};
  base::SpinLock queue_mu_;
  base::IntrusiveList<Waiter, &Waiter::link> queue_;  // guarded by queue_mu_
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_MUTEX_H_
