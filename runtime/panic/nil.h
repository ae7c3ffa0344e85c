// What Go says where there is nil and not what must be there: a function, a context.
//
//   if (internal::IsNil(f)) internal::FatalGoOfNil(where);
//
// Go's text for a nil function depends on who calls it: `go f()` is fatal, f() itself is a panic.
#ifndef PLIMSOLL_RUNTIME_PANIC_NIL_H_
#define PLIMSOLL_RUNTIME_PANIC_NIL_H_

#include <concepts>
#include <source_location>
#include <type_traits>

namespace plimsoll::internal {

// A pointer to a function, an std::function or the like. (A lambda that captures nothing can be
// compared with nullptr too; it has no operator bool.)
template <typename F>
concept MayBeNil = std::is_pointer_v<F> || requires(const F& f) {
  { f.operator bool() } -> std::same_as<bool>;
  { f == nullptr } -> std::convertible_to<bool>;
};

// Whether a call of f would call nothing.
template <typename F>
constexpr bool IsNil(const F& f) {
  if constexpr (MayBeNil<F>) {
    return f == nullptr;
  } else {
    return false;
  }
}

// Out of line, as ThrowPanic is. The first one throws a Panic.
[[noreturn, gnu::cold]] void PanicOfNil(std::source_location where);
[[noreturn, gnu::cold]] void FatalGoOfNil(std::source_location where);

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_PANIC_NIL_H_
