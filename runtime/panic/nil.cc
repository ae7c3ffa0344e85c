#include "plimsoll/runtime/panic/nil.h"

#include "plimsoll/runtime/panic/fatal_at.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::internal {

void PanicOfNil(std::source_location where) {
  ThrowPanic("runtime error: invalid memory address or nil pointer dereference", where);
}

void FatalGoOfNil(std::source_location where) { FatalAt(where, "go of nil func value"); }

}  // namespace plimsoll::internal
