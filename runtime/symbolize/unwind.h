// Unwind finds the caller of a stopped function from its registers: one step up the stack.
//
//   Registers regs = RegistersOf(ucontext);
//   do { ... regs.pc ... } while (Unwind(modules, stack, &regs) != Step::kEnd);
//
// How:      by the call frame information that every C++ program carries for its exceptions
//           (.eh_frame, found by the binary search table in .eh_frame_hdr): exact at every
//           instruction, in libraries without frame pointers too. Where a function has none, by the
//           frame pointer, and Step says so.
// Reads:    the stopped stack within `bounds`; elsewhere only what the kernel says can be read.
// Handlers: callable there: no malloc, no lock, bounded time.
// Source:   DWARF 5, section 6.4; LSB 5.0, section 10.6 (.eh_frame, .eh_frame_hdr).
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_UNWIND_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_UNWIND_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/symbolize/modules.h"

namespace plimsoll::symbolize {

#if defined(__x86_64__)
inline constexpr int kRegisters = 17;  // rax rdx rcx rbx rsi rdi rbp rsp r8 … r15, return address
inline constexpr int kFramePointer = 6;
inline constexpr int kStackPointer = 7;
#elif defined(__aarch64__)
inline constexpr int kRegisters = 32;  // x0 … x30, sp
inline constexpr int kFramePointer = 29;
inline constexpr int kStackPointer = 31;
#endif

// A stopped function: DWARF's numbers, and where it goes on.
struct Registers {
  uintptr_t r[kRegisters] = {};
  uintptr_t pc = 0;
  // Whether pc follows a call: it may then be the first byte of the next function.
  bool after_call = false;
};

// Where the stack is; memory there is read without asking. lo == hi: not known.
struct StackBounds {
  uintptr_t lo = 0;
  uintptr_t hi = 0;
};

enum class Step : uint8_t {
  kEnd,           // the outermost frame, or nothing tells who called
  kExact,         // by call frame information
  kFramePointer,  // guessed from the frame pointer: what lies between is missing
};

Step Unwind(const ModuleList& modules, const StackBounds& bounds, Registers* regs);

// The registers of the code that a signal interrupted.
Registers RegistersOf(const void* ucontext);

// The registers here: a walk from them begins with the caller of this inlined function.
__attribute__((always_inline)) inline Registers RegistersHere() {
  Registers regs;
#if defined(__x86_64__)
  asm volatile(
      "movq %%rbx, 24(%0)\n\t"
      "movq %%rbp, 48(%0)\n\t"
      "movq %%rsp, 56(%0)\n\t"
      "movq %%r12, 96(%0)\n\t"
      "movq %%r13, 104(%0)\n\t"
      "movq %%r14, 112(%0)\n\t"
      "movq %%r15, 120(%0)\n\t"
      "leaq 0(%%rip), %%rax\n\t"
      "movq %%rax, 128(%0)"
      :
      : "r"(regs.r)
      : "rax", "memory");
  regs.pc = regs.r[16];
#elif defined(__aarch64__)
  uintptr_t pc;
  asm volatile(
      "stp x19, x20, [%1, #152]\n\t"
      "stp x21, x22, [%1, #168]\n\t"
      "stp x23, x24, [%1, #184]\n\t"
      "stp x25, x26, [%1, #200]\n\t"
      "stp x27, x28, [%1, #216]\n\t"
      "stp x29, x30, [%1, #232]\n\t"
      "mov x9, sp\n\t"
      "str x9, [%1, #248]\n\t"
      "adr %0, ."
      : "=&r"(pc)
      : "r"(regs.r)
      : "x9", "memory");
  regs.pc = pc;
#endif
  return regs;
}

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_UNWIND_H_
