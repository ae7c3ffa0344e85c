#include "plimsoll/alloc/base/spin_lock.h"

#include "plimsoll/alloc/base/futex.h"

namespace plimsoll::base {

void SpinLock::LockSlow() {
  for (int i = 0; i < 40; ++i) {
    CpuRelax();
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
  }
  // pairs with the release in unlock(). A waiter that gets the lock here leaves it marked
  // "with waiters": at worst one futex wake too many.
  while (word_.exchange(kHeldWithWaiters, std::memory_order_acquire) != kFree) {
    FutexWait(word_, kHeldWithWaiters);
  }
}

void SpinLock::WakeOne() { FutexWake(word_, 1); }

}  // namespace plimsoll::base
