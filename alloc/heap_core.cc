#include "plimsoll/alloc/heap_core.h"

#include <algorithm>

namespace plimsoll::alloc {

MCache* HeapCore::AcquireCache() {
  base::SpinLockHolder hold(caches_mu);
  MCache* cache = idle_caches;
  if (cache != nullptr) {
    idle_caches = cache->next_idle;
  } else {
    cache = cache_storage.New();
    if (cache == nullptr) return nullptr;
    cache->core = this;
    cache->next_all = all_caches;
    all_caches = cache;
  }
  cache->next_idle = nullptr;
  cache->in_use = true;
  ++caches_in_use;
  ShareEmptyBytes();
  return cache;
}

void HeapCore::ShareEmptyBytes() {
  const uint64_t share = kAllEmptyBytes / std::max<size_t>(1, caches_in_use);
  most_empty_bytes.store(std::clamp(share, kLeastEmptyBytes, kMostEmptyBytes),
                         std::memory_order_relaxed);
}

void HeapCore::ReturnCache(MCache* cache) {
  cache->Retire();
  base::SpinLockHolder hold(caches_mu);
  cache->in_use = false;
  --caches_in_use;
  ShareEmptyBytes();
  cache->next_idle = idle_caches;
  idle_caches = cache;
}

void HeapCore::Forward(Span* span) {
  // Its reader has taken the flag away, so Notify leaves word anew, with whoever owns it now.
  Notify(span, span->remote());
}

void HeapCore::ReadOrphansMail() {
  for (Span* span = TakeMail(orphanage); span != nullptr;) {
    Span* next = Unnotify(span);
    size_t size_class;
    do {
      size_class = span->class_index();
    } while (!central[size_class].Settle(span, size_class, &orphanage, pages));
    span = next;
  }
}

uint64_t HeapCore::TakeFromCaches(bool all) {
  // A look at mail of which nothing can be taken costs about 100 ns for each span: at most every
  // 1.6 s, which leaves the ten seconds after a spike long enough.
  constexpr int kMostRest = 15;
  constexpr int kASecond = 7;
  base::SpinLockHolder hold(taking_mu);
  much_sent.store(false, std::memory_order_relaxed);
  MCache* cache;
  {
    base::SpinLockHolder caches(caches_mu);
    cache = all_caches;
  }
  uint64_t bytes = 0;
  // Caches are never unmade, and new ones come before the first.
  for (; cache != nullptr; cache = cache->next_all) {
    if (!all && cache->rest > 0) {
      --cache->rest;
      continue;
    }
    const bool used = cache->WasUsed();
    const uint64_t taken = cache->TakeUnused(all || (!used && cache->rested >= kASecond));
    cache->rested = cache->rest =
        static_cast<uint8_t>(taken > 0 ? 0 : std::min<int>(kMostRest, cache->rested * 2 + 1));
    bytes += taken;
  }
  return bytes;
}

}  // namespace plimsoll::alloc
