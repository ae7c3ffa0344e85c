#include "plimsoll/alloc/new_handler.h"

// A catch block names these; weak, they bring no library along (new_handler.h, "Needs").
__asm__(
    ".weak __gxx_personality_v0\n"
    ".weak __cxa_begin_catch\n"
    ".weak __cxa_end_catch\n"
    ".weak _Unwind_Resume\n"
    ".weak _ZSt9terminatev\n");

namespace plimsoll::alloc {

bool CallNewHandler(void (*handler)()) {
  try {
    handler();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace plimsoll::alloc
