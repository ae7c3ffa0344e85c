// runtime/panic/nil.h under exploration: no program here calls nil.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_NIL_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_NIL_H_

#include <source_location>

#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::internal {

template <typename F>
constexpr bool IsNil(const F&) {
  return false;
}

[[noreturn]] inline void PanicOfNil(std::source_location where) { ThrowPanic("nil", where); }

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_NIL_H_
