// A Crew marks beside the program: by whoever comes, a step at a time.
//
//   crew.Open();                                        // the world is stopped
//   crew.WithEmptyMarker(scan roots);
//   while (!crew.Done()) if (!crew.Step(64 << 10)) ...  // any goroutine, at once with others
//   crew.Total();                                       // marked, when the world is stopped again
//
//   a marker            holds grey objects    who may touch it
//   resting             maybe                 whoever takes it, under mu_
//   in use              yes                   the goroutine that took it
//
// Nobody keeps a marker from one step to the next: a goroutine that waits or is gone holds no work.
// A step is a no-preempt region: nobody is stopped within one.
//
// Threads:  Step and Done from any goroutine; the rest with the world stopped.
// Memory:   mapped; no malloc.
#ifndef PLIMSOLL_RUNTIME_GC_CREW_H_
#define PLIMSOLL_RUNTIME_GC_CREW_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/gc/mark_stack.h"

namespace plimsoll::gc::internal {

class Marker;

class Crew {
 public:
  constexpr Crew() = default;

  // A new mark: nothing is grey. `one_proc`: whether there is one P, which nobody changes while the
  // caller has preemption off. Who marks there is alone with the mark bits for a step.
  void Open(bool (*one_proc)());

  // Calls f with a marker for it to find grey objects with.
  void WithEmptyMarker(void (*f)(Marker& marker, void* arg), void* arg);

  // Marks and scans about `bytes`, without being preempted: a stop of the world waits for it.
  // False: there was nothing to do for the caller just now.
  bool Step(size_t bytes);

  // Whether somebody is within a step.
  bool Busy();

  // Whether nothing is grey and nobody is marking. What mutators shade may change that at once.
  bool Done();

  // Marked so far, in bytes; may lag behind by what steps under way have done.
  uint64_t marked_bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint64_t marked_objects() const { return objects_.load(std::memory_order_relaxed); }

  // --- For a marker at work.
  bool Hungry() const { return hungry_.load(std::memory_order_relaxed); }
  void Give(Marker& marker);

 private:
  static constexpr size_t kMarkers = 64;
  static constexpr size_t kBatch = 256;

  Marker* Take(bool empty);
  void Return(Marker* marker);

  base::SpinLock mu_;  // before the barrier's; with preemption off
  Marker* markers_[kMarkers] ABSL_GUARDED_BY(mu_) = {};
  bool in_use_[kMarkers] ABSL_GUARDED_BY(mu_) = {};
  size_t used_ ABSL_GUARDED_BY(mu_) = 0;
  // Nobody's grey objects: given away by a marker for one that has none. Never destroyed.
  union Store {
    constexpr Store() : stack() {}
    ~Store() {}  // NOLINT(modernize-use-equals-default): a union of what has a destructor
    MarkStack stack;
  } store_ ABSL_GUARDED_BY(mu_);
  bool (*one_proc_)() = nullptr;
  std::atomic<bool> hungry_{false};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> objects_{0};
};

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_CREW_H_
