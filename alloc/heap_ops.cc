#include "plimsoll/alloc/heap_ops.h"

#include <bit>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {

constinit HeapCore core;
constinit HeapWatch watch;

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

struct Given {
  void* p = nullptr;
  bool zero = false;  // it reads as zero already
};

// A sample of a class's objects, in a guarded slot or in a span of its own; nothing: no memory for
// it, and the object comes from the class after all.
[[gnu::noinline]] Given MakeSample(size_t size, size_t alignment, size_t size_class) {
  const HeapSettings& settings = watch.settings;
  if (settings.guard_every != 0 &&
      watch.guard_turn.fetch_add(1, std::memory_order_relaxed) % settings.guard_every ==
          settings.guard_every - 1) {
    if (void* p = watch.guarded.Allocate(core.pages, size, alignment, size_class))
      return {p, false};
  }
  Span* span = core.pages.NewLarge(kSizeClasses[size_class].size, alignment);
  if (span == nullptr) return {};
  span->sample = watch.samples.Add(span->base(), size, size_class);
  if (span->sample == nullptr) {  // without it nobody knew the object's class
    core.pages.FreeSpan(span);
    return {};
  }
  return {reinterpret_cast<void*>(span->base()), span->zeroed};
}

Given AllocateSmall(MCache* cache, size_t size, size_t alignment, size_t size_class) {
  if (cache == nullptr) return {};
  for (;;) {
    if (void* p; cache->TryAllocateClass(size_class, &p)) {
      return {p, cache->LastWasFresh(size_class)};
    }
    if (cache->TakeSampleTurn(size_class)) {
      if (const Given sample = MakeSample(size, alignment, size_class); sample.p != nullptr) {
        return sample;
      }
      cache->SkipSample(size_class);
      continue;
    }
    if (void* p = cache->Refill(size_class)) return {p, cache->LastWasFresh(size_class)};
    // Nothing, and no sample's turn: there is no memory.
    if (!cache->TakeSampleTurn(size_class)) return {};
    if (const Given sample = MakeSample(size, alignment, size_class); sample.p != nullptr) {
      return sample;
    }
    cache->SkipSample(size_class);
  }
}

Given AllocateLarge(size_t size, size_t alignment) {
  Span* span = core.pages.NewLarge(size == 0 ? 1 : size, alignment);
  if (span == nullptr) return {};
  MCache* cache = EnsureCache();
  if (cache != nullptr && cache->CountLargeSample(size)) {
    span->sample = watch.samples.Add(span->base(), size, 0);
  }
  return {reinterpret_cast<void*>(span->base()), span->zeroed};
}

// Memory as it comes, without what debugging adds.
Given AllocatePlain(size_t size, size_t alignment) {
  const Shape shape = ShapeOf(alignment, size);
  if (shape.size_class == 0) return AllocateLarge(size, alignment);
  return WithCache(
      [&](MCache* cache, bool) { return AllocateSmall(cache, size, alignment, shape.size_class); });
}

// The class that an object's size has, though a sample's span has none.
size_t ClassFor(const Span* span) {
  if (span->state == SpanState::kGuarded) return kClassCount;  // like no other
  const bool sampled = span->state == SpanState::kLarge && span->sample != nullptr;
  return sampled ? span->sample->size_class : span->class_index();
}

// The live object at `p`, small or large; ends the process when there is none.
Span* Resolve(const char* call, const void* p, ObjectIndex* at) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  Span* span = FindSpan(address);
  if (span == nullptr) {
    if (watch.samples.Tell(address)) {
      base::Fatal(call, ": double free of ", base::Hex(p), ": where it was freed first is above");
    }
    ReportNoSpan(call, p);
  }
  const uint64_t offset = address - span->base();
  if (span->state == SpanState::kCollected) ReportCollected(call, p, span);
  if (span->state == SpanState::kGuarded) {
    (void)watch.guarded.Find(call, p, span);
    *at = {0, true};
    return span;
  }
  if (span->class_index() == 0) {
    if (offset != 0) {
      watch.samples.Tell(address);
      ReportInterior(call, p, span);
    }
    *at = {0, true};
    return span;
  }
  *at = Index(offset, span->magic());
  if (at->index >= span->klass().objects) ReportWild(call, p);
  if (!at->at_start) ReportInterior(call, p, span);
  // A racing double free may pass here; it is found when its word is sent.
  if (!span->IsInUse(at->index)) {
    watch.samples.Tell(address);
    ReportDoubleFree(call, p, span);
  }
  return span;
}

size_t UsableOf(const char* call, const void* p, const Span* span) {
  if (span->state == SpanState::kGuarded) return watch.guarded.Find(call, p, span).size;
  const size_t size_class = ClassFor(span);
  return size_class == 0 ? span->bytes() : kSizeClasses[size_class].size;
}

