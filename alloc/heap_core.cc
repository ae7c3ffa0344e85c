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

void HeapCore::ReadIdleCachesMail() {
  base::SpinLockHolder hold(caches_mu);
  for (MCache* cache = idle_caches; cache != nullptr; cache = cache->next_idle) {
    for (Span* span = TakeMail(*cache); span != nullptr;) {
      Span* next = Unnotify(span);
      Forward(span);
      span = next;
    }
  }
}

}  // namespace plimsoll::alloc
