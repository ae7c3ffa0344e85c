// The cache slot: one thread-local word that names the cache the running thread may use.
//
//   alloc::SetCurrentCache(cache);           // a scheduler, when its thread acquires a P
//   alloc::SetCurrentCache(nullptr);         // when it gives the P up: back to the thread's own
//
// Our own runtime leaves each thread its own cache (DESIGN.md, "Preemption").
// Fast paths of the heap (section "plimsoll_nopreempt") read the slot, touch the cache and return,
// with no call inside; a runtime that takes a P away from a signal handler leaves alone a thread
// whose instruction pointer is within [__start_plimsoll_nopreempt, __stop_plimsoll_nopreempt).
// Everything longer first calls the hooks set here, which count the thread's no_preempt up and
// down, and reads the slot after.
//
// Without a P a thread has a cache of its own, made at first use and given back when it ends.
// TLS:      initial-exec, never a dynamic initialiser: usable before constructors and after the
//           thread's destructors.
#ifndef PLIMSOLL_ALLOC_CACHE_SLOT_H_
#define PLIMSOLL_ALLOC_CACHE_SLOT_H_

namespace plimsoll::alloc {

class MCache;

// Never null: a thread that may use no cache has one that is always empty. Only within this floor.
extern __thread MCache* current_cache __attribute__((tls_model("initial-exec")));

// From now on no thread is shown its cache: every operation takes its slow path. Set before the
// first cache is made.
void HideCaches();

// Makes `cache` the running thread's; null: the thread's own, if it has one.
void SetCurrentCache(MCache* cache);

// What keeps the scheduler from taking a cache away during a slow path. Set once, before the
// runtime's first goroutine; both or neither.
struct PreemptHooks {
  void (*off)() = nullptr;
  void (*on)() = nullptr;
};
void SetPreemptHooks(PreemptHooks hooks);

// Called at each thread's end, after its cache was given back; without a lock. Set once.
void SetThreadEndHook(void (*hook)());

// What a SlowPath does, for a stretch that begins in one function and ends in another: round a
// fork.
void PreemptOff();
void PreemptOn();

// Held by every slow path, from before it reads the slot.
class SlowPath {
 public:
  SlowPath();
  ~SlowPath();
  SlowPath(const SlowPath&) = delete;
  SlowPath& operator=(const SlowPath&) = delete;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_CACHE_SLOT_H_
