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
};

// 32 MiB of addresses in .bss, of which a page for each 32 GiB of heap is ever touched.
// Plain pointers, touched through atomic_ref alone: a compiler would work through four million
// constant initialisers of atomics.
[[gnu::visibility("hidden")]] extern constinit Region* regions[kRegions];

// Requires: the address has 48 bits.
inline std::atomic_ref<Region*> RegionEntry(uintptr_t address) {
  return std::atomic_ref<Region*>(regions[address >> kRegionShift]);
}

inline Region* FindRegion(uintptr_t address) {
  if (address >> kRegionShift >= kRegions) [[unlikely]]
    return nullptr;
  return RegionEntry(address).load(std::memory_order_acquire);
}

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

// The record for the region that holds `address`, made if there is none. Null: no memory.
Region* MakeRegion(uintptr_t address);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SPAN_MAP_H_
