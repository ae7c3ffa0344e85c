// The Heap hands out memory by size and takes it back: the runtime's heap, or any program's.
//
//   void* p = Heap::Allocate(100);            // nullptr: no memory
//   Heap::Free(p);
//
//   Heap::SetMemoryLimit(MiB(96));
//   while (running) { Heap::Step(now_ns); SleepAbout100ms(); }     // gives idle memory back
//
// Alignment: 16 bytes, and AllocateAligned's own; an object of 2^n bytes, up to 8192, is aligned to
//            2^n.
// Sizes:     0 is as 1. Above 32 KiB objects are whole pages of 8 KiB. Contents are undefined but
//            for AllocateZeroed's.
// Threads:   any number, and any thread may free what another allocated. On a P, or on a thread
//            without one, the common case takes no lock and no atomic read-modify-write.
// Blocking:  slow paths take spin locks and may ask the system for memory; they never park.
// Failure:   nullptr, when the system gives no address space (RLIMIT_AS, max_map_count). A memory
//            limit refuses nothing: it makes idle memory go back sooner.
// Misuse:    double free, wild and interior free, and a mismatched size end the process with one
//            line that tells address, class and state. An overflow or a use after free is found
//            when the object is a guarded sample, with PLIMSOLL_DEBUG=heap=all, and by ASan: what
//            lies behind the size asked for is poisoned, and so is what was freed, also after its
//            pages went back. Not for signal handlers.
// Debugging: alloc/heap_settings.h lists what PLIMSOLL_DEBUG says of the heap.
// Limits:    1 TiB of heap; addresses of 48 bits. One heap in a process.
#ifndef PLIMSOLL_ALLOC_HEAP_H_
#define PLIMSOLL_ALLOC_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/stats.h"

namespace plimsoll {

namespace alloc {
class MCache;
}  // namespace alloc

class Heap {
 public:
  // Memory for `size` bytes; nullptr: there is none.
  [[nodiscard]] static void* Allocate(size_t size);

  // As Allocate, and reads as zero. Pages fresh from the system are not cleared again.
  [[nodiscard]] static void* AllocateZeroed(size_t size);

  // As Allocate, aligned to `alignment`, any power of two. Another alignment: nullptr.
  [[nodiscard]] static void* AllocateAligned(size_t alignment, size_t size);

  // Makes `p` hold `size` bytes, where it is if it can, else elsewhere with its contents copied.
  // nullptr: no memory, and `p` is as it was. Reallocate(nullptr, n) is Allocate(n).
  [[nodiscard]] static void* Reallocate(void* p, size_t size);

  // Gives memory back. nullptr: nothing happens.
  static void Free(void* p);

  // As Free, and checks that `size` is what was asked for, as far as the heap can tell: the same
  // class or number of pages.
  static void FreeSized(void* p, size_t size);
  static void FreeAlignedSized(void* p, size_t alignment, size_t size);

  // Bytes at `p` that may be used: at least what was asked for.
  static size_t UsableSize(const void* p);

  // How much memory the heap should hold at most; UINT64_MAX bytes: no limit, as at the start.
  // Where the heap is the process's malloc, whose thread follows the container's limit, the first
  // call ends that.
  static void SetMemoryLimit(ByteCount limit);

  // Does a bounded piece of background work: gives idle memory back, or asks the kernel for a huge
  // page behind 2 MiB that have been in use for a while. To be called every 100 ms to 1 s, with a
  // clock that does not run backwards. Any thread: while one is in it, others return at once.
  // Who does: plimsoll::Main's runtime, once a second while goroutines run, and malloc's thread
  // where the heap is the process's malloc. Who calls it besides them takes CLOCK_MONOTONIC, as
  // they do.
  struct StepResult {
    ByteCount released;
    bool idle;  // there is nothing to do until memory is freed; false: or another is in it
  };
  static StepResult Step(int64_t now_ns);

  // Releases all idle memory now, what the current cache holds included. Returns how much.
  static ByteCount ReleaseAll();

  // Whether idle memory is in the way of the limit; and releases it, as far as more is held than
  // the limit. Any thread.
  static bool IsOverLimit();
  static ByteCount ReleaseOverLimit();

  // What the heap holds, by class. Walks every span: milliseconds for each GiB.
  static HeapStats Stats();

  // One allocation for about so many bytes is remembered with where it was made, and some of those
  // stand between guard pages; 2 MiB at the start, or what PLIMSOLL_DEBUG=heapsample says. 0:
  // none. Reports of misuse then tell where an object was allocated and freed.
  static void SetSamplePeriod(ByteCount period);

  // Writes a profile of what is live, for `go tool pprof` (alloc/heap_profile.h): `write` is called
  // with pieces of it. False: no memory for it, and nothing was written.
  static bool WriteProfile(void (*write)(std::string_view bytes, void* to), void* to);

  // Draws which pages hold what, as SVG (alloc/heap_picture.h). False: no memory for it.
  static bool WritePicture(void (*write)(std::string_view piece, void* to), void* to);

  // Caches for Ps (see alloc/cache_slot.h): one each, used by one thread at a time. nullptr: no
  // memory. DeleteCache gives up what it holds; objects allocated through it live on.
  static alloc::MCache* NewCache();
  static void DeleteCache(alloc::MCache* cache);

  // Gives up what the cache holds without need: for a P that has been idle.
  static void TrimCache(alloc::MCache* cache);
};

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_HEAP_H_
