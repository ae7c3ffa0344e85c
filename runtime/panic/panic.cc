#include "plimsoll/runtime/panic/panic.h"

#include <utility>

namespace plimsoll {

Panic::Panic(std::string text, std::source_location where)
    : text_(std::make_shared<const std::string>(std::move(text))), where_(where) {}

namespace internal {

void ThrowPanic(const char* text, std::source_location where) { throw Panic(text, where); }

}  // namespace internal
}  // namespace plimsoll
