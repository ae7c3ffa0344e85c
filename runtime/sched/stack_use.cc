#include "plimsoll/runtime/sched/stack_use.h"

#include "plimsoll/runtime/sched/g.h"

namespace plimsoll::sched {

bool StackIsLive(const stack::Stack& slot) {
  const GStatus status = GOfStack(slot)->status.load(std::memory_order_relaxed);
  return status != GStatus::kIdle && status != GStatus::kDead;
}

}  // namespace plimsoll::sched
