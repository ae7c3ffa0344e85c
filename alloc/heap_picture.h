// WriteHeapPicture draws the heap's regions as SVG: a cell for each page, coloured by what it holds
// and paler the less of its span is in use.
//
//   Heap::WritePicture([](std::string_view piece, void* file) { ... }, file);     // alloc/heap.h
//
//   region   a band of 256 x 32 cells, pages from left to right, then down; 64 MiB
//   colour   by size class, eight hues in turn; grey: large; white: released to the system;
//            straw: idle; black: guarded samples and their guard pages; nothing: no memory
//
// Memory: two bytes a page, mapped by the caller; the heap is not locked while `write` runs.
#ifndef PLIMSOLL_ALLOC_HEAP_PICTURE_H_
#define PLIMSOLL_ALLOC_HEAP_PICTURE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/stats.h"

namespace plimsoll::alloc {

// `bases` are the regions' addresses, 0 for a gap; `cells` has kRegionPages for each of them.
void WriteHeapPicture(const HeapStats& stats, const uintptr_t* bases, size_t regions,
                      const PageCell* cells, void (*write)(std::string_view piece, void* to),
                      void* to);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_HEAP_PICTURE_H_
