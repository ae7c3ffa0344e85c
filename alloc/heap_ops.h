// The heap's operations as heap.h and malloc.cc share them: fast paths to be inlined into the
// exported functions, slow paths to be jumped to.
//
// An exported function that holds a fast path is PLIMSOLL_LEAF: noinline, in the section that the
// preemption handler leaves alone, and ends in a tail jump when the fast path will not do.
#ifndef PLIMSOLL_ALLOC_HEAP_OPS_H_
#define PLIMSOLL_ALLOC_HEAP_OPS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/guarded.h"
#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/heap_debug.h"
#include "plimsoll/alloc/heap_settings.h"
#include "plimsoll/alloc/mcache.h"
#include "plimsoll/alloc/samples.h"

#define PLIMSOLL_LEAF __attribute__((noinline, section("plimsoll_nopreempt")))

// Without optimisation, or under a sanitizer, a fast path calls out of its section: then it is
// guarded as the slow ones are.
#if !defined(__OPTIMIZE__) || defined(PLIMSOLL_ASAN) || defined(PLIMSOLL_TSAN)
#define PLIMSOLL_LEAF_GUARD ::plimsoll::alloc::SlowPath leaf_guard
#else
#define PLIMSOLL_LEAF_GUARD \
  do {                      \
  } while (false)
#endif

namespace plimsoll::alloc {

[[gnu::visibility("hidden")]] extern constinit HeapCore core;

// What looks at a few allocations, or at all of them when debugging.
struct HeapWatch {
  // Reads the settings, once; before any object is made. In debug mode no thread is shown a cache,
  // so that every operation takes its slow path and comes by here.
  void Ready();

  HeapSettings settings;  // after Ready(), constant but for sample_period: see HeapCore's
  bool debugging = false;
  Samples samples;
  GuardedPool guarded;
  HeapDebug debug;
  std::atomic<uint32_t> guard_turn{0};
  // An object was made smaller in the place of a larger class, for want of memory: from then on a
  // sized free may tell a smaller class than the object has.
  std::atomic<bool> shrunk_in_place{false};

 private:
  enum : int { kNot, kReading, kReady };
  std::atomic<int> state_{kNot};
};
[[gnu::visibility("hidden")]] extern constinit HeapWatch watch;

// Each does all of its operation, from the start. `call` is the caller's name for reports.
void* AllocateSlow(size_t size);
void* AllocateZeroed(size_t size);
void* AllocateAligned(size_t alignment, size_t size);
void* Reallocate(const char* call, void* p, size_t size);
// False: no page can have come free.
bool FreeSlow(void* p);
void FreeChecked(const char* call, void* p, size_t size_class, size_t pages, size_t told);
void AttendSlow(Span* span);
size_t UsableSize(const char* call, const void* p);

// The class and, for class 0, the pages that AllocateAligned(alignment, size) takes. alignment of
// at most 16 is that of Allocate.
struct Shape {
  size_t size_class;
  size_t pages;
};
Shape ShapeOf(size_t alignment, size_t size);

// The cache to use on this thread, made if need be; null: the thread is at its end, or there is no
// memory. Only under a SlowPath.
MCache* EnsureCache();

// The cache of those who have none: held under a lock while it is used.
class SharedCache {
 public:
  SharedCache() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  ~SharedCache() ABSL_NO_THREAD_SAFETY_ANALYSIS;
  MCache* get() const { return cache_; }  // null: no memory

 private:
  MCache* cache_;
};

// For fork: before it, and after it in the parent and in the child. All locks of the floor.
void LockAllForFork();
void UnlockAllAfterFork();

[[gnu::always_inline]] inline void* Allocate(size_t size) {
  PLIMSOLL_LEAF_GUARD;
  if (void* p; current_cache->TryAllocate(size, &p)) [[likely]]
    return p;
  return AllocateSlow(size);
}

[[gnu::always_inline]] inline void Free(void* p) {
  PLIMSOLL_LEAF_GUARD;
  Span* span;
  const MCache::Freed freed = current_cache->TryFree(reinterpret_cast<uintptr_t>(p), &span);
  if (freed == MCache::Freed::kDone) [[likely]]
    return;
  if (freed == MCache::Freed::kAttention) return AttendSlow(span);
  FreeSlow(p);
}

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_OPS_H_
