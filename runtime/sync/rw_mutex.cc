#include "plimsoll/runtime/sync/rw_mutex.h"

#include "plimsoll/runtime/panic/fatal_at.h"

namespace plimsoll {

void RWMutex::lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  writers_.lock();
  // From here on new readers wait. acq_rel: acquire what readers released that have left already;
  // release what this writer will be seen to have announced.
  const int32_t inside = readers_.fetch_sub(kWriter, std::memory_order_acq_rel);
  // Those that left since then have counted departing_ down, maybe before we count it up.
  if (inside != 0 && departing_.fetch_add(inside, std::memory_order_acq_rel) + inside != 0) {
    writer_sema_.Acquire(sched::WaitReason::kRWMutexLock);
  }
}

bool RWMutex::try_lock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (!writers_.try_lock()) return false;
  int32_t none = 0;
  if (readers_.compare_exchange_strong(none, -kWriter, std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
    return true;
  }
  writers_.unlock();
  return false;
}

void RWMutex::unlock(std::source_location where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  // release: pairs with the acquire in lock_shared()
  const int32_t waiting = readers_.fetch_add(kWriter, std::memory_order_release) + kWriter;
  if (waiting >= kWriter) internal::FatalAt(where, "sync: Unlock of unlocked RWMutex");
  // The next writer may come in before the readers below go on: it counts them as inside, and waits
  // for them. This order leaves no touch of the mutex after the last reader can have it.
  writers_.unlock();
  if (waiting > 0) reader_sema_.Release(waiting);
}

bool RWMutex::try_lock_shared() {
  int32_t readers = readers_.load(std::memory_order_relaxed);
  while (readers >= 0) {
    // acquire: pairs with the release in unlock()
    if (readers_.compare_exchange_weak(readers, readers + 1, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void RWMutex::UnlockSharedSlow(int32_t before, std::source_location where) {
  if (before == 0 || before == -kWriter)
    internal::FatalAt(where, "sync: RUnlock of unlocked RWMutex");
  // A writer waits. acq_rel: what every reader did is the writer's to see.
  if (departing_.fetch_sub(1, std::memory_order_acq_rel) == 1) writer_sema_.Release(1);
}

}  // namespace plimsoll
