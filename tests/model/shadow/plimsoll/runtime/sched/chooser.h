// sched/chooser.h under exploration: every choice is made, each in an execution of its own.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_CHOOSER_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_CHOOSER_H_

#include <cstdint>

#include "plimsoll/tests/model/explore.h"

namespace plimsoll::sched {

inline uint32_t ChooseBelow(uint32_t n) {
  return static_cast<uint32_t>(model::Choose(static_cast<int>(n)));
}

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_CHOOSER_H_
