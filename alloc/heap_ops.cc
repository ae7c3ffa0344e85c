#include "plimsoll/alloc/heap_ops.h"

#include <bit>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {

constinit HeapCore core;

namespace {

constinit base::SpinLock shared_mu;
constinit MCache* shared_cache = nullptr;

// Runs f(cache) with the thread's cache, or with the shared one under its lock.
template <typename F>
auto WithCache(F f) {
  if (MCache* cache = EnsureCache()) return f(cache, false);
  SharedCache shared;
  return f(shared.get(), true);
}

void* AllocateSmall(MCache* cache, size_t size_class) {
  if (cache == nullptr) return nullptr;
  if (void* p = cache->TryAllocateClass(size_class)) return p;
  return cache->Refill(size_class);
}

// The live object at `p`, small or large; ends the process when there is none.
Span* Resolve(const char* call, const void* p, ObjectIndex* at) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  Span* span = FindSpan(address);
  if (span == nullptr) ReportWild(call, p);
  const uint64_t offset = address - span->base();
  if (offset >= span->bytes()) ReportWild(call, p);  // beyond 48 bits: see FindSpan()
  if (span->class_index() == 0) {
    if (offset != 0) ReportInterior(call, p, span);
    *at = {0, true};
    return span;
  }
  *at = Index(offset, span->magic());
  if (at->index >= span->klass().objects) ReportWild(call, p);
  if (!at->at_start) ReportInterior(call, p, span);
  // A racing double free may pass here; it is found when its word is sent.
  if (!span->IsInUse(at->index)) ReportDoubleFree(call, p, span);
  return span;
}

void FreeResolved(const char* call, void* p, Span* span, ObjectIndex at) {
  if (span->class_index() == 0) {
    // Two threads that free it at once: the second finds no owner.
    if (span->owner.exchange(nullptr, std::memory_order_acq_rel) == nullptr) {
      ReportDoubleFree(call, p, span);
    }
    core.pages.FreeSpan(span);
    return;
  }
  WithCache([&](MCache* cache, bool shared) {
    PLIMSOLL_CHECK(cache != nullptr, "no memory for a cache to free with");
    if (span->Owner() == cache) {
      cache->FreeOwned(span, at.index);
    } else {
      cache->FreeRemote(span, at.index, /*now=*/shared);
    }
  });
}

}  // namespace

SharedCache::SharedCache() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  shared_mu.lock();
  if (shared_cache == nullptr) shared_cache = core.AcquireCache();
  cache_ = shared_cache;
}

SharedCache::~SharedCache() ABSL_NO_THREAD_SAFETY_ANALYSIS { shared_mu.unlock(); }

void* AllocateSlow(size_t size) {
  SlowPath hold;
  if (size > kMaxSmall) {
    Span* span = core.pages.NewLarge(size, 1);
    return span == nullptr ? nullptr : reinterpret_cast<void*>(span->base());
  }
  return WithCache([size](MCache* cache, bool) { return AllocateSmall(cache, ClassOf(size)); });
}

void* AllocateZeroed(size_t size) {
  SlowPath hold;
  if (size > kMaxSmall) {
    Span* span = core.pages.NewLarge(size, 1);
    if (span == nullptr) return nullptr;
    void* p = reinterpret_cast<void*>(span->base());
    if (!span->zeroed) std::memset(p, 0, size);
    return p;
  }
  const size_t size_class = ClassOf(size);
  return WithCache([=](MCache* cache, bool) -> void* {
    void* p = AllocateSmall(cache, size_class);
    if (p != nullptr && !cache->LastWasFresh(size_class)) {
      // Under ASan the object is still poisoned here.
      base::Unpoison(p, size);
      std::memset(p, 0, size);
    }
    return p;
  });
}

