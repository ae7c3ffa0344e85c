#include "plimsoll/runtime/gc/spill.h"

namespace plimsoll::gc::internal {
namespace {

[[gnu::noinline]] void Below(void (*f)(uintptr_t, void*), void* arg) {
  f(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)), arg);
  asm volatile("" : : : "memory");  // no tail call: the frame above stays
}

}  // namespace

[[gnu::noinline]] void WithRegistersSpilled(void (*f)(uintptr_t sp, void* arg), void* arg) {
  __builtin_unwind_init();
  Below(f, arg);
  asm volatile("" : : : "memory");
}

}  // namespace plimsoll::gc::internal
