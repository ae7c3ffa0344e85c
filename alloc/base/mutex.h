// A Mutex is std::mutex that Clang's thread-safety analysis and TSan both understand.
//
// Use it above malloc, where a thread may sleep: never on a goroutine's fast path, and never held
// across a park. (absl::Mutex is not used: Debian's is not instrumented, so TSan sees false races.)
#ifndef PLIMSOLL_ALLOC_BASE_MUTEX_H_
#define PLIMSOLL_ALLOC_BASE_MUTEX_H_

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace plimsoll::base {

class ABSL_LOCKABLE Mutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  bool try_lock() ABSL_EXCLUSIVE_TRYLOCK_FUNCTION(true) { return mu_.try_lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  std::mutex mu_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_.lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_MUTEX_H_
