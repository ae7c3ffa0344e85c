// What the heap holds, in bytes and objects.
//
//   const HeapStats s = Heap::Stats();
//   s.live.value() ... s.classes[ClassOf(64)].objects ...
//   WriteJson(s, [](std::string_view text, void* file) { ... }, file);
//
// Exactness: a snapshot taken while others allocate: each number was right at some moment of it.
// Memory:    none but the caller's.
#ifndef PLIMSOLL_ALLOC_STATS_H_
#define PLIMSOLL_ALLOC_STATS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll {

struct ClassStats {
  uint64_t spans = 0;
  uint64_t objects = 0;   // in use, frees that wait for their owner included
  uint64_t capacity = 0;  // that the spans could hold
};

struct HeapStats {
  ByteCount live;      // in objects in use, rounded up to their classes
  ByteCount in_spans;  // pages that belong to spans: the difference is fragmentation
  ByteCount idle;      // pages that are free and in memory
  ByteCount released;  // pages that are free and with the system
  ByteCount mapped;    // addresses for pages
  ByteCount metadata;  // span records, caches
  ByteCount limit;     // UINT64_MAX: none
  uint64_t large_objects = 0;
  ByteCount large;
  uint64_t caches = 0;  // in use
  uint64_t releases = 0;
  ByteCount released_total;
  ByteCount collapsed_total;  // for which a huge page was given
  ClassStats classes[alloc::kClassCount];

  // Of 1000 bytes in spans, how many hold no object.
  uint64_t FragmentationPermille() const {
    return in_spans.value() == 0 ? 0 : (in_spans.value() - live.value()) * 1000 / in_spans.value();
  }
};

// Writes `stats` as one JSON object; `write` is called with pieces of it.
void WriteJson(const HeapStats& stats, void (*write)(std::string_view text, void* to), void* to);

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_STATS_H_
