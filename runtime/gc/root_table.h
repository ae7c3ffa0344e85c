// The table of roots: what the collector reads of Roots, Globals and ambiguous memory.
//
// Memory:   its own; nothing here calls malloc.
// Threads:  slots and ranges come and go on any thread; VisitRoots is for a stopped world, and does
//           with threads that are not the runtime's and go on meanwhile: it holds the locks.
#ifndef PLIMSOLL_RUNTIME_GC_ROOT_TABLE_H_
#define PLIMSOLL_RUNTIME_GC_ROOT_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc::internal {

// Memory outside of the collected heap in which any word may be a pointer. The record lies with who
// owns the memory.
struct AmbiguousRange {
  uintptr_t lo = 0;
  uintptr_t hi = 0;
  AmbiguousRange* next = nullptr;
  AmbiguousRange* prev = nullptr;
};
void AddRange(AmbiguousRange* range);
void RemoveRange(AmbiguousRange* range);

// Calls on_root for each Root and Global that is not null, and sink for each ambiguous range.
void VisitRoots(void (*on_root)(uintptr_t address, void* arg), void* arg, RangeSink& sink);

// Whether `address` lies in an ambiguous range.
bool InRange(uintptr_t address);

size_t RootCount();

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_ROOT_TABLE_H_
