// HeapCore holds a heap's shared parts together: pages, orphans by class, caches.
//
//     Heap (public face)  ->  MCache ... MCache      one for each P or thread
//                                 |        |
//                             MCentral[class]        spans without a cache
//                                 |
//                              MHeap                 pages      ->   PageSource
//
// Order of locks: taking_mu, caches_mu, an MCache's, an MCentral's, MHeap's. Nothing is called out
// of the floor under them.
#ifndef PLIMSOLL_ALLOC_HEAP_CORE_H_
#define PLIMSOLL_ALLOC_HEAP_CORE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/alloc/mcache.h"
#include "plimsoll/alloc/mcentral.h"
#include "plimsoll/alloc/mheap.h"

namespace plimsoll::alloc {

struct HeapCore {
  MHeap<MmapPages> pages{MmapPages(), &RandomArenaHint};
  MCentral central[kClassCount];
  Mailbox orphanage;

  base::SpinLock caches_mu;
  FixedAlloc<MCache> cache_storage;
  MCache* idle_caches ABSL_GUARDED_BY(caches_mu) = nullptr;
  MCache* all_caches ABSL_GUARDED_BY(caches_mu) = nullptr;
  size_t caches_in_use ABSL_GUARDED_BY(caches_mu) = 0;
  std::atomic<uint64_t> most_empty_bytes{kMostEmptyBytes};

  static constexpr uint64_t kAllEmptyBytes = uint64_t{8} << 20;
  static constexpr uint64_t kMostEmptyBytes = uint64_t{4} << 20;
  static constexpr uint64_t kLeastEmptyBytes = uint64_t{128} << 10;

  // What each cache may keep in empty spans: a fair share of 8 MiB, so that all caches together
  // stay well within the 16 MiB that may lie idle after a spike; at most 4 MiB, at least 128 KiB.
  uint64_t MostEmptyBytes() const { return most_empty_bytes.load(std::memory_order_relaxed); }

  // A limit was set by who uses the heap; malloc's thread sets none any more.
  std::atomic<bool> limit_told{false};

  // Somebody is in Heap::Step. Not taken by a fork, which would wait for what goes back; a child
  // clears it.
  std::atomic<bool> stepping{false};

  // Bytes between samples, in the mean; 0: none are taken. Caches see a change at their next word.
  std::atomic<uint64_t> sample_period{0};

  // A cache without a user, or a new one; null: no memory.
  MCache* AcquireCache();

  // As AcquireCache, for the running thread, which gives it back at its end; if it ends without
  // that, TakeFromCaches() does.
  MCache* AcquireThreadsCache();

  // Retires the cache and keeps its storage for the next AcquireCache.
  void ReturnCache(MCache* cache);

  // Takes in what others have freed of orphans' objects.
  void ReadOrphansMail();

  // Takes back what caches hold of which nothing is in use, whoever owns them and however long that
  // thread has been blocked. `all`: from every cache, and all empty spans; else about every 100 ms,
  // from each cache the less often the longer there was nothing to take, and empty spans from those
  // not used for about a second. Mail that came too late to a cache without a user goes on.
  // A cache whose thread ended without giving it back is retired. Returns bytes.
  uint64_t TakeFromCaches(bool all);

  // Set when a good deal was freed that its owner may not hear of for long.
  std::atomic<bool> much_sent{false};

  // Held while spans are taken from caches: there is one taker, and none during a fork.
  base::SpinLock taking_mu;
  MCache* asked_next ABSL_GUARDED_BY(taking_mu) = nullptr;  // whose thread is looked for next

  // Retires `cache` if its thread is gone.
  void RetireIfAbandoned(MCache* cache);

  void ShareEmptyBytes() ABSL_EXCLUSIVE_LOCKS_REQUIRED(caches_mu);

  // Sends mail on that came to the wrong place. `owner` is whose mail was read.
  static void Forward(Span* span);
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_CORE_H_
