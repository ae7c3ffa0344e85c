// HeapLook counts what a heap's spans say is in use, page by page of the span map, for fuzz targets
// to hold beside what they know.
//
//   HeapLook look;
//   look.AddRegions(p);              // of every object: where to look from now on
//   look.Take({cache, other});       // the frees that they have not sent count as done
//   Require(look.objects[ClassOf(64)] == 3);
//
// Checks:  each entry names a span that covers its page, and a span has all of its entries (MHeap's
//          invariant 2, in the regions it knows).
// Freed:   an object whose free is on its way, in a cache's pending word or in its span's remote
//          bits, is in use for its span and not for the count.
// Ends:    by abort(), the heap's own CHECKs too: libFuzzer keeps the input then.
#ifndef PLIMSOLL_TESTS_FUZZ_HEAP_LOOK_H_
#define PLIMSOLL_TESTS_FUZZ_HEAP_LOOK_H_

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <source_location>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/guarded.h"
#include "plimsoll/alloc/mcache.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll::alloc {

inline void Require(bool fact, std::source_location at = std::source_location::current()) {
  if (fact) return;
  fprintf(stderr, "%s:%u: what is required is not so\n", at.file_name(), at.line());
  abort();
}

// What no caller of a cache may see.
class MCachePeer {
 public:
  // The objects of a word that `cache` has freed and not yet sent, a bit each.
  static uint64_t Pending(MCache& cache, const Span* span, uint64_t word) {
    const MCache::Pending& entry = cache.PendingOf(span, word);
    return entry.span == span && entry.word == word ? entry.bits : 0;
  }
  // The span that it allocates from; null: none.
  static const Span* Current(const MCache& cache, size_t size_class) {
    return cache.bins_[size_class].span;
  }
};

class HeapLook {
 public:
  HeapLook() {
    base::SetFatalHook([] { abort(); });
  }

  void AddRegions(const void* p) {
    const Span* span = FindSpan(reinterpret_cast<uintptr_t>(p));
    Require(span != nullptr);
    AddRegionsOf(span);
  }

  void Take(std::initializer_list<MCache*> caches) {
    pages = large = large_bytes = guarded = 0;
    for (size_t c = 0; c < kClassCount; ++c) {
      spans[c] = in_use[c] = objects[c] = 0;
      for (const MCache* cache : caches) {
        // Of a fresh one the first object may be a sample's, and no object has come from it yet.
        if (const Span* span = MCachePeer::Current(*cache, c)) AddRegionsOf(span);
      }
    }
    for (const auto& [base, end] : regions_) {
      const Region* region = FindRegion(base);
      for (size_t i = 0; i < end; ++i) {
        Span* span = region->spans[i].load(std::memory_order_relaxed);
        if (span == nullptr) continue;
        ++pages;
        const uintptr_t at = base + (i << kPageShift);
        Require(at >= span->base() && at < span->base() + span->bytes());
        if (at == span->base()) Count(span, caches);
      }
    }
    Require(pages == span_pages_);
    span_pages_ = 0;
  }

  // Whether an object is in use, and no free of it is on its way.
  static bool IsLive(Span* span, uint32_t index, std::initializer_list<MCache*> caches) {
    return (Live(span, index / 64, caches) >> (index % 64) & 1) != 0;
  }

  uint64_t pages = 0;                  // in spans
  uint64_t spans[kClassCount] = {};    // of small objects
  uint64_t in_use[kClassCount] = {};   // as the spans know it
  uint64_t objects[kClassCount] = {};  // less those that were freed
  uint64_t large = 0;                  // objects, and samples with a span of their own
  uint64_t large_bytes = 0;            // their pages
  uint64_t guarded = 0;                // slots, whether used or not

 private:
  // Up to the span's end, for ever; of a guarded slot, to where the pool's last one may be.
  void AddRegionsOf(const Span* span) {
    const uint64_t more =
        span->state == SpanState::kGuarded ? 2 * GuardedPool::kSlots << kPageShift : 0;
    const uintptr_t end = span->base() + span->bytes() + more;
    for (uintptr_t at = (span->base() - more) & ~(kRegionBytes - 1); at < end; at += kRegionBytes) {
      if (FindRegion(at) == nullptr) continue;
      size_t& pages = regions_[at];
      pages = std::max(pages, std::min(kRegionPages, (end - at) >> kPageShift));
    }
  }

  static uint64_t Live(Span* span, size_t word, std::initializer_list<MCache*> caches) {
    const uint64_t in_use = span->InUse(word);
    uint64_t freed = span->remote().bits[word].load(std::memory_order_relaxed);
    for (MCache* cache : caches) {
      const uint64_t pending = MCachePeer::Pending(*cache, span, word);
      Require((pending & freed) == 0);  // by MCache's (3), and one free each
      freed |= pending;
    }
    Require((freed & ~in_use) == 0);
    return in_use & ~freed;
  }

  void Count(Span* span, std::initializer_list<MCache*> caches) {
    span_pages_ += span->pages;
    if (span->state == SpanState::kGuarded) {
      ++guarded;
      return;
    }
    const size_t c = span->class_index();
    if (c == 0) {
      Require(span->state == SpanState::kLarge && span->Owner() == &large_owner);
      ++large;
      large_bytes += span->bytes();
      return;
    }
    Require(span->state != SpanState::kFree && span->Owner() != nullptr);
    ++spans[c];
    for (size_t w = 0; w < span->words; ++w) {
      in_use[c] += std::popcount(span->InUse(w));
      objects[c] += std::popcount(Live(span, w, caches));
    }
  }

  std::map<uintptr_t, size_t> regions_;  // how many pages of each to look at
  uint64_t span_pages_ = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_TESTS_FUZZ_HEAP_LOOK_H_
