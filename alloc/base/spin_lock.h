// A SpinLock guards a few dozen instructions, and may be taken beneath malloc.
//
//   base::SpinLock mu;
//   { base::SpinLockHolder hold(mu); ... }
//
// Waiting:  120 times PAUSE (3 us on EPYC) and four looks, then a futex: a holder whose thread the
//           kernel took off its CPU must not cost the waiters theirs. The wake-up can be missed
//           between two instructions of unlock(); a waiter therefore looks again after 200 us
//           (DESIGN.md).
// Rules:    never held across a park; on a goroutine, held only with preemption off (the holder's
//           M counts no_preempt up first). Not recursive, not fair.
// Threads:  any, handlers excepted.
#ifndef PLIMSOLL_ALLOC_BASE_SPIN_LOCK_H_
#define PLIMSOLL_ALLOC_BASE_SPIN_LOCK_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"

namespace plimsoll::base {

class ABSL_LOCKABLE SpinLock {
 public:
  constexpr SpinLock() = default;
  SpinLock(const SpinLock&) = delete;
  SpinLock& operator=(const SpinLock&) = delete;

  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    if (!try_lock()) LockSlow();
  }

  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) {
    uint32_t free = kFree;
    // pairs with the release in unlock()
    return word_.compare_exchange_strong(free, kHeld, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }

  void unlock() ABSL_UNLOCK_FUNCTION() {
    // A plain store, where an exchange would be a second locked instruction. A waiter that marks
    // the word between our load and our store is not woken: its wait is short and it looks again
    // (LockSlow); DESIGN.md counts how often. Nothing of the lock is touched after it is free: it
    // may be gone by then. Both release: pair with the acquire in try_lock() and LockSlow()
    if (word_.load(std::memory_order_relaxed) == kHeld) [[likely]] {
      word_.store(kFree, std::memory_order_release);
    } else {
      word_.store(kFree, std::memory_order_release);
      WakeOne();
    }
  }

  // For DCHECKs: true while anybody holds it.
  bool held() const { return word_.load(std::memory_order_relaxed) != kFree; }

 private:
  enum : uint32_t { kFree = 0, kHeld = 1, kHeldWithWaiters = 2 };

  void LockSlow();
  void WakeOne();

  std::atomic<uint32_t> word_{kFree};
};

class ABSL_SCOPED_LOCKABLE SpinLockHolder {
 public:
  explicit SpinLockHolder(SpinLock& lock) ABSL_EXCLUSIVE_LOCK_FUNCTION(lock) : lock_(lock) {
    lock_.lock();
  }
  ~SpinLockHolder() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  SpinLockHolder(const SpinLockHolder&) = delete;
  SpinLockHolder& operator=(const SpinLockHolder&) = delete;

 private:
  SpinLock& lock_;
};

// Called by whoever would sleep for a SpinLock, before it does. For a forked child, where its
// holder may be a thread that is not there. Null: nothing is called.
void SetSpinLockWaitHook(void (*hook)());

// One PAUSE (YIELD on arm64): tells the core that this is a spin.
inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_SPIN_LOCK_H_