Shape ShapeOf(size_t alignment, size_t size) {
  if (size == 0) size = 1;
  // Spans begin at pages: a class's objects are aligned to what divides its size, up to a page.
  if (alignment <= kPageSize && size <= kMaxSmall) {
    const size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    if (rounded <= kMaxSmall) {
      size_t c = ClassOf(rounded);
      while (kSizeClasses[c].size % alignment != 0) ++c;  // ends: kMaxSmall is a power of two
      return {c, 0};
    }
  }
  return {0, PagesFor(ByteCount(size)).value()};
}

void* AllocateAligned(size_t alignment, size_t size) {
  SlowPath hold;
  const Shape shape = ShapeOf(alignment, size);
  if (shape.size_class == 0) {
    Span* span = core.pages.NewLarge(size == 0 ? 1 : size, alignment);
    return span == nullptr ? nullptr : reinterpret_cast<void*>(span->base());
  }
  return WithCache(
      [&](MCache* cache, bool) -> void* { return AllocateSmall(cache, shape.size_class); });
}

void FreeSlow(void* p) {
  if (p == nullptr) return;
  SlowPath hold;
  // Another cache's object, first: neither its bitmap nor its span's owner's lines are touched.
  // That it is in use is looked at when its word is sent.
  const auto address = reinterpret_cast<uintptr_t>(p);
  Span* span = FindSpan(address);
  MCache* cache = EnsureCache();
  if (span != nullptr && cache != nullptr && span->Owner() != cache && span->class_index() != 0) {
    const uint64_t offset = address - span->base();
    const ObjectIndex at = Index(offset, span->magic());
    if (offset < span->bytes() && at.at_start && at.index < span->klass().objects) {
      cache->FreeRemote(span, at.index, /*now=*/false);
      return;
    }
  }
  ObjectIndex at;
  span = Resolve("free", p, &at);
  FreeResolved("free", p, span, at);
}

void FreeChecked(const char* call, void* p, size_t size_class, size_t pages, size_t told) {
  if (p == nullptr) return;
  SlowPath hold;
  ObjectIndex at;
  Span* span = Resolve(call, p, &at);
  if (span->class_index() != size_class || (size_class == 0 && span->pages != pages)) {
    ReportSizeMismatch(call, p, told, span);
  }
  FreeResolved(call, p, span, at);
}

void AttendSlow(Span* span) {
  SlowPath hold;
  // The P may have changed between the free and here, and the span its owner: by Span's (4) and (5)
  // whoever has it is told.
  Mailbox* owner = span->Owner();
  if (owner == current_cache) {
    current_cache->Attend(span);
  } else if (owner != nullptr && owner != &large_owner) {
    Notify(span, span->remote());
  }
}

size_t UsableSize(const char* call, const void* p) {
  if (p == nullptr) return 0;
  ObjectIndex at;
  return Resolve(call, p, &at)->object_bytes();
}

void* Reallocate(const char* call, void* p, size_t size) {
  SlowPath hold;
  ObjectIndex at;
  Span* span = Resolve(call, p, &at);
  const size_t size_class = size <= kMaxSmall ? ClassOf(size) : 0;
  if (span->class_index() == size_class) {
    if (size_class != 0) return p;
    if (core.pages.Resize(span, size)) return p;
  }
  void* to = size_class == 0 ? AllocateSlow(size) : Allocate(size);
  if (to == nullptr) return nullptr;
  const size_t old = span->class_index() == 0 ? span->large_bytes : span->object_bytes();
  const size_t keep = old < size ? old : size;
  base::Unpoison(p, keep);
  base::Unpoison(to, size);
  std::memcpy(to, p, keep);
  FreeResolved(call, p, span, at);
  return to;
}

void LockAllForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  shared_mu.lock();
  core.caches_mu.lock();
  core.cache_storage.pool().LockForFork();
  for (MCentral& central : core.central) central.LockForFork();
  core.pages.LockForFork();
}

void UnlockAllAfterFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  core.pages.UnlockForFork();
  for (MCentral& central : core.central) central.UnlockForFork();
  core.cache_storage.pool().UnlockForFork();
  core.caches_mu.unlock();
  shared_mu.unlock();
}

}  // namespace plimsoll::alloc
