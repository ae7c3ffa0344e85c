// Samples remembers a few allocations, with where they were made: one for every so many bytes.
//
//   cache     countdown of bytes, drawn from an exponential distribution
//   word      . . . . . . . . . S . . .     the object in which the countdown ends is not taken
//   from
//                                           the word: it gets a span of its own, and that span
//                                           names its Sample
//
// So an object is sampled with probability 1 - exp(-size / period), whatever the sizes and the
// order of allocations, and an allocation that is not sampled costs nothing: the slot simply holds
// fewer bits. Freeing one is a free of a large object.
//
// Owner:   a Sample belongs to the span that names it, until Remove(). The last kFreed removed are
//          kept for reports.
// Lock:    one; under it nothing is called.
#ifndef PLIMSOLL_ALLOC_SAMPLES_H_
#define PLIMSOLL_ALLOC_SAMPLES_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/alloc/stack_trace.h"

namespace plimsoll::alloc {

struct Sample {
  Sample* next = nullptr;
  Sample* prev = nullptr;
  uintptr_t address = 0;
  uint64_t size = 0;       // asked for
  uint8_t size_class = 0;  // that would have served; 0: large
  StackTrace allocated;
  StackTrace freed;  // depth 0 while it lives
};

class Samples {
 public:
  constexpr Samples() = default;

  // Remembers an allocation, and its callers. Null: no memory; it goes unremembered.
  Sample* Add(uintptr_t address, uint64_t size, size_t size_class);

  // Forgets a live one.
  void Remove(Sample* sample);

  // The size of a live one has changed.
  void Resized(Sample* sample, uint64_t size);

  // Copies up to `most` of the live ones to `to`; returns how many there are.
  size_t Copy(Sample* to, size_t most) const;

  // Tells on stderr what is known of `address`: where it was allocated, and freed. False: nothing.
  bool Tell(uintptr_t address) const;

  void LockForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mu_.lock();
    storage_.pool().LockForFork();
  }
  void UnlockForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    storage_.pool().UnlockForFork();
    mu_.unlock();
  }

 private:
  static constexpr size_t kFreed = 64;

  mutable base::SpinLock mu_;
  FixedAlloc<Sample> storage_;
  Sample* live_ ABSL_GUARDED_BY(mu_) = nullptr;
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
  Sample* freed_[kFreed] ABSL_GUARDED_BY(mu_) = {};
  size_t next_freed_ ABSL_GUARDED_BY(mu_) = 0;
};

// Bytes until the next sample: exponential, of mean `period`. `random` is the caller's state, not
// 0.
int64_t NextSampleGap(uint64_t& random, uint64_t period);

// Tells on stderr where an object was allocated, and where it was freed.
void TellSample(const Sample& sample);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SAMPLES_H_
