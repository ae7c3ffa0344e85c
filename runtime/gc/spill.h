// The registers of the caller, where a walk over stacks finds them.
#ifndef PLIMSOLL_RUNTIME_GC_SPILL_H_
#define PLIMSOLL_RUNTIME_GC_SPILL_H_

#include <cstdint>

namespace plimsoll::gc::internal {

// Calls f(sp, arg) with every callee-saved register on the stack, at or above sp. Others are dead
// across the call.
void WithRegistersSpilled(void (*f)(uintptr_t sp, void* arg), void* arg);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_SPILL_H_
