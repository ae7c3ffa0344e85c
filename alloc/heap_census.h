// The HeapCensus tells what the heap's memory is used for: by whom, by size class, and how much of
// it is in memory at all.
//
//   HeapCensus census;
//   if (TakeHeapCensus(&census, resident, arg)) Print(census.collected[ClassOf(64)].resident);
//
// Exactness: a snapshot taken while others allocate: each number was right at some moment of it.
// Blocking:  holds the page heap's lock for milliseconds for each GiB, as Heap::Stats does; not
// while
//            it asks what is in memory.
// Memory:    16 bytes for each page in use, mapped for the call; none of malloc's.
#ifndef PLIMSOLL_ALLOC_HEAP_CENSUS_H_
#define PLIMSOLL_ALLOC_HEAP_CENSUS_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll {

// Spans of one kind.
struct SpanUse {
  uint64_t spans = 0;
  uint64_t objects = 0;     // in use; collected ones that are dead are until their span is swept
  ByteCount objects_bytes;  // of these, rounded up to their class
  ByteCount span_bytes;
  ByteCount resident;  // of span_bytes

  SpanUse& operator+=(const SpanUse& o) {
    spans += o.spans;
    objects += o.objects;
    objects_bytes += o.objects_bytes;
    span_bytes += o.span_bytes;
    resident += o.resident;
    return *this;
  }
};

struct HeapCensus {
  // By size class; [0]: large objects.
  SpanUse collected[alloc::kClassCount];
  SpanUse allocated[alloc::kClassCount];  // Heap::Allocate's
  SpanUse guarded;                        // samples between guard pages
  // In memory and in no span: idle pages that the heap keeps, and such as came or went meanwhile.
  ByteCount idle_resident;
  ByteCount resident;        // all of the heap's pages
  ByteCount region_records;  // of the span map; address space
};

// The bytes of [at, at + bytes) that are in memory. Called with ranges in order of address.
using ResidentBytes = uint64_t (*)(uintptr_t at, size_t bytes, void* arg);

// False: there is no memory for it, and *census is as it was.
bool TakeHeapCensus(HeapCensus* census, ResidentBytes resident, void* arg);

// Whether the heap has its pages there, or near: 64 MiB of addresses are its or are not.
bool IsHeapRegion(uintptr_t address);

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_HEAP_CENSUS_H_
