// FatalAt under exploration: the execution fails.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_FATAL_AT_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_FATAL_AT_H_

#include <source_location>

#include "plimsoll/tests/model/explore.h"

namespace plimsoll::internal {

[[noreturn]] inline void FatalAt(std::source_location where, const char* text) {
  model::Fail(text, where);
}

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_FATAL_AT_H_
