// A Semaphore lets work in up to a total weight.
//
//   Semaphore slots(8);
//   slots.Acquire(2);  ...  slots.Release(2);
//
// Fairness:  first come, first served: a heavy request that waits is not overtaken by light ones.
// Blocking:  Acquire parks the goroutine. One that asks for more than there will ever be waits for
//            ever; TryAcquireFor ends at its time.
// Threads:   any; the one that releases need not be the one that acquired.
// Misuse:    releasing more than is held panics "semaphore: released more than held".
#ifndef PLIMSOLL_RUNTIME_SYNC_SEMAPHORE_H_
#define PLIMSOLL_RUNTIME_SYNC_SEMAPHORE_H_

#include <cstdint>
#include <source_location>

#include "absl/time/time.h"
#include "plimsoll/alloc/base/intrusive_list.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {

class Semaphore {
 public:
  explicit Semaphore(int64_t weight) : free_(weight), total_(weight) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  void Acquire(int64_t weight = 1);
  // False: it would have to wait.
  [[nodiscard]] bool TryAcquire(int64_t weight = 1);
  // False: `timeout` passed.
  [[nodiscard]] bool TryAcquireFor(int64_t weight, absl::Duration timeout);
  void Release(int64_t weight = 1, std::source_location where = std::source_location::current());

 private:
  struct Waiter {
    sched::G* g;
    int64_t weight;
    sched::WakeClaim* claim;  // null: only Release wakes it
    base::ListLink link;
  };
  using Queue = base::IntrusiveList<Waiter, &Waiter::link>;

  void Admit(Queue& woken);

  base::SpinLock mu_;
  int64_t free_;  // guarded by mu_, as is queue_
  const int64_t total_;
  Queue queue_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_SEMAPHORE_H_
