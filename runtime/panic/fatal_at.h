// FatalAt is base::Fatal for a misuse whose place is known: its caller's.
//
//   internal::FatalAt(where, "sync: unlock of unlocked mutex");
//
//   fatal error: sync: unlock of unlocked mutex
//   [at jobs/queue.cc:71]
//
// The dump that follows names source lines only in a program that was built with -g.
#ifndef PLIMSOLL_RUNTIME_PANIC_FATAL_AT_H_
#define PLIMSOLL_RUNTIME_PANIC_FATAL_AT_H_

#include <source_location>

#include "plimsoll/alloc/base/check.h"

namespace plimsoll::internal {

[[noreturn, gnu::cold]] inline void FatalAt(std::source_location where, const char* text) {
  base::Fatal(text, "\n[at ", where.file_name(), ":", where.line(), "]");
}

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_PANIC_FATAL_AT_H_
