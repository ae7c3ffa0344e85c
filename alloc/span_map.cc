#include "plimsoll/alloc/span_map.h"

#include "plimsoll/alloc/backing/mmap_pages.h"

namespace plimsoll::alloc {

constinit Region* regions[kRegions] = {};

void SetSpan(uintptr_t base, size_t pages, Span* span) {
  for (size_t i = 0; i < pages; ++i) {
    const uintptr_t address = base + (i << kPageShift);
    FindRegion(address)->spans[(address >> kPageShift) & (kRegionPages - 1)].store(
        span, std::memory_order_release);  // pairs with the acquire in FindSpan()
  }
}

Region* MakeRegion(uintptr_t address) {
  std::atomic_ref<Region*> entry = RegionEntry(address);
  if (Region* made = entry.load(std::memory_order_acquire)) return made;
  MmapPages pages;
  constexpr size_t kGuard = 4096;
  constexpr size_t kRecord = (sizeof(Region) + 4095) & ~size_t{4095};
  const Mapping m = pages.Map(ByteCount(kRecord + 2 * kGuard), ByteCount(4096), 0);
  if (m.base == nullptr) return nullptr;
  const uintptr_t base = reinterpret_cast<uintptr_t>(m.base);
  (void)pages.Guard(m.base, ByteCount(kGuard));
  (void)pages.Guard(reinterpret_cast<void*>(base + kGuard + kRecord), ByteCount(kGuard));
  // The kernel's zeroes are null pointers. Two heaps may ask at once: the first one's record stays.
  Region* none = nullptr;
  auto* made = reinterpret_cast<Region*>(base + kGuard);
  if (!entry.compare_exchange_strong(none, made, std::memory_order_acq_rel)) {
    pages.Unmap(m.base, ByteCount(kRecord + 2 * kGuard));
    return none;
  }
  return made;
}

}  // namespace plimsoll::alloc
