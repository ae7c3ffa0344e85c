#include "plimsoll/runtime/gc/vector.h"

#include <cstdio>

#include "plimsoll/runtime/gc/optional.h"
#include "plimsoll/runtime/gc/slice.h"
#include "plimsoll/runtime/gc/variant.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc::internal {

void ThrowIndex(size_t index, size_t length, std::source_location where) {
  char text[96];
  std::snprintf(text, sizeof text, "runtime error: index out of range [%lld] with length %zu",
                static_cast<long long>(index), length);
  plimsoll::internal::ThrowPanic(text, where);
}

void ThrowNoValue(std::source_location where) {
  plimsoll::internal::ThrowPanic("gc::optional has no value", where);
}

void ThrowOtherType(std::source_location where) {
  plimsoll::internal::ThrowPanic("gc::variant holds another type", where);
}

void ThrowSliceEnd(size_t end, size_t capacity, std::source_location where) {
  char text[96];
  std::snprintf(text, sizeof text,
                "runtime error: slice bounds out of range [:%zu] with capacity %zu", end, capacity);
  plimsoll::internal::ThrowPanic(text, where);
}

void ThrowSliceOrder(size_t begin, size_t end, std::source_location where) {
  char text[96];
  std::snprintf(text, sizeof text, "runtime error: slice bounds out of range [%zu:%zu]", begin,
                end);
  plimsoll::internal::ThrowPanic(text, where);
}

}  // namespace plimsoll::gc::internal
