#include "plimsoll/alloc/cache_slot.h"

#include <pthread.h>

#include <atomic>

#include "plimsoll/alloc/heap_ops.h"
#include "plimsoll/alloc/mcache.h"

namespace plimsoll::alloc {
namespace {

// Its slots are empty and it owns no span: every operation takes the slow path.
constinit MCache empty_cache;

// This thread's own cache, for when it holds no P.
__thread MCache* own_cache __attribute__((tls_model("initial-exec"))) = nullptr;
// The thread's keys are being destroyed: it makes no cache any more.
__thread bool ending __attribute__((tls_model("initial-exec"))) = false;

// While caches are hidden: what current_cache would be.
__thread MCache* hidden_cache __attribute__((tls_model("initial-exec"))) = nullptr;
constinit std::atomic<bool> hide{false};

// What the running thread allocates from; null: nothing yet.
MCache* Shown() {
  if (hide.load(std::memory_order_relaxed)) [[unlikely]]
    return hidden_cache;
  return current_cache == &empty_cache ? nullptr : current_cache;
}

void Show(MCache* cache) {
  if (hide.load(std::memory_order_relaxed)) [[unlikely]] {
    hidden_cache = cache;
    cache = nullptr;
  }
  current_cache = cache == nullptr ? &empty_cache : cache;
}

constinit std::atomic<void (*)()> preempt_off{nullptr};
constinit std::atomic<void (*)()> preempt_on{nullptr};
constinit std::atomic<void (*)()> thread_end{nullptr};

enum : int { kNoKey, kMakingKey, kHasKey, kNoKeyToHave };
constinit std::atomic<int> key_state{kNoKey};
pthread_key_t key;

void GiveCacheBack() {
  SlowPath hold;
  MCache* cache = own_cache;
  ending = true;
  own_cache = nullptr;
  if (Shown() == cache) Show(nullptr);
  if (cache != nullptr) core.ReturnCache(cache);
}

// There are four rounds of destructors, and nobody says which one this is: a thread that never used
// the heap may have made its cache in one. So the cache goes now, as there may be no other time;
// what destructors free and allocate from here on goes by the shared cache.
void OnThreadEnd(void*) {
  GiveCacheBack();
  if (auto hook = thread_end.load(std::memory_order_acquire)) hook();
}

bool MakeKey() {
  int state = key_state.load(std::memory_order_acquire);
  if (state == kHasKey) return true;
  if (state != kNoKey ||
      !key_state.compare_exchange_strong(state, kMakingKey, std::memory_order_acq_rel)) {
    return state ==
           kHasKey;  // while another makes it, this thread goes without until it asks again
  }
  const bool made = pthread_key_create(&key, &OnThreadEnd) == 0;
  key_state.store(made ? kHasKey : kNoKeyToHave, std::memory_order_release);
  return made;
}

}  // namespace

__thread MCache* current_cache __attribute__((tls_model("initial-exec"))) = &empty_cache;

void SetCurrentCache(MCache* cache) { Show(cache == nullptr ? own_cache : cache); }

void HideCaches() { hide.store(true, std::memory_order_relaxed); }

void SetPreemptHooks(PreemptHooks hooks) {
  preempt_off.store(hooks.off, std::memory_order_release);
  preempt_on.store(hooks.on, std::memory_order_release);
}

void SetThreadEndHook(void (*hook)()) { thread_end.store(hook, std::memory_order_release); }

void PreemptOff() {
  if (auto off = preempt_off.load(std::memory_order_acquire)) off();
}

void PreemptOn() {
  if (auto on = preempt_on.load(std::memory_order_acquire)) on();
}

SlowPath::SlowPath() { PreemptOff(); }
SlowPath::~SlowPath() { PreemptOn(); }

MCache* EnsureCache() {
  if (MCache* shown = Shown(); shown != nullptr) [[likely]]
    return shown;
  watch.Ready();
  if (ending) return nullptr;
  // A cache that nobody would give back at the thread's end is not made; this asks again each time.
  if (!MakeKey()) return nullptr;
  // Where this is the last round of the keys' destructors, the heap's background work finds out
  // that the thread is gone.
  MCache* cache = core.AcquireThreadsCache();
  if (cache == nullptr) return nullptr;
  // Before setspecific, which allocates when the key's number is high, and comes back here.
  own_cache = cache;
  Show(cache);
  pthread_setspecific(key, &own_cache);
  return cache;
}

}  // namespace plimsoll::alloc
