#include "plimsoll/runtime/stack/switch.h"

#include <cstring>

namespace plimsoll::stack {

namespace {

[[gnu::always_inline]] inline void* Prepare(uintptr_t top, void (*start_at)()) {
  const uintptr_t start = reinterpret_cast<uintptr_t>(start_at);
#if defined(__x86_64__)
  // After the six pops and the pop of rip the stack pointer is `top - 16`, a multiple of 16, and
  // the word above it is a null return address for unwinders that look.
  uintptr_t* sp = reinterpret_cast<uintptr_t*>(top - 16);
  sp[0] = sp[1] = 0;
  *--sp = start;
  for (int i = 0; i < 6; ++i) *--sp = 0;
  return sp;
#elif defined(__aarch64__)
  char* sp = reinterpret_cast<char*>(top - 160);
  memset(sp, 0, 160);
  memcpy(sp + 88, &start, sizeof(start));  // x30's place
  return sp;
#else
#error "no context switch for this processor"
#endif
}

}  // namespace

void* PrepareStart(uintptr_t top) { return Prepare(top, &plimsoll_goroutine_start); }

void* PrepareSystemStart(uintptr_t top) { return Prepare(top, &plimsoll_system_start); }

}  // namespace plimsoll::stack
