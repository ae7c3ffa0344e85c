// HeapDebug makes mistakes with memory show, at a price: each operation takes the slow path.
//
//   object       size bytes            past it                       the last 8 bytes
//   +-----------------------------+-------------------------------+-------------+
//   | junk when fresh and freed   | canary: looked at by its free | size ^ key  |
//   +-----------------------------+-------------------------------+-------------+
//
// junk        what is allocated holds 0xa5, what is freed 0xdd
// canary      a byte written past an object, or over the size, is found by its free
// quarantine  freed objects come back late; one that was written to meanwhile is found then, and a
//             second free of one is found at once
//
// Inner:   the operations of the heap without this, by which it gets and gives back memory.
// Threads: any number; one SpinLock for the quarantine.
#ifndef PLIMSOLL_ALLOC_HEAP_DEBUG_H_
#define PLIMSOLL_ALLOC_HEAP_DEBUG_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/heap_settings.h"

namespace plimsoll::alloc {

class HeapDebug {
 public:
  // More than what was asked for that an object takes.
  static constexpr size_t kExtra = 16;

  // Makes an object of `size` out of the `usable` bytes at `p`. Zeroed ones keep their contents.
  void* Dress(void* p, size_t usable, size_t size, bool zeroed, const HeapSettings& settings);

  // The size of a live object; ends the process when its tail is not as Dress made it.
  size_t SizeOf(const char* call, const void* p, size_t usable) const;

  // Takes a dressed object back. What is to be freed in its stead, if anything, is put into `out`:
  // at most kMostOut pointers; returns how many.
  static constexpr size_t kMostOut = 16;
  size_t Undress(const char* call, void* p, size_t usable, const HeapSettings& settings,
                 void* (&out)[kMostOut]);

  void LockForFork() ABSL_EXCLUSIVE_LOCK_FUNCTION(mu_) { mu_.lock(); }
  void UnlockForFork() ABSL_UNLOCK_FUNCTION(mu_) { mu_.unlock(); }

 private:
  static constexpr size_t kQueue = 16384;
  struct Entry {
    void* p;
    size_t usable;
    size_t size;
  };

  base::SpinLock mu_;
  Entry queue_[kQueue] ABSL_GUARDED_BY(mu_) = {};
  size_t first_ ABSL_GUARDED_BY(mu_) = 0;
  size_t count_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_DEBUG_H_