void FreeResolved(const char* call, void* p, Span* span, ObjectIndex at) {
  if (span->state == SpanState::kGuarded) return watch.guarded.Free(call, p, span);
  if (span->class_index() == 0) {
    // Two threads that free it at once: the second finds no owner.
    if (span->owner.exchange(nullptr, std::memory_order_acq_rel) == nullptr) {
      ReportDoubleFree(call, p, span);
    }
    if (span->sample != nullptr) watch.samples.Remove(span->sample);
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

void FreePlain(const char* call, void* p) {
  ObjectIndex at;
  Span* span = Resolve(call, p, &at);
  FreeResolved(call, p, span, at);
}

size_t UsablePlain(const char* call, const void* p) {
  ObjectIndex at;
  return UsableOf(call, p, Resolve(call, p, &at));
}

// ---- debugging: every operation comes by here ----

void* DebugAllocate(size_t size, size_t alignment, bool zeroed) {
  if (size > PTRDIFF_MAX) return nullptr;
  const Given given = AllocatePlain(size + HeapDebug::kExtra, alignment);
  if (given.p == nullptr) return nullptr;
  const size_t usable = UsablePlain("malloc", given.p);
  base::Unpoison(given.p, usable);
  if (zeroed && !given.zero) std::memset(given.p, 0, size);
  return watch.debug.Dress(given.p, usable, size, zeroed, watch.settings);
}

size_t DebugSizeOf(const char* call, const void* p) {
  const size_t usable = UsablePlain(call, p);
  base::Unpoison(p, usable);
  return watch.debug.SizeOf(call, p, usable);
}

void DebugFree(const char* call, void* p) {
  const size_t usable = UsablePlain(call, p);
  base::Unpoison(p, usable);
  void* out[HeapDebug::kMostOut];
  const size_t n = watch.debug.Undress(call, p, usable, watch.settings, out);
  for (size_t i = 0; i < n; ++i) FreePlain(call, out[i]);
}

// Frees what is not this cache's, or is the first of a full span, or large.
[[gnu::noinline]] void FreeElsewhere(void* p) {
  const auto address = reinterpret_cast<uintptr_t>(p);
  Span* span = FindSpan(address);
  MCache* cache = EnsureCache();
  // Another cache's object, first: none of its owner's lines is touched.
  if (span != nullptr && cache != nullptr && span->Owner() != cache && span->class_index() != 0 &&
      span->Owner() != &collected_owner) {
    const ObjectIndex at = Index(address - span->base(), span->magic());
    if (at.at_start && at.index < span->klass().objects) {
      cache->FreeRemote(span, at.index, /*now=*/false);
      return;
    }
  }
  FreePlain("free", p);
}

// Programs do not expect that making an object smaller fails: without memory for the smaller class
// it stays where it is, in whole pages if it was. False: it is not smaller.
bool ShrinkInPlace(const char* call, const void* p, Span* span, size_t size) {
  if (size > UsableOf(call, p, span)) return false;
  if (ClassFor(span) == 0 && core.pages.Resize(span, size) && span->sample != nullptr) {
    watch.samples.Resized(span->sample, size);
  }
  watch.shrunk_in_place.store(true, std::memory_order_relaxed);
  return true;
}

// Whether a wrong size may be ShrinkInPlace()'s doing: what it told belongs to a smaller class.
bool MayHaveShrunk(const char* call, const void* p, const Span* span, size_t told) {
  return watch.shrunk_in_place.load(std::memory_order_relaxed) && told <= UsableOf(call, p, span);
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
  if (size <= kMaxSmall) [[likely]] {
    // When debugging, and before the first operation, what this sees is the empty cache.
    if (void* p = current_cache->RefillInPlace(ClassOf(size))) return p;
  }
  if (size > kMaxSmall || watch.debugging) [[unlikely]] {
    watch.Ready();
    return watch.debugging ? DebugAllocate(size, 1, false) : AllocateLarge(size, 1).p;
  }
  MCache* cache = EnsureCache();
  if (watch.debugging) [[unlikely]]  // this was the first operation of all
    return DebugAllocate(size, 1, false);
  if (cache != nullptr) return AllocateSmall(cache, size, 1, ClassOf(size)).p;
  SharedCache shared;
  return AllocateSmall(shared.get(), size, 1, ClassOf(size)).p;
}

void* AllocateZeroed(size_t size) {
  SlowPath hold;
  watch.Ready();
  if (watch.debugging) return DebugAllocate(size, 1, true);
  const Given given = AllocatePlain(size, 1);
  if (given.p != nullptr && !given.zero) {
    // Under ASan the object is still poisoned here.
    base::Unpoison(given.p, size);
    std::memset(given.p, 0, size);
  }
  return given.p;
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
  watch.Ready();
  return watch.debugging ? DebugAllocate(size, alignment, false) : AllocatePlain(size, alignment).p;
}

bool FreeSlow(void* p) {
  if (p == nullptr) return false;
  SlowPath hold;
  const auto address = reinterpret_cast<uintptr_t>(p);
  if (current_cache->TryFreeRemote(address)) return current_cache->NothingPending();
  if (watch.debugging) [[unlikely]] {
    DebugFree("free", p);
  } else {
    FreeElsewhere(p);
  }
  return true;
}

void FreeChecked(const char* call, void* p, size_t size_class, size_t pages, size_t told) {
  if (p == nullptr) return;
  SlowPath hold;
  ObjectIndex at;
  Span* span = Resolve(call, p, &at);
  if (watch.debugging) {
    const size_t size = DebugSizeOf(call, p);
    if (size != told) {
      base::Fatal(call, ": mismatched size for ", base::Hex(p), ": told ", told, ", it has ", size);
    }
    return DebugFree(call, p);
  }
  if (span->state == SpanState::kGuarded) {
    const Sample& sample = watch.guarded.Find(call, p, span);
    if (sample.size_class != size_class && !MayHaveShrunk(call, p, span, told)) {
      TellSample(sample);
      ReportSizeMismatch(call, p, told, span);
    }
  } else if ((ClassFor(span) != size_class || (size_class == 0 && span->pages != pages)) &&
             !MayHaveShrunk(call, p, span, told)) {
    watch.samples.Tell(reinterpret_cast<uintptr_t>(p));
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
  return watch.debugging ? DebugSizeOf(call, p) : UsablePlain(call, p);
}

void* Reallocate(const char* call, void* p, size_t size) {
  SlowPath hold;
  if (watch.debugging) {
    const size_t old = DebugSizeOf(call, p);
    void* to = DebugAllocate(size, 1, false);
    if (to == nullptr) return nullptr;
    std::memcpy(to, p, old < size ? old : size);
    DebugFree(call, p);
    return to;
  }
  ObjectIndex at;
  Span* span = Resolve(call, p, &at);
  const size_t size_class = size <= kMaxSmall ? ClassOf(size) : 0;
  if (ClassFor(span) == size_class && (size_class != 0 || core.pages.Resize(span, size))) {
    if (span->state == SpanState::kLarge && span->sample != nullptr) {
      watch.samples.Resized(span->sample, size);
    }
    return p;
  }
  void* to = size_class == 0 ? AllocateLarge(size, 1).p : AllocatePlain(size, 1).p;
  if (to == nullptr) return ShrinkInPlace(call, p, span, size) ? p : nullptr;
  // All that UsableSize() promised, not what was asked for: programs write up to it.
  const size_t usable = UsableOf(call, p, span);
  const size_t keep = usable < size ? usable : size;
  base::Unpoison(p, keep);
  base::Unpoison(to, size);
  std::memcpy(to, p, keep);
  base::Poison(p, usable);  // as Heap::Free does
  FreeResolved(call, p, span, at);
  return to;
}

void HeapWatch::Ready() {
  int state = state_.load(std::memory_order_acquire);  // pairs with the release below
  if (state == kReady) [[likely]]
    return;
  if (state == kNot && state_.compare_exchange_strong(state, kReading, std::memory_order_acquire)) {
    const auto debug = base::DebugText::FromEnvironment();
    settings = ReadHeapSettings(debug);
    debug.TellUnknown();
    debugging = settings.debug();
    if (debugging) HideCaches();
    core.sample_period.store(settings.sample_period, std::memory_order_relaxed);
    state_.store(kReady, std::memory_order_release);
    return;
  }
  while (state_.load(std::memory_order_acquire) != kReady) base::CpuRelax();
}

// Not the locks of caches: each is its owner's, and of those that the child goes on with the
// forking thread's and the shared one are free.
void LockAllForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  shared_mu.lock();
  core.taking_mu.lock();
  core.caches_mu.lock();
  core.cache_storage.pool().LockForFork();
  for (MCentral& central : core.central) central.LockForFork();
  watch.debug.LockForFork();
  watch.guarded.LockForFork();
  watch.samples.LockForFork();
  core.pages.LockForFork();
}

void UnlockAllAfterFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  core.pages.UnlockForFork();
  watch.samples.UnlockForFork();
  watch.guarded.UnlockForFork();
  watch.debug.UnlockForFork();
  for (MCentral& central : core.central) central.UnlockForFork();
  core.cache_storage.pool().UnlockForFork();
  core.caches_mu.unlock();
  core.taking_mu.unlock();
  shared_mu.unlock();
}

}  // namespace plimsoll::alloc
