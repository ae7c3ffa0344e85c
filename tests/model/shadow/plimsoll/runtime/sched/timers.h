// sched/timers.h under exploration: a timer fires at any moment after it was armed, or never.
//
// RunTimer, on a thread of the explorer's, fires the timers that were made since ResetTimers().
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_TIMERS_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_TIMERS_H_

#include <cstdint>

#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"

namespace plimsoll::sched {

class SchedTimer {
 public:
  using Fn = void (*)(void* arg, int64_t now_ns);

  SchedTimer(Fn fn, void* arg) : fn_(fn), arg_(arg) {
    if (made < kMost) all[made++] = this;
  }
  SchedTimer(const SchedTimer&) = delete;
  SchedTimer& operator=(const SchedTimer&) = delete;

  bool Arm(int64_t when_ns) {
    mu_.lock();
    when_ = when_ns;
    const bool pending = armed_.exchange(1, std::memory_order_acq_rel) == 1;
    mu_.unlock();
    return pending;
  }
  bool Disarm() {
    bool prevented = false;
    for (;;) {
      mu_.lock();
      if (armed_.exchange(0, std::memory_order_acq_rel) == 1) prevented = true;
      const bool runs =
          running_.load(std::memory_order_acquire) != 0 && runner_ != model::ThreadIndex();
      mu_.unlock();
      if (!runs) return prevented;
      running_.WaitUntil(Is, 0);
      if (model::Planted("disarm: no second look after a run")) return prevented;
    }
  }

  // A daemon's body: fires timer `i` whenever it is armed.
  static void RunTimer(int i) {
    SchedTimer* t = all[i];
    for (;;) {
      t->armed_.WaitUntil(Is, 1, /*stays=*/true);
      t->mu_.lock();
      const bool runs = t->armed_.exchange(0, std::memory_order_acq_rel) == 1;
      const int64_t when = t->when_;
      if (runs) {
        t->runner_ = model::ThreadIndex();
        t->running_.store(1, std::memory_order_relaxed);
      }
      t->mu_.unlock();
      if (!runs) continue;
      t->fn_(t->arg_, when);
      t->running_.store(0, std::memory_order_release);
    }
  }
  static bool AnyArmed() {
    bool any = false;
    for (int i = 0; i < made; ++i) any = any || all[i]->armed_.load(std::memory_order_acquire) == 1;
    return any;
  }
  static void ResetTimers() { made = 0; }

 private:
  static bool Is(uint64_t now, uint64_t wanted) { return now == wanted; }
  static constexpr int kMost = 4;
  static inline SchedTimer* all[kMost] = {};
  static inline int made = 0;

  Fn fn_;
  void* arg_;
  int64_t when_ = 0;
  int runner_ = -1;
  model::Lock mu_;  // as the lock of a P's timers
  model::atomic<uint32_t> armed_{0};
  model::atomic<uint32_t> running_{0};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_TIMERS_H_
