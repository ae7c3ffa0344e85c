// Demangle turns a C++ symbol into what a reader would write, without memory but the stack.
//
//   char name[256];
//   std::string_view text = Demangle("_ZN8plimsoll5MutexC2Ev", name);   // "plimsoll::Mutex::Mutex"
//
// Form:     the qualified name; a function's parameters are left out, as is its return type.
//           Template arguments are written two deep; deeper ones are "...". A lambda is {lambda#1}.
// Failure:  a name that is not C++'s, or that has something this does not know (a few kinds of
//           expressions in template arguments), is returned as it is: c++filt can read it.
// Length:   what does not fit ends in "...".
// Handlers: callable there: no malloc (__cxa_demangle has), bounded depth, about 20 KiB of stack.
// Source:   the Itanium C++ ABI, 5.1, "External Names (a.k.a. Mangling)".
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_DEMANGLE_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_DEMANGLE_H_

#include <span>
#include <string_view>

namespace plimsoll::symbolize {

std::string_view Demangle(std::string_view mangled, std::span<char> out);

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_DEMANGLE_H_
