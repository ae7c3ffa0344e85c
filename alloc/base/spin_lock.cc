#include "plimsoll/alloc/base/spin_lock.h"

#include "plimsoll/alloc/base/futex.h"

namespace plimsoll::base {

namespace {

// Longer than a holder that has its CPU ever takes, short against what a lost CPU costs.
constexpr int64_t kLookAgainNs = 200'000;

}  // namespace

void SpinLock::LockSlow() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (int i = 0; i < 40; ++i) {
    CpuRelax();
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
  }
  // pairs with the release in unlock(). A waiter that gets the lock here leaves it marked
  // "with waiters": at worst one futex wake too many.
  while (word_.exchange(kHeldWithWaiters, std::memory_order_acquire) != kFree) {
    FutexWait(word_, kHeldWithWaiters, kLookAgainNs);
  }
}

void SpinLock::WakeOne() { FutexWake(word_, 1); }

}  // namespace plimsoll::base
