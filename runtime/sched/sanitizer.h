// What the sanitizers must be told when a thread changes stacks. Empty in ordinary builds.
//
// Sources: compiler-rt's sanitizer/common_interface_defs.h (start/finish_switch_fiber) and
//          sanitizer/tsan_interface.h (create/switch_to/destroy_fiber).
#ifndef PLIMSOLL_RUNTIME_SCHED_SANITIZER_H_
#define PLIMSOLL_RUNTIME_SCHED_SANITIZER_H_

#include "plimsoll/runtime/sched/g.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLIMSOLL_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define PLIMSOLL_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define PLIMSOLL_TSAN 1
#endif

#ifdef PLIMSOLL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef PLIMSOLL_TSAN
#include <sanitizer/tsan_interface.h>
// Source: compiler-rt's tsan/rtl/tsan_interface_ann.cpp; no header of it declares them.
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace plimsoll::sched {

// Round the construction of a G. A foreign thread may make one while the world is stopped
// and somebody walks over all slots. The walk looks at its status first, and reads kIdle before the
// construction as well as after it: a slot is zeroes, or holds a G that is dead or idle.
template <typename Make>
G* SanitizerMadeInView(Make&& make) {
#ifdef PLIMSOLL_TSAN
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
  G* g = make();
#ifdef PLIMSOLL_TSAN
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
#endif
  return g;
}

// Before the first run of a goroutine on a fresh or used stack.
inline void SanitizerNewG([[maybe_unused]] G* g) {
#ifdef PLIMSOLL_TSAN
  if (g->tsan_fiber == nullptr) g->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef PLIMSOLL_ASAN
  g->asan_fake_stack = nullptr;
  __asan_unpoison_memory_region(reinterpret_cast<void*>(g->stack.lo),
                                reinterpret_cast<uintptr_t>(g) - g->stack.lo);
#endif
}

// On `from`'s stack, just before the jump to `to`. `last`: `from` will never run again.
inline void SanitizerBeforeSwitch([[maybe_unused]] G* from, [[maybe_unused]] G* to,
                                  [[maybe_unused]] bool last) {
#ifdef PLIMSOLL_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from->asan_fake_stack,
                                 reinterpret_cast<void*>(to->stack.lo),
                                 to->stack.hi - to->stack.lo);
#endif
#ifdef PLIMSOLL_TSAN
  __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
}

// On `g`'s stack, just after the jump to it.
inline void SanitizerAfterSwitch([[maybe_unused]] G* g) {
#ifdef PLIMSOLL_ASAN
  __sanitizer_finish_switch_fiber(g->asan_fake_stack, nullptr, nullptr);
#endif
}

// Before the first run of a g0 on a slot of the pool, below `top`.
inline void SanitizerNewSystemStack([[maybe_unused]] G* g0, [[maybe_unused]] const G* top) {
#ifdef PLIMSOLL_TSAN
  g0->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef PLIMSOLL_ASAN
  __asan_unpoison_memory_region(reinterpret_cast<void*>(g0->stack.lo),
                                reinterpret_cast<uintptr_t>(top) - g0->stack.lo);
#endif
}

// The calling thread becomes the goroutine g, on its own stack; and no longer is.
inline void SanitizerAttach([[maybe_unused]] G* g) {
#ifdef PLIMSOLL_TSAN
  g->tsan_fiber = __tsan_get_current_fiber();
#endif
#ifdef PLIMSOLL_ASAN
  // While its g0 runs, ASan takes g0's stack for the thread's: what only the real one points to
  // would look leaked.
  __lsan_register_root_region(reinterpret_cast<void*>(g->stack.lo), g->stack.hi - g->stack.lo);
#endif
}
inline void SanitizerDetach([[maybe_unused]] G* g) {
#ifdef PLIMSOLL_ASAN
  __lsan_unregister_root_region(reinterpret_cast<void*>(g->stack.lo), g->stack.hi - g->stack.lo);
#endif
}

// Before frames are left without their epilogues: ASan sees that for a throw, not for a forced
// unwind.
inline void SanitizerBeforeUnwind() {
#ifdef PLIMSOLL_ASAN
  __asan_handle_no_return();
#endif
}

// On a thread's own stack, before it runs its first goroutine.
void SanitizerThreadStart(G* g0);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SANITIZER_H_
