// The context switch: saves the callee-saved registers on the current stack, and goes on on
// another.
//
//   a saved stack, from its saved stack pointer up (x86-64):
//
//     sp ->  r15  r14  r13  r12  rbx  rbp  rip | frames of the caller of Switch
//
//   aarch64:  x19 x20 … x29 x30, d8 … d15, 160 bytes in all; x30 is where it goes on.
//
// Invariants:
//   (1) Every callee-saved general register of a stack that is not running lies between its saved
//       stack pointer and its top: a conservative scan of that range misses nothing.
//   (2) The switch ends in a jump, not in `ret`: a return would be mispredicted each time
//       (measured 3.5 against 11.6 ns, runtime/stack/DESIGN.md).
//   (3) MXCSR, the x87 control word and FPCR are not part of a switch: they are the thread's.
//   (4) Nothing here reads thread-local state; callers read it anew after the switch.
#ifndef PLIMSOLL_RUNTIME_STACK_SWITCH_H_
#define PLIMSOLL_RUNTIME_STACK_SWITCH_H_

#include <cstdint>

extern "C" {

// Stores the stack pointer of this stack in *save and continues where `to` was saved.
void plimsoll_switch(void** save, void* to);

// Where a new stack begins: calls plimsoll_goroutine_main, which never returns. It is the outermost
// frame: unwinders stop here.
void plimsoll_goroutine_start();

// Likewise, of a system stack: calls plimsoll_system_main.
void plimsoll_system_start();

// Given by the scheduler. The second may be missing where no such stack is made.
[[noreturn]] void plimsoll_goroutine_main();
[[noreturn]] void plimsoll_system_main();
}

namespace plimsoll::stack {

// Prepares the stack that ends at `top` so that a switch to the returned pointer starts
// plimsoll_goroutine_start. Requires: `top` is a multiple of 16 and writable for 176 bytes below.
void* PrepareStart(uintptr_t top);
// The same for plimsoll_system_start.
void* PrepareSystemStart(uintptr_t top);

}  // namespace plimsoll::stack

#endif  // PLIMSOLL_RUNTIME_STACK_SWITCH_H_
