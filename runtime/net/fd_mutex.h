// An FdMutex lets a descriptor be closed while others use it: the number must not be given away as
// long as one of them may still pass it to the kernel.
//
//   bit 0     closed
//   bit 1     a reader holds the read lock
//   bit 2     a writer holds the write lock
//   3..22     references: each lock held, each call in progress
//   23..42    goroutines that wait for the read lock
//   43..62    goroutines that wait for the write lock
//
// One reader and one writer at a time: bytes of two Writes do not mix, and each of the poller's
// semaphores has one waiter. After Close nobody gets in; the last one out closes the descriptor.
// (The layout is that of Go's internal/poll.fdMutex.)
#ifndef PLIMSOLL_RUNTIME_NET_FD_MUTEX_H_
#define PLIMSOLL_RUNTIME_NET_FD_MUTEX_H_

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::net::internal {

// Counts permits; goroutines wait for one in the order they came.
class ParkingSemaphore {
 public:
  void Acquire();
  void Release();

 private:
  struct Waiter {
    sched::G* g;
    base::ListLink link;
  };
  base::SpinLock mu_;
  uint32_t permits_ ABSL_GUARDED_BY(mu_) = 0;
  base::IntrusiveList<Waiter, &Waiter::link> queue_ ABSL_GUARDED_BY(mu_);
};

class FdMutex {
 public:
  enum class Side : uint8_t { kRead, kWrite };

  // Takes a reference. False: closed.
  bool Ref();

  // Gives a reference back. True: it was the last of a closed one, and the caller closes.
  [[nodiscard]] bool Unref();

  // Takes a side's lock, and a reference, parking while another holds it. False: closed.
  bool Lock(Side side);

  // True: as Unref.
  [[nodiscard]] bool Unlock(Side side);

  // Lets nobody in any more, wakes those who wait, and takes a reference. False: it was closed.
  bool RefAndClose();

 private:
  std::atomic<uint64_t> state_{0};
  ParkingSemaphore readers_;
  ParkingSemaphore writers_;
};

}  // namespace plimsoll::net::internal

#endif  // PLIMSOLL_RUNTIME_NET_FD_MUTEX_H_
