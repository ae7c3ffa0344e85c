#include "plimsoll/alloc/span_map.h"

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll::alloc {

alignas(4096) constinit Region* regions[kRegions] = {};

void SetSpan(uintptr_t base, size_t pages, Span* span) {
  for (size_t i = 0; i < pages; ++i) {
    const uintptr_t address = base + (i << kPageShift);
    FindRegion(address)->spans[(address >> kPageShift) & (kRegionPages - 1)].store(
        span, std::memory_order_release);  // pairs with the acquire in FindSpan()
  }
}

namespace {

constexpr uint8_t kFirstPage = 0x80;
static_assert(kClassCount < kFirstPage);

}  // namespace

void ClearSpan(uintptr_t base, size_t pages, size_t size_class, bool whole) {
  for (size_t i = 0; i < pages; ++i) {
    const uintptr_t address = base + (i << kPageShift);
    const size_t page = (address >> kPageShift) & (kRegionPages - 1);
    const uint8_t first = whole && i == 0 ? kFirstPage : 0;
    Region* region = FindRegion(address);
    region->trace[page].store(static_cast<uint8_t>((size_class + 1) | first),
                              std::memory_order_relaxed);
    region->spans[page].store(nullptr, std::memory_order_release);
  }
}

PageTrace TraceOf(uintptr_t address) {
  const Region* region = FindRegion(address);
  if (region == nullptr) return {};
  const uint8_t trace =
      region->trace[(address >> kPageShift) & (kRegionPages - 1)].load(std::memory_order_relaxed);
  if (trace == 0) return {};
  return {true, (trace & kFirstPage) != 0, size_t{trace} % kFirstPage - 1};
}

namespace {

enum : uint8_t { kOpen, kSealed, kMayNotBe };
constinit base::SpinLock table_mu;
constinit uint8_t table ABSL_GUARDED_BY(table_mu) = kOpen;

void SealLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(table_mu) {
  if (table != kOpen) return;
  // Where it may not be, all of it stays writable.
  table = MmapPages::Seal(static_cast<void*>(regions), ByteCount(sizeof(regions))) ? kSealed
                                                                                   : kMayNotBe;
}

// Makes the table's page with the entry for `address` writable. False: the kernel refuses.
bool OpenEntry(uintptr_t address) {
  constexpr uintptr_t kMachinePage = 4096;
  base::SpinLockHolder hold(table_mu);
  SealLocked();
  if (table == kMayNotBe) return true;
  const auto entry = reinterpret_cast<uintptr_t>(&regions[address >> kRegionShift]);
  return MmapPages::Open(reinterpret_cast<void*>(entry & ~(kMachinePage - 1)),
                         ByteCount(kMachinePage));
}

// The first and the last region with a record.
constinit std::atomic<uintptr_t> first_region{UINTPTR_MAX}, last_region{0};

void Widen(uintptr_t region) {
  uintptr_t first = first_region.load(std::memory_order_relaxed);
  while (region < first &&
         !first_region.compare_exchange_weak(first, region, std::memory_order_relaxed)) {
  }
  uintptr_t last = last_region.load(std::memory_order_relaxed);
  while (region > last &&
         !last_region.compare_exchange_weak(last, region, std::memory_order_relaxed)) {
  }
}

}  // namespace

KnownRange KnownRegions() {
  const uintptr_t first = first_region.load(std::memory_order_relaxed);
  const uintptr_t last = last_region.load(std::memory_order_relaxed);
  if (first > last) return {};
  return {first << kRegionShift, (last - first + 1) << kRegionShift};
}

void SealRegions() {
  base::SpinLockHolder hold(table_mu);
  SealLocked();
}

Region* MakeRegion(uintptr_t address, PageSourceRef pages) {
  std::atomic_ref<Region*> entry = RegionEntry(address);
  if (Region* made = entry.load(std::memory_order_acquire)) return made;
  if (!OpenEntry(address)) return nullptr;
  constexpr size_t kGuard = 4096;
  constexpr size_t kRecord = (sizeof(Region) + 4095) & ~size_t{4095};
  const Mapping m = pages.Map(ByteCount(kRecord + 2 * kGuard), ByteCount(4096));
  if (m.base == nullptr) return nullptr;
  const uintptr_t base = reinterpret_cast<uintptr_t>(m.base);
  (void)MmapPages::Guard(m.base, ByteCount(kGuard));
  (void)MmapPages::Guard(reinterpret_cast<void*>(base + kGuard + kRecord), ByteCount(kGuard));
  Widen(address >> kRegionShift);
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
