// SavedRegisters holds the callee-saved registers of a running goroutine, in its own frame, so that
// whoever scans [sp, top of its stack) sees them.
//
//   SavedRegisters saved;
//   saved.Save();         // here, and inlined: what is in a register now is in `saved` as well
//
// Lifetime:  true while the frame that holds it lives and its function has not changed a register
//            since: for a call out of it, that is until the call returns.
#ifndef PLIMSOLL_RUNTIME_SCHED_SAVED_REGISTERS_H_
#define PLIMSOLL_RUNTIME_SCHED_SAVED_REGISTERS_H_

#include <cstdint>

namespace plimsoll::sched {

struct SavedRegisters {
  uintptr_t words[12];
  uintptr_t sp;  // below everything of this frame; `this` lies in [sp, top)

  __attribute__((always_inline)) void Save() {
#if defined(__x86_64__)
    asm volatile(
        "movq %%rbx, 0(%0)\n\t"
        "movq %%rbp, 8(%0)\n\t"
        "movq %%r12, 16(%0)\n\t"
        "movq %%r13, 24(%0)\n\t"
        "movq %%r14, 32(%0)\n\t"
        "movq %%r15, 40(%0)\n\t"
        "movq %%rsp, 96(%0)"
        :
        : "r"(this)
        : "memory");
#elif defined(__aarch64__)
    asm volatile(
        "stp x19, x20, [%0]\n\t"
        "stp x21, x22, [%0, #16]\n\t"
        "stp x23, x24, [%0, #32]\n\t"
        "stp x25, x26, [%0, #48]\n\t"
        "stp x27, x28, [%0, #64]\n\t"
        "str x29, [%0, #80]\n\t"
        "mov x9, sp\n\t"
        "str x9, [%0, #96]"
        :
        : "r"(this)
        : "x9", "memory");
#endif
  }
};
static_assert(sizeof(SavedRegisters) == 104);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SAVED_REGISTERS_H_
