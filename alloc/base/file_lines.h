// ForEachLine reads a file of the kernel's line by line, with no memory but the stack's.
//
//   ForEachLine("/proc/self/cgroup", [](std::string_view line, void* to) { ...; return true; },
//   &s);
//
// Lines:   without their newline; of one longer than 1,000 bytes the rest is skipped. A last line
//          without a newline counts as one.
// Failure: false where the file cannot be opened; nothing was called then.
// Threads: any. May be called beneath malloc, in handlers, and while the process ends.
#ifndef PLIMSOLL_ALLOC_BASE_FILE_LINES_H_
#define PLIMSOLL_ALLOC_BASE_FILE_LINES_H_

#include <cstdint>
#include <string_view>

namespace plimsoll::base {

// Calls f(line, to) for each line until it answers false.
bool ForEachLine(const char* path, bool (*f)(std::string_view line, void* to), void* to);

// A whole number in base 10, and nothing else. False: it is none, or above 2^64 - 1.
bool ParseDecimal(std::string_view text, uint64_t* value);

}  // namespace plimsoll::base

#endif  // PLIMSOLL_ALLOC_BASE_FILE_LINES_H_
