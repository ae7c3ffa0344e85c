#include "plimsoll/runtime/sync/mutex.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/panic/fatal_at.h"

namespace plimsoll {
namespace {

// Go's threshold: long against a hand-over, short against a time slice.
constexpr int64_t kStarvingAfterNs = 1'000'000;

}  // namespace

bool Mutex::try_lock() {
  uint32_t state = state_.load(std::memory_order_relaxed);
  if (!MayTake(state)) return false;
  // One try: losing means that somebody else has it. Pairs with the release in unlock().
  return state_.compare_exchange_strong(state, state | kLocked, std::memory_order_acquire,
                                        std::memory_order_relaxed);
}

// Takes the mutex if it becomes free while it is worth a spin. False: queue up.
bool Mutex::LockWithoutQueue(bool* awoke) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  for (int spins = 0;;) {
    if (MayTake(state)) {
      const uint32_t next = (*awoke ? state & ~uint32_t{kWoken} : state) | kLocked;
      // acquire: pairs with the release of the unlock that made it free
      if (state_.compare_exchange_weak(state, next, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return true;
      }
      continue;
    }
    if ((state & kStarving) != 0 || !sched::CanSpin(spins)) return false;
    // Whoever unlocks later need not wake another one: we are here already.
    if (!*awoke && (state & (kLocked | kWoken | kWaiters)) == (kLocked | kWaiters) &&
        state_.compare_exchange_strong(state, state | kWoken, std::memory_order_relaxed)) {
      *awoke = true;
    }
    for (int i = 0; i < 30; ++i) base::CpuRelax();
    ++spins;
    state = state_.load(std::memory_order_relaxed);
  }
}

void Mutex::LockSlow() {
  Waiter w;
  w.g = nullptr;  // not queued yet
  bool awoke = false;
  bool starving = false;
  for (;;) {
    if (LockWithoutQueue(&awoke)) return;
    sched::NoPreempt no_preempt;
    queue_mu_.lock();
    uint32_t state = state_.load(std::memory_order_relaxed);
    uint32_t next;
    bool free;
    do {
      free = MayTake(state);
      next = awoke ? state & ~uint32_t{kWoken} : state;
      if (free) {
        next |= kLocked;
      } else {
        next |= kWaiters;
        if (starving && (state & kLocked) != 0) next |= kStarving;
      }
      // acquire: pairs with the release of the unlock that made it free. An unlock and a newcomer's
      // lock may change the state meanwhile.
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

// kLocked is cleared already; `before` is the state before that.
void Mutex::UnlockSlow(uint32_t before, std::source_location where, bool yield) {
  if ((before & kLocked) == 0) internal::FatalAt(where, "sync: unlock of unlocked mutex");
  // Somebody competes for it already, or nobody waits: then no one has to be woken, and the mutex
  // may be gone.
  if ((before & kStarving) == 0 && (before & (kWoken | kWaiters)) != kWaiters) return;
  sched::NoPreempt no_preempt;
  queue_mu_.lock();
  // Ours to change ("leaving"): it still says kWaiters, and for as long as it does nobody takes the
  // last waiter out.
  uint32_t next = state_.load(std::memory_order_relaxed);
  Waiter* const wake = queue_.PopFront();
  PLIMSOLL_DCHECK(wake != nullptr, "a mutex has waiters and its queue is empty");
  const bool handed = (next & kStarving) != 0;
  if (handed) {
    next |= kLocked;  // on behalf of `wake`
    if (queue_.empty() || sched::NowNanos() - wake->since_ns < kStarvingAfterNs) {
      next &= ~uint32_t{kStarving};
    }
    wake->handed = true;
  } else {
    next |= kWoken;
  }
  if (queue_.empty()) next &= ~uint32_t{kWaiters};
  // release: pairs with the acquire of the next lock
  state_.store(next, std::memory_order_release);
  queue_mu_.unlock();
  // From here on the mutex may be gone.
  sched::Ready(wake->g);
  // The new owner should run now, not when our time slice ends: others wait for it in turn.
  if (handed && yield) sched::Yield();
}

}  // namespace plimsoll
