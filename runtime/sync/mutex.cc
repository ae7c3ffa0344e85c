#include "plimsoll/runtime/sync/mutex.h"

#include "plimsoll/runtime/panic/fatal_at.h"

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

// Takes the mutex if it becomes free while it is worth a spin. False: queue up.
bool Mutex::LockWithoutQueue(bool* awoke) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  for (int spins = 0;;) {
    if ((state & (kLocked | kStarving)) == 0) {
      const uint32_t next = (*awoke ? state & ~uint32_t{kWoken} : state) | kLocked;
      // acquire: pairs with the release of the unlock that made it free
      if (state_.compare_exchange_weak(state, next, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
        return true;
      }
      continue;
    }
    if ((state & kStarving) != 0 || !sched::CanSpin(spins)) return false;
    // Whoever unlocks meanwhile need not wake another one: we are here already.
    if (!*awoke && (state & (kWoken | kWaiters)) == kWaiters &&
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
      free = (state & (kLocked | kStarving)) == 0;
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

void Mutex::UnlockSlow(std::source_location where) {
  uint32_t state = state_.load(std::memory_order_relaxed);
  // Somebody competes for it already, or nobody waits: then no one has to be woken. Nothing of the
  // mutex is touched after it is free.
  while ((state & kLocked) != 0 && (state & kStarving) == 0 &&
         ((state & kWoken) != 0 || (state & kWaiters) == 0)) {
    // release: pairs with the acquire of the next lock
    if (state_.compare_exchange_weak(state, state & ~uint32_t{kLocked}, std::memory_order_release,
                                     std::memory_order_relaxed)) {
      return;
    }
  }
  if ((state & kLocked) == 0) internal::FatalAt(where, "sync: unlock of unlocked mutex");
  sched::NoPreempt no_preempt;
  queue_mu_.lock();
  state = state_.load(std::memory_order_relaxed);
  Waiter* wake = nullptr;
  bool handed = false;
  for (;;) {
    uint32_t next;
    if ((state & kStarving) != 0) {
      wake = queue_.PopFront();  // not null: it left kStarving set, and nobody else takes it out
      handed = true;
      next = state;  // locked still, now on behalf of `wake`
      if (queue_.empty() || sched::NowNanos() - wake->since_ns < kStarvingAfterNs) {
        next &= ~uint32_t{kStarving};
      }
    } else {
      next = state & ~uint32_t{kLocked};
      if ((state & kWoken) == 0) wake = queue_.PopFront();
      if (wake != nullptr) next |= kWoken;
    }
    if (queue_.empty()) next &= ~uint32_t{kWaiters};
    // release: pairs with the acquire of the next lock
    if (state_.compare_exchange_strong(state, next, std::memory_order_release,
                                       std::memory_order_relaxed)) {
      break;
    }
    if (wake != nullptr) queue_.PushFront(wake);  // one that spins came first
    wake = nullptr;
  }
  if (handed) wake->handed = true;
  queue_mu_.unlock();
  // From here on the mutex may be gone.
  if (wake == nullptr) return;
  sched::Ready(wake->g);
  // The new owner should run now, not when our time slice ends: others wait for it in turn.
  if (handed) sched::Yield();
}

}  // namespace plimsoll
