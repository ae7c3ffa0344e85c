#include "plimsoll/alloc/heap_core.h"

#include <errno.h>
#include <sys/syscall.h>

#include <algorithm>

#include "plimsoll/alloc/base/raw_syscall.h"

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
  ++cache->uses;
  ++caches_in_use;
  ShareEmptyBytes();
  return cache;
}

MCache* HeapCore::AcquireThreadsCache() {
  MCache* cache = AcquireCache();
  if (cache == nullptr) return nullptr;
  cache->process.store(static_cast<int32_t>(base::RawSyscall(SYS_getpid)),
                       std::memory_order_relaxed);
  cache->thread.store(static_cast<int32_t>(base::RawSyscall(SYS_gettid)),
                      std::memory_order_relaxed);
  return cache;
}

// The kernel is asked, since libc tells nobody that a thread's last round of key destructors is
// over, nor of a thread that ends by a system call of its own. A thread number that is in use anew
// looks alive: then it is asked again later.
void HeapCore::RetireIfAbandoned(MCache* cache) {
  uint64_t uses;
  int32_t thread;
  {
    base::SpinLockHolder hold(caches_mu);
    thread = cache->thread.load(std::memory_order_relaxed);
    uses = cache->uses;
    if (!cache->in_use || thread == 0) return;
  }
  // In the child of a fork other threads' caches may be in any state, and its only thread's number
  // is another than it was.
  const auto process = static_cast<int32_t>(base::RawSyscall(SYS_getpid));
  if (cache->process.load(std::memory_order_relaxed) != process) return;
  if (base::RawSyscall(SYS_tgkill, process, thread, 0) != -ESRCH) return;
  {
    // It may have given the cache back just before its end. If not, it was its cache when it was no
    // more, and it is nobody else's.
    base::SpinLockHolder hold(caches_mu);
    if (!cache->in_use || cache->uses != uses) return;
  }
  ReturnCache(cache);
}

void HeapCore::ShareEmptyBytes() {
  const uint64_t share = kAllEmptyBytes / std::max<size_t>(1, caches_in_use);
  most_empty_bytes.store(std::clamp(share, kLeastEmptyBytes, kMostEmptyBytes),
                         std::memory_order_relaxed);
}

void HeapCore::ReturnCache(MCache* cache) {
  cache->Retire();
  cache->thread.store(0, std::memory_order_relaxed);
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
  // One a step: the kernel is asked.
  if (asked_next == nullptr) asked_next = cache;
  if (!all && asked_next != nullptr) {
    RetireIfAbandoned(asked_next);
    asked_next = asked_next->next_all;
  }
  uint64_t bytes = 0;
  // Caches are never unmade, and new ones come before the first.
  for (; cache != nullptr; cache = cache->next_all) {
    if (all) RetireIfAbandoned(cache);
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
