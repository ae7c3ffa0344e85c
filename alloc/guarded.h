// A GuardedPool gives a few sampled objects a page of their own between pages that nobody may touch
// (after GWP-ASan): a read or write past its end, before its start, or after its free faults, and
// is told with where the object was allocated and freed.
//
//    guard   slot 0    guard   slot 1    guard          guard
//   +------+---------+------+---------+------+--   --+------+
//   |  ##  |   [obj] |  ##  |[obj]    |  ##  |       |  ##  |      against the end mostly; against
//   the
//   +------+---------+------+---------+------+--   --+------+      start one time in four
//
// A slot that was freed is used again as late as can be. Bytes between an object and the end of its
// page hold a pattern, which its free looks at.
//
// Fault:   the pool's SIGSEGV handler is installed with the first slot; faults that are not the
//          pool's go to the handler that was there before, or have their default effect.
// Limit:   kSlots objects at once, of at most a page; when all are taken nothing is guarded.
// Threads: any number; one SpinLock. mprotect is called outside of it.
#ifndef PLIMSOLL_ALLOC_GUARDED_H_
#define PLIMSOLL_ALLOC_GUARDED_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/samples.h"
#include "plimsoll/alloc/span.h"

namespace plimsoll::alloc {

class GuardedPool {
 public:
  static constexpr size_t kSlots = 32;

  constexpr GuardedPool() = default;

  // A guarded object; null: the pool is full, or `size` or `alignment` is more than a page.
  void* Allocate(MHeap<MmapPages>& pages, size_t size, size_t alignment, size_t size_class);

  // Frees one. `span` is the slot's, state kGuarded. Misuse ends the process.
  void Free(const char* call, void* p, Span* span);

  // What is known of the object in `span`'s slot. Requires: `p` is its start and it lives; anything
  // else ends the process, as Free() does.
  const Sample& Find(const char* call, const void* p, const Span* span);

  // Tells of a fault at `address`; false: it is not in the pool.
  bool TellFault(uintptr_t address) const;

  void LockForFork() ABSL_EXCLUSIVE_LOCK_FUNCTION(mu_) { mu_.lock(); }
  void UnlockForFork() ABSL_UNLOCK_FUNCTION(mu_) { mu_.unlock(); }

 private:
  enum class State : uint8_t { kNever, kLive, kFreed };
  struct Slot {
    Sample sample;
    State state = State::kNever;
    Span* span = nullptr;
  };

  bool Make(MHeap<MmapPages>& pages) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  size_t IndexOf(const Span* span) const { return (span->base() - base_) / (2 * kPageSize); }
  uintptr_t PageOfSlot(size_t slot) const { return base_ + (2 * slot + 1) * kPageSize; }

  mutable base::SpinLock mu_;
  uintptr_t base_ =
      0;  // of the first guard page; 0: not made. Written once, before any slot is used
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  Slot slots_[kSlots] = {};
  uint32_t queue_[kSlots] ABSL_GUARDED_BY(mu_) = {};  // free slots, the longest free first
  size_t first_ ABSL_GUARDED_BY(mu_) = 0;
  size_t free_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t turns_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_GUARDED_H_
