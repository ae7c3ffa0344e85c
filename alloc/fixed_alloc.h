// A FixedAlloc gives out storage for metadata, all of one size, from memory of its own: it never
// calls malloc, so it may be used beneath malloc and wherever malloc is forbidden.
//
//   constinit FixedAlloc<Sudog> sudogs;                   // static storage needs no constructor
//   run Sudog* s = sudogs.New(g);                             // nullptr: the system has no memory
//   sudogs.Delete(s);
//
//    guard  chunk                                            guard
//   +------+-------+-------+-------+--       --+----------+------+
//   |  ##  | T     | T     | free  |    ...    | untouched|  ##  |     untouched memory costs
//   nothing
//   +------+-------+-------+-------+--       --+----------+------+
//
// Reuse:    last in, first out: what was just used is still in the cache of the CPU.
// Stability: storage is never given back to the system nor to another type. A stale pointer still
//           points to a T's storage; of its bytes only the first word changes on Delete.
// Contents: fresh storage reads as zero; New runs T's constructor, Delete its destructor.
// Growth:   chunks of 64 KiB, doubling up to 2 MiB, each between two guard pages.
// Threads:  any number at once; one SpinLock. Not for signal handlers.
// Misuse:   Delete of a foreign pointer is not found. Delete(nullptr) does nothing.
#ifndef PLIMSOLL_ALLOC_FIXED_ALLOC_H_
#define PLIMSOLL_ALLOC_FIXED_ALLOC_H_

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/base/units.h"

namespace plimsoll {

// FixedAlloc without the type: slots of `slot_bytes`, a multiple of `alignment` (at most 4096).
class FixedPool {
 public:
  constexpr FixedPool(size_t slot_bytes, size_t alignment)
      : slot_bytes_((slot_bytes + alignment - 1) / alignment * alignment) {}
  FixedPool(const FixedPool&) = delete;
  FixedPool& operator=(const FixedPool&) = delete;

  // A slot, or nullptr when the system has no memory.
  void* Allocate();

  // Requires: `slot` came from Allocate and is no longer in use. Its first word is overwritten.
  void Free(void* slot);

  // What was taken from the system, guard pages left out; and slots in use.
  ByteCount mapped() const;
  size_t live() const;

  // For fork: nobody else is within while these are held.
  void LockForFork() ABSL_EXCLUSIVE_LOCK_FUNCTION(mu_) { mu_.lock(); }
  void UnlockForFork() ABSL_UNLOCK_FUNCTION(mu_) { mu_.unlock(); }

 private:
  struct FreeSlot {
    FreeSlot* next;
  };

  bool Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t slot_bytes_;
  mutable base::SpinLock mu_;
  FreeSlot* free_ ABSL_GUARDED_BY(mu_) = nullptr;
  uintptr_t next_ ABSL_GUARDED_BY(mu_) = 0;  // first slot of the chunk that was never given out
  uintptr_t end_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t mapped_ ABSL_GUARDED_BY(mu_) = 0;  // bytes
  size_t live_ ABSL_GUARDED_BY(mu_) = 0;
};

template <typename T>
class FixedAlloc {
 public:
  constexpr FixedAlloc() : pool_(sizeof(T) < sizeof(void*) ? sizeof(void*) : sizeof(T), kAlign) {}

  template <typename... Args>
  [[nodiscard]] T* New(Args&&... args) {
    void* slot = pool_.Allocate();
    return slot == nullptr ? nullptr : new (slot) T(std::forward<Args>(args)...);
  }

  void Delete(T* object) {
    if (object == nullptr) return;
    object->~T();
    pool_.Free(object);
  }

  ByteCount mapped() const { return pool_.mapped(); }
  size_t live() const { return pool_.live(); }
  FixedPool& pool() { return pool_; }

 private:
  static constexpr size_t kAlign = alignof(T) < alignof(void*) ? alignof(void*) : alignof(T);
  static_assert(kAlign <= 4096, "FixedAlloc aligns to at most a machine page");

  FixedPool pool_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_FIXED_ALLOC_H_
