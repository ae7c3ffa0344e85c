// An RWMutex lets any number of readers in, or one writer.
//
//   RWMutex mu;
//   { std::shared_lock read(mu); Use(table); }
//   { std::lock_guard write(mu); table.Add(row); }
//
// Fairness:  a writer that waits keeps new readers out, so that it gets its turn; when it is done,
//            the readers that came meanwhile go before the next writer. A goroutine that holds a
//            read lock must therefore not ask for a second one: with a writer between, neither
//            moves.
// Spinning:  before it waits, lock() spins for a moment, by the rules of Mutex.
// Blocking:  parks the goroutine, never its thread. A thread of your own is blocked instead.
// Threads:   any; the one that unlocks need not be the one that locked.
// Ordering:  what precedes unlock() is visible after the lock() and lock_shared() that follow it;
//            what precedes unlock_shared() is visible after the lock() that follows it.
// Lifetime:  may be destroyed as soon as nobody holds or waits for it.
// Misuse:    unlocking what is not locked is fatal, and tells the caller's line.
#ifndef PLIMSOLL_RUNTIME_SYNC_RW_MUTEX_H_
#define PLIMSOLL_RUNTIME_SYNC_RW_MUTEX_H_

#include <atomic>
#include <cstdint>
#include <source_location>

#include "absl/base/thread_annotations.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/sema.h"

namespace plimsoll {

class ABSL_LOCKABLE RWMutex {
 public:
  RWMutex() = default;
  RWMutex(const RWMutex&) = delete;
  RWMutex& operator=(const RWMutex&) = delete;

  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    int32_t free = 0;
    // acquire: pairs with the releases in unlock() and unlock_shared()
    if (!readers_.compare_exchange_strong(free, -kWriter, std::memory_order_acquire,
                                          std::memory_order_relaxed)) [[unlikely]] {
      LockSlow();
    }
  }
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true);
  void unlock(std::source_location where = std::source_location::current()) ABSL_UNLOCK_FUNCTION();

  void lock_shared() ABSL_SHARED_LOCK_FUNCTION() {
    // acquire: pairs with the release in unlock()
    if (readers_.fetch_add(1, std::memory_order_acquire) < 0) [[unlikely]] {
      reader_sema_.Acquire(sched::WaitReason::kRWMutexRLock);
    }
  }
  bool try_lock_shared() ABSL_SHARED_TRYLOCK_FUNCTION(true);
  void unlock_shared(std::source_location where = std::source_location::current())
      ABSL_UNLOCK_FUNCTION() {
    // release: pairs with the acquire in lock()
    const int32_t before = readers_.fetch_sub(1, std::memory_order_release);
    if (before <= 0) [[unlikely]]
      UnlockSharedSlow(before, where);
  }

 private:
  static constexpr int32_t kWriter = 1 << 30;  // more than there can be readers

  void LockSlow();
  void UnlockSharedSlow(int32_t before, std::source_location where);

  // Readers that are in or wait for a writer, less kWriter for the writer that is in or waits for
  // readers, and less kWriter for the one that is next, of whom there is at most one. What lets
  // others in is one change of this word, and the last touch of the mutex by who makes it, but
  // where somebody waits who cannot go on without more.
  std::atomic<int32_t> readers_{0};
  // Readers that the next writer still has to see leave. May go below zero for a moment.
  std::atomic<int32_t> departing_{0};
  internal::Sema writer_sema_;  // gives the next writer its turn
  internal::Sema reader_sema_;
  Mutex next_writer_;  // held by the next writer while it waits: the others queue here
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_RW_MUTEX_H_
