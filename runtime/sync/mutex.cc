#include "plimsoll/runtime/sync/mutex.h"

#include "plimsoll/alloc/base/check.h"

namespace plimsoll {
namespace {

// Go's threshold: long against a hand-over, short against a time slice.
constexpr int64_t kStarvingAfterNs = 1'000'000;

}  // namespace

bool Mutex::try_lock() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  if ((state & (kLocked | kStarving)) != 0) return false;
  // One try: losing means that somebody else has it. Pairs with the release in unlock().
  return state_.compare_exchange_strong(state, state | kLocked, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

void Mutex::LockSlow() {
  Waiter w;
  w.g = nullptr;  // not queued yet
  bool awoke = false;
  bool starving = false;
  for (;;) {
    sched::NoPreempt no_preempt;
    queue_mu_.lock();
    uint32_t state = state_.load(std::memory_order_relaxed);
    uint32_t next;
    bool free;
    do {
      free = (state & (kLocked | kStarving)) == 0;
      next = awoke ? state & ~uint32_t{kWoken} : state;
      if (free) {
        next |= kLocked;
      } else {
        next |= kWaiters;
        if (starving && (state & kLocked) != 0) next |= kStarving;
      }
      // acquire: pairs with the release of the unlock that made it free. A holder's fast unlock
      // may change the state meanwhile, and a newcomer's fast lock.
    } while (!state_.compare_exchange_weak(state, next, std::memory_order_acquire,
                                           std::memory_order_relaxed));
    if (free) {
      queue_mu_.unlock();
      return;
    }
    if (w.g == nullptr) {
      w.g = sched::CurrentG();
      w.since_ns = sched::NowNanos();
      queue_.PushBack(&w);
    } else {
      queue_.PushFront(&w);  // it has waited before those behind it
    }
    sched::ParkAndUnlock(sched::WaitReason::kMutexLock, queue_mu_);
    if (w.handed) return;
    awoke = true;
    starving = starving || sched::NowNanos() - w.since_ns > kStarvingAfterNs;
  }
}

void Mutex::UnlockSlow() {
  sched::NoPreempt no_preempt;
  queue_mu_.lock();
  uint32_t state = state_.load(std::memory_order_relaxed);
  if ((state & kLocked) == 0) {
    queue_mu_.unlock();
    base::Fatal("sync: unlock of unlocked mutex");
  }
  Waiter* wake = nullptr;
  uint32_t next;
  if ((state & kStarving) != 0) {
    wake = queue_.PopFront();  // not null: it left kStarving set, and nobody else takes it out
    wake->handed = true;
    next = state;  // locked still, now on behalf of `wake`
    const bool last = queue_.empty();
    if (last || sched::NowNanos() - wake->since_ns < kStarvingAfterNs) {
      next &= ~uint32_t{kStarving};
    }
  } else {
    next = state & ~uint32_t{kLocked};
    if ((state & kWoken) == 0 && (wake = queue_.PopFront()) != nullptr) next |= kWoken;
  }
  if (queue_.empty()) next &= ~uint32_t{kWaiters};
  // A plain store will do: with kLocked and queue_mu_ both ours, and state_ not kLocked alone, no
  // fast path matches. Pairs with the acquire of the next lock.
  state_.store(next, std::memory_order_release);
  queue_mu_.unlock();
  // From here on the mutex may be gone.
  if (wake == nullptr) return;
  const bool handed = wake->handed;
  sched::Ready(wake->g);
  // The new owner should run now, not when our time slice ends: others wait for it in turn.
  if (handed) sched::Yield();
}

}  // namespace plimsoll
