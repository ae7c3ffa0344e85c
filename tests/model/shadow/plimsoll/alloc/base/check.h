// The product's CHECK, DCHECK and Fatal under exploration: the execution fails.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_CHECK_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_CHECK_H_

#include "plimsoll/tests/model/explore.h"

namespace plimsoll::base {

template <typename... Parts>
[[noreturn]] void Fatal(const char* text, const Parts&...) {
  model::Fail(text);
}

}  // namespace plimsoll::base

#define PLIMSOLL_CHECK(fact, ...) ::plimsoll::model::Check(static_cast<bool>(fact), #fact)
#define PLIMSOLL_DCHECK(fact, ...) ::plimsoll::model::Check(static_cast<bool>(fact), #fact)

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_CHECK_H_
