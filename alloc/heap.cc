#include "plimsoll/alloc/heap.h"

#include <bit>

#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/scavenger.h"

namespace plimsoll {
namespace {

using alloc::core;

constinit alloc::Scavenger scavenger;

}  // namespace

#ifdef PLIMSOLL_ASAN
// Poisoning at the door: what is inside never touches an object.
void* Heap::Allocate(size_t size) {
  void* p = alloc::Allocate(size);
  if (p != nullptr) base::Unpoison(p, size);
  return p;
}

void Heap::Free(void* p) {
  if (p == nullptr) return;
  base::Poison(p, alloc::UsableSize("free", p));
  alloc::Free(p);
}
#else
PLIMSOLL_LEAF void* Heap::Allocate(size_t size) { return alloc::Allocate(size); }

PLIMSOLL_LEAF void Heap::Free(void* p) { return alloc::Free(p); }
#endif

void* Heap::AllocateZeroed(size_t size) {
  void* p = alloc::AllocateZeroed(size);
  if (p != nullptr) base::Unpoison(p, size);
  return p;
}

void* Heap::AllocateAligned(size_t alignment, size_t size) {
  if (!std::has_single_bit(alignment)) return nullptr;
  void* p = alloc::AllocateAligned(alignment, size);
  if (p != nullptr) base::Unpoison(p, size);
  return p;
}

void* Heap::Reallocate(void* p, size_t size) {
  if (p == nullptr) return Allocate(size);
  if (size == 0) size = 1;
  void* to = alloc::Reallocate("realloc", p, size);
  if (to != nullptr) base::Unpoison(to, size);
  return to;
}

void Heap::FreeSized(void* p, size_t size) { FreeAlignedSized(p, 1, size); }

void Heap::FreeAlignedSized(void* p, size_t alignment, size_t size) {
  if (p == nullptr) return;
  const alloc::Shape shape = alloc::ShapeOf(alignment, size);
  if constexpr (base::kAsan) base::Poison(p, alloc::UsableSize("sized free", p));
  alloc::FreeChecked("sized free", p, shape.size_class, shape.pages, size);
}

size_t Heap::UsableSize(const void* p) {
  const size_t size = alloc::UsableSize("usable size", p);
  if (p != nullptr) base::Unpoison(p, size);
  return size;
}

void Heap::SetMemoryLimit(ByteCount limit) { core.pages.SetLimit(limit.value()); }

Heap::StepResult Heap::Step(int64_t now_ns) {
  alloc::SlowPath hold;
  core.ReadIdleCachesMail();
  core.ReadOrphansMail();
  const alloc::PageStats s = core.pages.Stats();
  const uint64_t wanted = scavenger.Plan(now_ns, s.in_use, s.idle, core.pages.limit());
  const uint64_t released = wanted == 0 ? 0 : core.pages.Release(wanted);
  const bool over =
      core.pages.limit() != UINT64_MAX && s.in_use + s.idle > core.pages.limit() / 10 * 9;
  return {ByteCount(released), s.idle - released <= s.in_use / 10 + MiB(4).value() && !over};
}

ByteCount Heap::ReleaseAll() {
  alloc::SlowPath hold;
  if (alloc::MCache* cache = alloc::EnsureCache()) cache->Trim();
  core.ReadIdleCachesMail();
  core.ReadOrphansMail();
  return ByteCount(core.pages.Release(UINT64_MAX));
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
  stats.released_total = ByteCount(s.released_total);
  {
    base::SpinLockHolder caches(core.caches_mu);
    for (alloc::MCache* c = core.all_caches; c != nullptr; c = c->next_all)
      stats.caches += c->in_use;
  }
  core.pages.ForEachSpan([&stats](const alloc::Span* span) {
    const size_t c = span->class_index();
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
