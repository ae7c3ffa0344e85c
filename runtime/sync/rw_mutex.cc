#include "plimsoll/runtime/sync/rw_mutex.h"

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/panic/fatal_at.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

void RWMutex::LockSlow() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  // As Mutex does: who has it may be about to leave, and handing over costs a switch. The word is 0
  // only where no writer has announced itself, so none that has is overtaken.
  for (int spins = 0; sched::CanSpin(spins); ++spins) {
    for (int i = 0; i < 30; ++i) base::CpuRelax();
    if (readers_.load(std::memory_order_relaxed) == 0 && try_lock()) return;
  }
  next_writer_.lock();
  // From here on new readers wait. acq_rel: acquire what readers and a writer released that have
  // left already; release what this writer will be seen to have announced.
  const int32_t before = readers_.fetch_sub(kWriter, std::memory_order_acq_rel);
  // Waits for the writer that is in, which hands over, or for the readers that are. Those that left
  // since then have counted departing_ down, maybe before we count it up.
  if (before < 0 ||
      (before != 0 && departing_.fetch_add(before, std::memory_order_acq_rel) + before != 0)) {
    writer_sema_.Acquire(sched::WaitReason::kRWMutexLock);
  }
  // It is ours: no time to let others run, whoever gets this mutex.
  next_writer_.UnlockAndGoOn();
}

bool RWMutex::try_lock() {
  int32_t free = 0;
  // acquire: as lock()'s
  return readers_.compare_exchange_strong(free, -kWriter, std::memory_order_acquire,
                                          std::memory_order_relaxed);
}

void RWMutex::unlock(std::source_location where) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  // acq_rel: release, for the acquire in lock() and lock_shared(); acquire, so that what follows is
  // after the next writer's announcement.
  const int32_t left = readers_.fetch_add(kWriter, std::memory_order_acq_rel) + kWriter;
  if (left >= kWriter) internal::FatalAt(where, "sync: Unlock of unlocked RWMutex");
  if (left == 0) return;  // and the mutex may be gone
  // Whoever is counted waits for us: the mutex stays until the last of them has what it waits for.
  if (left > 0) {
    reader_sema_.Release(left);
    return;
  }
  // The next writer waits. Readers that came while we were in go before it; it waits for them.
  const int32_t waiting = left + kWriter;
  if (waiting == 0) {
    writer_sema_.Release(1);
    // It owns what others want, and should run now, not when our time slice ends.
    sched::Yield();
    return;
  }
  departing_.fetch_add(waiting, std::memory_order_acq_rel);  // before they are in, and can leave
  reader_sema_.Release(waiting);
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
  if ((before & (kWriter - 1)) == 0) internal::FatalAt(where, "sync: RUnlock of unlocked RWMutex");
  // A writer waits. acq_rel: what every reader did is the writer's to see.
  if (departing_.fetch_sub(1, std::memory_order_acq_rel) == 1) writer_sema_.Release(1);
}

}  // namespace plimsoll
