// FromEnvironment reads a variable that steers the heap.
//
//   if (const char* path = base::FromEnvironment("PLIMSOLL_HEAP_PROFILE")) ...
//
// A program with more rights than who started it (AT_SECURE: a set-user-ID bit, a file capability)
// heeds none: the caller chose the environment, and must not choose which file is written.
// Result:   null where the variable is not there, or may not be heeded; it points into environ.
// Memory:   none, and no call that could allocate: it runs beneath malloc, and before libc is set
//           up; then there is no environment yet.
// Threads:  any, as long as none changes the environment.
#ifndef PLIMSOLL_ALLOC_BASE_ENVIRONMENT_H_
#define PLIMSOLL_ALLOC_BASE_ENVIRONMENT_H_

#include <string_view>

namespace plimsoll::base {

const char* FromEnvironment(std::string_view name);

// The same of any environment, for a process that is `secure` or not.
const char* FindHeeded(const char* const* environment, bool secure, std::string_view name);

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_ENVIRONMENT_H_
