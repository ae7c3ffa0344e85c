// Whether a stack of the pool is a goroutine's, or kept for the next one: for reports of memory.
//
//   Stacks().ForEachSlot([](const stack::Stack& s, void*) { if (StackIsLive(s)) ++live; },
//   nullptr);
//
// Exactness: it was so a moment ago.
// Memory:    reads the stack's highest page: ask of those alone in which that is in memory.
// Threads:   any.
#ifndef PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_
#define PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_

#include "plimsoll/runtime/sched/scheduler.h"

namespace plimsoll::sched {

// Requires: the slot is one that StackPool::ForEachSlot of Stacks() shows.
bool StackIsLive(const stack::Stack& slot);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_
