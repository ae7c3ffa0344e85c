#include "plimsoll/alloc/base/spin_lock.h"

#include "plimsoll/alloc/base/futex.h"

namespace plimsoll::base {

namespace {

// Few looks, far apart: each takes the cache line from the holder, who then waits for it to give
// the lock back; and who spins a while leaves the other core a run of operations on lines that it
// has. DESIGN.md has the figures. Go's active_spin and active_spin_cnt (runtime/lock_futex.go).
constexpr int kLooks = 4;
constexpr int kPausesBetweenLooks = 30;

// Longer than a holder that has its CPU ever takes, short against what a lost CPU costs.
constexpr int64_t kLookAgainNs = 200'000;

constinit std::atomic<void (*)()> wait_hook{nullptr};

}  // namespace

void SpinLock::LockSlow() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  for (int look = 0; look < kLooks; ++look) {
    for (int i = 0; i < kPausesBetweenLooks; ++i) CpuRelax();
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
  }
  // pairs with the release in unlock(). A waiter that gets the lock here leaves it marked
  // "with waiters": at worst one futex wake too many.
  while (word_.exchange(kHeldWithWaiters, std::memory_order_acquire) != kFree) {
    if (auto* hook = wait_hook.load(std::memory_order_relaxed)) hook();
    FutexWait(word_, kHeldWithWaiters, kLookAgainNs);
  }
}

void SetSpinLockWaitHook(void (*hook)()) { wait_hook.store(hook, std::memory_order_relaxed); }

void SpinLock::WakeOne() { FutexWake(word_, 1); }

}  // namespace plimsoll::base
