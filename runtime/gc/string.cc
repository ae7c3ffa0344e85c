#include "plimsoll/runtime/gc/string.h"

#include <cstdio>

#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc::internal {

void ThrowBounds(size_t end, size_t length, std::source_location where) {
  char text[96];
  std::snprintf(text, sizeof text,
                "runtime error: slice bounds out of range [:%zu] with length %zu", end, length);
  plimsoll::internal::ThrowPanic(text, where);
}

}  // namespace plimsoll::gc::internal
