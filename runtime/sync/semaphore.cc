#include "plimsoll/runtime/sync/semaphore.h"

#include "absl/base/thread_annotations.h"
#include "plimsoll/runtime/chan/deadline.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll {
namespace {

bool Unlock(sched::G*, void* mu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  static_cast<base::SpinLock*>(mu)->unlock();
  return true;
}

}  // namespace

// With mu_ held: gives what is free to the oldest, as far as it goes.
void Semaphore::Admit(Queue& woken) {
  while (Waiter* w = queue_.front()) {
    if (w->weight > free_) return;
    queue_.Remove(w);
    if (w->claim != nullptr && !w->claim->TryClaim(1)) continue;  // its time is over
    free_ -= w->weight;
    woken.PushBack(w);
  }
}

bool Semaphore::TryAcquire(int64_t weight) {
  sched::NoPreempt no_preempt;
  base::SpinLockHolder hold(mu_);
  if (!queue_.empty() || weight > free_) return false;
  free_ -= weight;
  return true;
}

void Semaphore::Acquire(int64_t weight) {
  sched::NoPreempt no_preempt;
  mu_.lock();
  if (queue_.empty() && weight <= free_) {
    free_ -= weight;
    mu_.unlock();
    return;
  }
  Waiter w{sched::CurrentG(), weight, nullptr, {}};
  queue_.PushBack(&w);
  sched::ParkAndUnlock(sched::WaitReason::kSemacquire, mu_);
}

// The lock goes with the commit, which the analysis does not follow.
bool Semaphore::TryAcquireFor(int64_t weight,
                              absl::Duration timeout) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (timeout <= absl::ZeroDuration()) return TryAcquire(weight);
  const int64_t deadline_ns = internal::NanosFromNow(timeout);
  Queue woken;
  {
    sched::NoPreempt no_preempt;
    mu_.lock();
    if (queue_.empty() && weight <= free_) {
      free_ -= weight;
      mu_.unlock();
      return true;
    }
    sched::WakeClaim claim;
    Waiter w{sched::CurrentG(), weight, &claim, {}};
    queue_.PushBack(&w);
    if (sched::ParkUntil(sched::WaitReason::kSemacquire, deadline_ns, claim, Unlock, &mu_) !=
        sched::WakeClaim::kTimedOut) {
      return true;
    }
    mu_.lock();
    if (w.link.linked()) queue_.Remove(&w);
    Admit(woken);  // those behind it may have waited for it alone
    mu_.unlock();
  }
  while (Waiter* next = woken.PopFront()) sched::Ready(next->g);
  return false;
}

void Semaphore::Release(int64_t weight, std::source_location where) {
  Queue woken;
  bool too_much;
  {
    sched::NoPreempt no_preempt;
    base::SpinLockHolder hold(mu_);
    too_much = weight < 0 || weight > total_ - free_;
    if (!too_much) {
      free_ += weight;
      Admit(woken);
    }
  }
  if (too_much) internal::ThrowPanic("semaphore: released more than held", where);
  while (Waiter* w = woken.PopFront()) sched::Ready(w->g);
}

}  // namespace plimsoll
