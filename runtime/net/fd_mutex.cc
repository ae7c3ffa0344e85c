#include "plimsoll/runtime/net/fd_mutex.h"

#include "plimsoll/alloc/base/check.h"

namespace plimsoll::net::internal {
namespace {

constexpr uint64_t kClosed = 1;
constexpr uint64_t kReadLock = 1 << 1;
constexpr uint64_t kWriteLock = 1 << 2;
constexpr uint64_t kRef = 1 << 3;
constexpr uint64_t kCount = (1 << 20) - 1;
constexpr uint64_t kRefs = kCount << 3;
constexpr int kReadShift = 23;
constexpr int kWriteShift = 43;

struct Bits {
  uint64_t lock;
  uint64_t waiter;   // one waiter
  uint64_t waiters;  // all of them
};

constexpr Bits BitsOf(FdMutex::Side side) {
  return side == FdMutex::Side::kRead
             ? Bits{kReadLock, uint64_t{1} << kReadShift, kCount << kReadShift}
             : Bits{kWriteLock, uint64_t{1} << kWriteShift, kCount << kWriteShift};
}

}  // namespace

void ParkingSemaphore::Acquire() {
  sched::NoPreempt guard;
  mu_.lock();
  if (permits_ > 0) {
    --permits_;
    mu_.unlock();
    return;
  }
  Waiter waiter{sched::CurrentG(), {}};
  queue_.PushBack(&waiter);
  sched::ParkAndUnlock(sched::WaitReason::kSemacquire, mu_);
}

void ParkingSemaphore::Release() {
  sched::G* wake = nullptr;
  {
    sched::NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    if (Waiter* first = queue_.PopFront()) {
      wake = first->g;  // read under the lock: once readied, the waiter's stack is its own again
    } else {
      ++permits_;
    }
  }
  if (wake != nullptr) sched::Ready(wake);
}

bool FdMutex::Ref() {
  uint64_t old = state_.load(std::memory_order_relaxed);
  do {
    if ((old & kClosed) != 0) return false;
    PLIMSOLL_DCHECK((old & kRefs) != kRefs);
  } while (!state_.compare_exchange_weak(old, old + kRef, std::memory_order_acquire,
                                         std::memory_order_relaxed));
  return true;
}

bool FdMutex::Unref() {
  // acq_rel: the last one out sees what every other did before it left
  const uint64_t now = state_.fetch_sub(kRef, std::memory_order_acq_rel) - kRef;
  return (now & (kClosed | kRefs)) == kClosed;
}

bool FdMutex::Lock(Side side) {
  const Bits bits = BitsOf(side);
  uint64_t old = state_.load(std::memory_order_relaxed);
  while (true) {
    if ((old & kClosed) != 0) return false;
    const bool free = (old & bits.lock) == 0;
    const uint64_t now = free ? (old | bits.lock) + kRef : old + bits.waiter;
    // pairs with the release in Unlock
    if (!state_.compare_exchange_weak(old, now, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
      continue;
    }
    if (free) return true;
    (side == Side::kRead ? readers_ : writers_).Acquire();
    // Who woke us has taken our count out of the state; compete again.
    old = state_.load(std::memory_order_relaxed);
  }
}

bool FdMutex::Unlock(Side side) {
  const Bits bits = BitsOf(side);
  uint64_t old = state_.load(std::memory_order_relaxed);
  uint64_t now;
  bool wake;
  do {
    PLIMSOLL_DCHECK((old & bits.lock) != 0, "net: unlocked twice");
    wake = (old & bits.waiters) != 0;
    now = (old & ~bits.lock) - kRef - (wake ? bits.waiter : 0);
  } while (!state_.compare_exchange_weak(old, now, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  if (wake) (side == Side::kRead ? readers_ : writers_).Release();
  return (now & (kClosed | kRefs)) == kClosed;
}

bool FdMutex::RefAndClose() {
  uint64_t old = state_.load(std::memory_order_relaxed);
  const Bits read = BitsOf(Side::kRead), write = BitsOf(Side::kWrite);
  uint64_t now;
  do {
    if ((old & kClosed) != 0) return false;
    now = ((old | kClosed) + kRef) & ~(read.waiters | write.waiters);
  } while (!state_.compare_exchange_weak(old, now, std::memory_order_acq_rel,
                                         std::memory_order_relaxed));
  for (uint64_t n = (old & read.waiters) >> kReadShift; n > 0; --n) readers_.Release();
  for (uint64_t n = (old & write.waiters) >> kWriteShift; n > 0; --n) writers_.Release();
  return true;
}

}  // namespace plimsoll::net::internal
