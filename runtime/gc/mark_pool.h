// A MarkPool shares grey objects among markers: who has some gives half to who has none.
//
//   pool.Open();                                  // the collector, which holds all work
//   marker.Drain();                               // it; each helper: while (Take(…)) drain
//   while (pool.Take(stack, &marked)) marker.Drain();
//   pool.Total();                                 // once Take said false, everything is marked
//
//   state of a marker   counted in      leaves it
//   working             active_         dry: into waiting, or, as the last one, ends the round
//   waiting             waiting_        with a batch from the pool, or when nobody works any more
//
// A helper that did not see the end of a round waits on in the next one.
//
// Invariants, under mu_:
//   (1) Whoever may hold grey objects is counted in active_; batches in the pool are nobody's.
//   (2) The round is over when active_ is 0 and the pool is empty. It is then open to nobody: a
//       helper that comes late leaves at once. So no round waits for a thread that the kernel does
//       not run, unless that thread has taken work.
#ifndef PLIMSOLL_RUNTIME_GC_MARK_POOL_H_
#define PLIMSOLL_RUNTIME_GC_MARK_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/gc/mark_stack.h"

namespace plimsoll::gc::internal {

class Marker;

class MarkPool {
 public:
  constexpr MarkPool() = default;

  // A new round: the caller works, with all there is.
  void Open();

  // Whether a marker waits and the pool has nothing for it.
  bool Hungry() const { return hungry_.load(std::memory_order_relaxed); }

  // Puts a part of what a marker has into the pool, if it can be divided.
  void Give(Marker& marker);

  // What a marker has marked since it last said so.
  struct Sum {
    uint64_t bytes = 0;
    uint64_t objects = 0;
  };

  // Work into `stack`, for a marker that has none left (`marked` is then added up, and set to 0),
  // or for a helper that has had none in this round (null). False: the round is over. Waits.
  bool Take(MarkStack& stack, Sum* marked);

  // After Take has answered false to the collector.
  Sum Total();

  // Helpers: waits until a round is open that is not `last`, and returns its number.
  uint32_t AwaitRound(uint32_t last);

 private:
  static constexpr size_t kBatch = 64;
  static constexpr size_t kBatches = 64;
  struct Batch {
    size_t count;
    Grey greys[kBatch];
  };

  void UpdateHungry() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    hungry_.store(waiting_ > batch_count_, std::memory_order_relaxed);
  }

  base::SpinLock mu_;
  size_t active_ ABSL_GUARDED_BY(mu_) = 0;
  size_t waiting_ ABSL_GUARDED_BY(mu_) = 0;
  size_t batch_count_ ABSL_GUARDED_BY(mu_) = 0;
  Sum sum_ ABSL_GUARDED_BY(mu_);  // of this round
  std::atomic<bool> hungry_{false};
  std::atomic<uint32_t> change_{0};  // a futex: something came, or the round is over
  std::atomic<uint32_t> round_{0};   // a futex: + 1 for each
  Batch batches_[kBatches] ABSL_GUARDED_BY(mu_) = {};
};

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_MARK_POOL_H_
