#include "plimsoll/runtime/gc/mark_pool.h"

#include <climits>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/gc/marker.h"

namespace plimsoll::gc::internal {

void MarkPool::Open() {
  {
    base::SpinLockHolder hold(mu_);
    PLIMSOLL_CHECK(active_ == 0 && batch_count_ == 0);  // (2)
    active_ = 1;
    sum_ = Sum();
    // The helpers are on their way: there may be something for the first of them.
    hungry_.store(true, std::memory_order_relaxed);
  }
  // release: pairs with the acquire in AwaitRound()
  round_.fetch_add(1, std::memory_order_release);
  base::FutexWake(round_, INT_MAX);
}

void MarkPool::Give(Marker& marker) {
  {
    base::SpinLockHolder hold(mu_);
    if (batch_count_ == kBatches) return;
    Batch& batch = batches_[batch_count_];
    batch.count = marker.TakeOldest(batch.greys, kBatch);
    if (batch.count == 0) return;
    ++batch_count_;
    UpdateHungry();
  }
  change_.fetch_add(1, std::memory_order_release);  // pairs with Take()
  base::FutexWake(change_, 1);
}

bool MarkPool::Take(MarkStack& stack, Sum* marked) {
  constexpr int kSpins = 200;
  constexpr int64_t kLookAgainNs = 100'000;
  bool waits = false;
  for (int spins = 0;; ++spins) {
    const uint32_t change = change_.load(std::memory_order_acquire);  // pairs with Give()
    bool over;
    {
      base::SpinLockHolder hold(mu_);
      if (!waits) {
        if (marked != nullptr) {
          --active_;
          sum_.bytes += marked->bytes;
          sum_.objects += marked->objects;
          *marked = Sum();
        }
        ++waiting_;
        waits = true;
      }
      if (batch_count_ > 0) {
        const Batch& batch = batches_[--batch_count_];
        for (size_t i = 0; i < batch.count; ++i) stack.Push(batch.greys[i]);
        --waiting_;
        ++active_;
        UpdateHungry();
        return true;
      }
      over = active_ == 0;  // by (2)
      if (over) --waiting_;
      UpdateHungry();
    }
    if (over) {
      change_.fetch_add(1, std::memory_order_release);
      base::FutexWake(change_, INT_MAX);
      return false;
    }
    if (spins < kSpins) {
      base::CpuRelax();
    } else {
      base::FutexWait(change_, change, kLookAgainNs);
    }
  }
}

MarkPool::Sum MarkPool::Total() {
  base::SpinLockHolder hold(mu_);
  return sum_;
}

uint32_t MarkPool::AwaitRound(uint32_t last) {
  for (;;) {
    const uint32_t round = round_.load(std::memory_order_acquire);  // pairs with Open()
    if (round != last) return round;
    base::FutexWait(round_, last);
  }
}

}  // namespace plimsoll::gc::internal
