#include "plimsoll/runtime/gc/function.h"

#include "plimsoll/runtime/panic/nil.h"

namespace plimsoll::gc::internal {

void ThrowNoTarget(std::source_location where) { plimsoll::internal::PanicOfNil(where); }

}  // namespace plimsoll::gc::internal
