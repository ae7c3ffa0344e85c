// The span map: which span does an address belong to? Answered for any address, interior ones too,
// without a lock, in two loads.
//
//    address  | 16 bits: 0 |  22 bits: region  |  13 bits: page  |  13 bits: within  |
//                                  |                   |
//                       regions[region] ----> Region.spans[page] ----> Span
//
// A region is 64 MiB of addresses. Its record is made when the heap first gets memory there and is
// never unmade, so a reader needs no lock and no epoch. Entries of free pages are null.
//
// Invariants:
//   (1) An address at which the heap has handed out an object maps to its span until it is freed:
//       the entry is written before the object is handed out, and whoever passed the object on to
//       another thread has ordered that.
//   (2) Any other address, whatever it is, maps to a span or to null; looking never faults.
#ifndef PLIMSOLL_ALLOC_SPAN_MAP_H_
#define PLIMSOLL_ALLOC_SPAN_MAP_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/backing/page_source.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/span.h"

namespace plimsoll::alloc {

inline constexpr int kRegionShift = 26;
inline constexpr size_t kRegionBytes = size_t{1} << kRegionShift;
inline constexpr size_t kRegionPages = kRegionBytes >> kPageShift;
inline constexpr size_t kRegions = size_t{1} << (48 - kRegionShift);

struct Region {
  std::atomic<Span*> spans[kRegionPages];
  std::atomic<const void*> heap;  // the MHeap whose pages these are
  std::atomic<uint32_t> number;   // its number in that MHeap; 0: none yet
  // For reports alone: what was on a page that is free. 0: nothing; else its class + 1, and
  // kFirstPage for a span's first.
  std::atomic<uint8_t> trace[kRegionPages];
};

// 32 MiB of addresses in .bss, of which a page for each 32 GiB of heap is ever touched. The others
// are read-only, by SealRegions(): mlockall() fills what may be written with memory, and this with
// the one page of zeroes.
// Plain pointers, touched through atomic_ref alone: a compiler would work through four million
// constant initialisers of atomics.
alignas(4096) [[gnu::visibility("hidden")]] extern constinit Region* regions[kRegions];

// Requires: the address has 48 bits.
inline std::atomic_ref<Region*> RegionEntry(uintptr_t address) {
  return std::atomic_ref<Region*>(regions[address >> kRegionShift]);
}

inline Region* FindRegion(uintptr_t address) {
  if (address >> kRegionShift >= kRegions) [[unlikely]]
    return nullptr;
  return RegionEntry(address).load(std::memory_order_acquire);
}

// Where regions have records: none of those outside of it has one. It grows as they are made.
struct KnownRange {
  uintptr_t lo = 0;
  uintptr_t bytes = 0;
  bool Holds(uintptr_t address) const { return address - lo < bytes; }
};
KnownRange KnownRegions();

inline Span* FindSpan(uintptr_t address) {
  const Region* region = FindRegion(address);
  if (region == nullptr) [[unlikely]]
    return nullptr;
  return region->spans[(address >> kPageShift) & (kRegionPages - 1)].load(
      std::memory_order_acquire);
}

// Makes entries of all pages of a span point at it, or, for null, at nothing. Requires: the records
// of their regions exist.
void SetSpan(uintptr_t base, size_t pages, Span* span);

// As SetSpan to nothing, and leaves a trace of what was there: objects of `size_class`. `whole`:
// the pages are all of a span, else the end of one.
void ClearSpan(uintptr_t base, size_t pages, size_t size_class, bool whole);

// What the page at an address held when it was last freed; of a page in use, what it held before.
struct PageTrace {
  bool was_used = false;
  bool first = false;  // the span's first page
  size_t size_class = 0;
};
PageTrace TraceOf(uintptr_t address);

// Makes the map read-only but for pages of it with entries. MakeRegion() does so too; before the
// first use of the heap it is worth a call where the program may call mlockall() before that.
void SealRegions();

// The record for the region that holds `address`, made of `pages` if there is none. Null: no
// memory.
Region* MakeRegion(uintptr_t address, PageSourceRef pages);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SPAN_MAP_H_
