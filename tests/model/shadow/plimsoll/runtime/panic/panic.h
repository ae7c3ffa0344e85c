// runtime/panic under exploration: a panic fails the execution, unless the program is about panics.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_PANIC_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_PANIC_H_

#include <source_location>

#include "plimsoll/tests/model/explore.h"

namespace plimsoll {

namespace model {

// What is thrown in a program that sets panics_are_thrown. Its catch may have no step in it: two
// goroutines of one thread would catch at once.
struct Panic {
  const char* text;
};
inline bool panics_are_thrown = false;

}  // namespace model

namespace internal {

[[noreturn]] inline void ThrowPanic(const char* text, std::source_location where) {
  if (model::panics_are_thrown) throw model::Panic{text};
  model::Fail(text, where);
}

}  // namespace internal
}  // namespace plimsoll

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_PANIC_H_
