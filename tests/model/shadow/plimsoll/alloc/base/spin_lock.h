// The product's SpinLock under exploration: a lock that blocks. (How it spins is not modelled.)
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_SPIN_LOCK_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_SPIN_LOCK_H_

#include <source_location>

#include "absl/base/thread_annotations.h"
#include "plimsoll/tests/model/atomic.h"

namespace plimsoll::base {

class ABSL_LOCKABLE SpinLock {
 public:
  void lock(std::source_location where = std::source_location::current())
      ABSL_EXCLUSIVE_LOCK_FUNCTION() {
    lock_.lock(where);
  }
  void unlock(std::source_location where = std::source_location::current()) ABSL_UNLOCK_FUNCTION() {
    lock_.unlock(where);
  }
  bool held() const { return lock_.held(); }

 private:
  model::Lock lock_;
};

class ABSL_SCOPED_LOCKABLE SpinLockHolder {
 public:
  explicit SpinLockHolder(SpinLock& lock,
                          std::source_location where = std::source_location::current())
      ABSL_EXCLUSIVE_LOCK_FUNCTION(lock)
      : lock_(lock) {
    lock_.lock(where);
  }
  ~SpinLockHolder() ABSL_UNLOCK_FUNCTION() { lock_.unlock(); }
  SpinLockHolder(const SpinLockHolder&) = delete;
  SpinLockHolder& operator=(const SpinLockHolder&) = delete;

 private:
  SpinLock& lock_;
};

inline void CpuRelax(std::source_location where = std::source_location::current()) {
  model::Relax(where);
}

}  // namespace plimsoll::base

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_SPIN_LOCK_H_
