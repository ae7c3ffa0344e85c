// What a program is told that frees what it must not: one line, then the end (hardening is not
// optional: a heap that goes on after a double free is the attacker's).
//
//   fatal error: free: double free of 0x1000000040: object 4 of a span of 16-byte objects (class 1)
//   at 0x1000000000, state partial
//   fatal error: free: double free of 0x1000020000: a large object, state free
#ifndef PLIMSOLL_ALLOC_MISUSE_H_
#define PLIMSOLL_ALLOC_MISUSE_H_

#include <cstddef>

#include "plimsoll/alloc/span.h"

namespace plimsoll::alloc {

// The caller's own word for the call, such as "free" or "realloc", comes first.
[[noreturn]] void ReportWild(const char* call, const void* address);

// No span is at the address: an object whose pages have been freed since was, or none ever.
[[noreturn]] void ReportNoSpan(const char* call, const void* address);
[[noreturn]] void ReportInterior(const char* call, const void* address, const Span* span);
[[noreturn]] void ReportDoubleFree(const char* call, const void* address, const Span* span);
[[noreturn]] void ReportCollected(const char* call, const void* address, const Span* span);
[[noreturn]] void ReportSizeMismatch(const char* call, const void* address, size_t told,
                                     const Span* span);

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MISUSE_H_
