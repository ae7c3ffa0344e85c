#include "plimsoll/alloc/heap_census.h"

#include <algorithm>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/guarded.h"
#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll {
namespace {

enum class Kind : uint8_t { kCollected, kAllocated, kGuarded };

// What is told of a span under the lock.
struct Seen {
  uint64_t base_and_kind;  // bases are whole pages
  uint32_t pages;
  uint16_t objects;
  uint8_t size_class;
};
static_assert(sizeof(Seen) == 16);

Kind KindOf(const alloc::Span* span) {
  if (span->IsCollected()) return Kind::kCollected;
  return span->owner.load(std::memory_order_relaxed) == &alloc::guarded_owner ? Kind::kGuarded
                                                                              : Kind::kAllocated;
}

size_t WholePages(size_t bytes) { return (bytes + 4095) & ~size_t{4095}; }

}  // namespace

bool TakeHeapCensus(HeapCensus* census, ResidentBytes resident, void* arg) {
  // A span is a page at least. Some more: others allocate meanwhile.
  const size_t regions = alloc::core.pages.Regions();
  const size_t room = (alloc::core.pages.Stats().in_use >> kPageShift) + 4096;
  const size_t cell_bytes = regions * alloc::kRegionPages * sizeof(alloc::PageCell);
  const size_t base_bytes = regions * sizeof(uintptr_t);
  const ByteCount bytes(WholePages(room * sizeof(Seen) + base_bytes + cell_bytes));
  alloc::MmapPages pages;
  void* scratch = pages.Map(bytes, ByteCount(4096), 0).base;
  if (scratch == nullptr) return false;
  auto* seen = static_cast<Seen*>(scratch);
  auto* bases = reinterpret_cast<uintptr_t*>(seen + room);
  auto* cells = reinterpret_cast<alloc::PageCell*>(bases + regions);
  size_t count = 0, copied;
  {
    alloc::SlowPath hold;
    copied = alloc::core.pages.CopyCells(cells, bases, regions);
    alloc::core.pages.ForEachSpan([&](const alloc::Span* span) {
      if (count == room) return;
      const size_t c = span->class_index();
      seen[count++] = {.base_and_kind = span->base() | static_cast<uint64_t>(KindOf(span)),
                       .pages = span->pages,
                       .objects = static_cast<uint16_t>(c == 0 ? 1 : span->CountInUse()),
                       .size_class = static_cast<uint8_t>(c)};
    });
  }
  HeapCensus result;
  result.region_records = ByteCount(copied * sizeof(alloc::Region));
  std::sort(bases, bases + copied);
  for (size_t r = 0; r < copied; ++r) {
    if (bases[r] == 0) continue;  // a gap
    result.resident += ByteCount(resident(bases[r], alloc::kRegionBytes, arg));
  }
  std::sort(seen, seen + count,
            [](const Seen& a, const Seen& b) { return a.base_and_kind < b.base_and_kind; });
  ByteCount in_spans;
  for (const Seen* s = seen; s != seen + count; ++s) {
    const uintptr_t base = s->base_and_kind & ~uintptr_t{kPageSize - 1};
    const auto kind = static_cast<Kind>(s->base_and_kind & (kPageSize - 1));
    const ByteCount span_bytes = PageCount(s->pages).bytes();
    const uint64_t object =
        s->size_class == 0 ? span_bytes.value() : alloc::kSizeClasses[s->size_class].size;
    const SpanUse use{.spans = 1,
                      .objects = s->objects,
                      .objects_bytes = ByteCount(s->objects * object),
                      .span_bytes = span_bytes,
                      .resident = ByteCount(resident(base, span_bytes.value(), arg))};
    in_spans += use.resident;
    switch (kind) {
      case Kind::kCollected:
        result.collected[s->size_class] += use;
        break;
      case Kind::kAllocated:
        result.allocated[s->size_class] += use;
        break;
      case Kind::kGuarded:
        result.guarded += use;
        break;
    }
  }
  if (in_spans < result.resident) result.idle_resident = result.resident - in_spans;
  pages.Unmap(scratch, bytes);
  *census = result;
  return true;
}

bool IsHeapRegion(uintptr_t address) { return alloc::FindRegion(address) != nullptr; }

}  // namespace plimsoll
