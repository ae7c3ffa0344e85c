#include "plimsoll/alloc/heap.h"

#include <bit>

#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/heap_picture.h"
#include "plimsoll/alloc/heap_profile.h"
#include "plimsoll/alloc/scavenger.h"

namespace plimsoll {
namespace {

using alloc::core;

// By who has core.stepping, as next_collapse_ns.
constinit alloc::Scavenger scavenger;

// A collapse copies 2 MiB, some 300 us: one a second is far below one percent of a CPU. After a
// refusal the next try is a minute away: memory is fragmented, or the kernel is older than 6.1.
constexpr int64_t kCollapseEveryNs = 1'000'000'000;
constexpr int64_t kCollapseRefusedNs = 60'000'000'000;
constinit int64_t next_collapse_ns = INT64_MIN;

}  // namespace

namespace {

// What ASan is told at the door, since what is inside never touches an object: of an object's
// class the bytes that were asked for may be touched, and UsableSize() opens the others.
void* Opened(void* p, size_t size) {
  if constexpr (base::kAsan) {
    if (p == nullptr) return nullptr;
    const size_t usable = alloc::UsableSize("malloc", p);
    base::Unpoison(p, size);
    base::Poison(static_cast<char*>(p) + size, usable - size);
  }
  return p;
}

void Close(const char* call, void* p) {
  if constexpr (base::kAsan) base::Poison(p, alloc::UsableSize(call, p));
}

}  // namespace

#ifdef PLIMSOLL_ASAN
void* Heap::Allocate(size_t size) { return Opened(alloc::Allocate(size), size); }

void Heap::Free(void* p) {
  if (p == nullptr) return;
  Close("free", p);
  alloc::Free(p);
}
#else
PLIMSOLL_LEAF void* Heap::Allocate(size_t size) { return alloc::Allocate(size); }

PLIMSOLL_LEAF void Heap::Free(void* p) { return alloc::Free(p); }
#endif

void* Heap::AllocateZeroed(size_t size) { return Opened(alloc::AllocateZeroed(size), size); }

void* Heap::AllocateAligned(size_t alignment, size_t size) {
  if (!std::has_single_bit(alignment)) return nullptr;
  return Opened(alloc::AllocateAligned(alignment, size), size);
}

void* Heap::Reallocate(void* p, size_t size) {
  if (p == nullptr) return Allocate(size);
  if (size == 0) size = 1;
  // All that may be copied. Where there is no memory it stays so, of which nobody is the worse.
  if constexpr (base::kAsan) base::Unpoison(p, alloc::UsableSize("realloc", p));
  return Opened(alloc::Reallocate("realloc", p, size), size);
}

void Heap::FreeSized(void* p, size_t size) { FreeAlignedSized(p, 1, size); }

void Heap::FreeAlignedSized(void* p, size_t alignment, size_t size) {
  if (p == nullptr) return;
  const alloc::Shape shape = alloc::ShapeOf(alignment, size);
  Close("sized free", p);
  alloc::FreeChecked("sized free", p, shape.size_class, shape.pages, size);
}

size_t Heap::UsableSize(const void* p) {
  const size_t size = alloc::UsableSize("usable size", p);
  if (p != nullptr) base::Unpoison(p, size);
  return size;
}

void Heap::SetMemoryLimit(ByteCount limit) {
  core.limit_told.store(true, std::memory_order_relaxed);
  core.pages.SetLimit(limit.value());
}

Heap::StepResult Heap::Step(int64_t now_ns) {
  alloc::SlowPath hold;
  // Pairs with the release below.
  if (core.stepping.exchange(true, std::memory_order_acquire)) {
    return {ByteCount(0), /*idle=*/false};
  }
  const uint64_t taken = core.TakeFromCaches(/*all=*/false);
  core.ReadOrphansMail();
  const alloc::PageStats s = core.pages.Stats();
  const uint64_t wanted = scavenger.Plan(now_ns, s.in_use, s.idle, core.pages.limit());
  const uint64_t released = wanted == 0 ? 0 : core.pages.Release(wanted);
  // Not while memory goes back: what is dense now may be idle next.
  if (wanted == 0 && now_ns >= next_collapse_ns) {
    bool refused = false;
    core.pages.CollapseOne(&refused);
    next_collapse_ns = now_ns + (refused ? kCollapseRefusedNs : kCollapseEveryNs);
  }
  const bool over =
      core.pages.limit() != UINT64_MAX && s.in_use + s.idle > core.pages.limit() / 10 * 9;
  core.stepping.store(false, std::memory_order_release);
  return {ByteCount(released),
          taken == 0 && s.idle - released <= alloc::Scavenger::Keep(s.in_use) && !over};
}

ByteCount Heap::ReleaseAll() {
  alloc::SlowPath hold;
  if (alloc::MCache* cache = alloc::EnsureCache()) cache->Trim();
  core.TakeFromCaches(/*all=*/true);
  core.ReadOrphansMail();
  return ByteCount(core.pages.Release(UINT64_MAX));
}

bool Heap::IsOverLimit() {
  return core.pages.HeldBytes() > core.pages.limit() && core.pages.IdleBytes() > 0;
}

ByteCount Heap::ReleaseOverLimit() {
  alloc::SlowPath hold;
  const uint64_t held = core.pages.HeldBytes();
  const uint64_t limit = core.pages.limit();
  return ByteCount(held > limit ? core.pages.Release(held - limit) : 0);
}

HeapStats Heap::Stats() {
  alloc::SlowPath hold;
  HeapStats stats;
  const alloc::PageStats s = core.pages.Stats();
  stats.in_spans = ByteCount(s.in_use);
  stats.idle = ByteCount(s.idle);
  stats.released = ByteCount(s.released);
  stats.mapped = ByteCount(s.mapped);
  stats.metadata = ByteCount(s.metadata + core.cache_storage.mapped().value());
  stats.limit = ByteCount(core.pages.limit());
  stats.releases = s.releases;
  stats.collapsed_total = ByteCount(s.collapsed_total);
  stats.released_total = ByteCount(s.released_total);
  {
    base::SpinLockHolder caches(core.caches_mu);
    for (alloc::MCache* c = core.all_caches; c != nullptr; c = c->next_all)
      stats.caches += c->in_use;
  }
  core.pages.ForEachSpan([&stats](const alloc::Span* span) {
    const size_t c = span->class_index();
    if (span->owner.load(std::memory_order_relaxed) == &alloc::guarded_owner) return;
    if (c == 0) {
      ++stats.large_objects;
      stats.large += ByteCount(span->bytes());
      stats.live += ByteCount(span->bytes());
      return;
    }
    const size_t objects = span->CountInUse();
    ++stats.classes[c].spans;
    stats.classes[c].objects += objects;
    stats.classes[c].capacity += alloc::kSizeClasses[c].objects;
    stats.live += ByteCount(objects * alloc::kSizeClasses[c].size);
  });
  return stats;
}

void Heap::SetSamplePeriod(ByteCount period) {
  alloc::watch.Ready();
  core.sample_period.store(period.value(), std::memory_order_relaxed);
}

bool Heap::WriteProfile(void (*write)(std::string_view bytes, void* to), void* to) {
  return alloc::WriteHeapProfile(alloc::watch.samples,
                                 core.sample_period.load(std::memory_order_relaxed), write, to);
}

bool Heap::WritePicture(void (*write)(std::string_view piece, void* to), void* to) {
  const HeapStats stats = Stats();
  const size_t regions = core.pages.Regions();
  const size_t cell_bytes = regions * alloc::kRegionPages * sizeof(alloc::PageCell);
  const ByteCount bytes((cell_bytes + regions * sizeof(uintptr_t) + 4096) & ~size_t{4095});
  alloc::MmapPages pages;
  void* scratch = pages.Map(bytes, ByteCount(4096), 0).base;
  if (scratch == nullptr) return false;
  auto* cells = static_cast<alloc::PageCell*>(scratch);
  auto* bases = reinterpret_cast<uintptr_t*>(static_cast<char*>(scratch) + cell_bytes);
  size_t copied;
  {
    alloc::SlowPath hold;
    copied = core.pages.CopyCells(cells, bases, regions);
  }
  alloc::WriteHeapPicture(stats, bases, copied, cells, write, to);
  pages.Unmap(scratch, bytes);
  return true;
}

alloc::MCache* Heap::NewCache() {
  alloc::SlowPath hold;
  return core.AcquireCache();
}

void Heap::DeleteCache(alloc::MCache* cache) {
  alloc::SlowPath hold;
  core.ReturnCache(cache);
}

void Heap::TrimCache(alloc::MCache* cache) {
  alloc::SlowPath hold;
  cache->Trim();
}

}  // namespace plimsoll
