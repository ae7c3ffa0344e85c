// Go starts a goroutine: a function that runs beside its caller, on a stack of its own.
//
//   Go([conn = std::move(conn)]() mutable { Serve(conn); });
//   Go([] { Crunch(); }, {.stack = KiB(512), .label = "crunch"});
//
// Stack:     256 KiB of address space unless told otherwise, a page of memory until it is used, and
//            a guard below it. No memory for a stack: Fatal; TryGo answers false instead.
// Closure:   moved to the new stack; destroyed when the function returns.
// Misuse:    a nil function (a null pointer, an empty std::function) is fatal, "go of nil func
//            value", with the caller's line.
// Threads:   callable from goroutines and, while Main runs, from any other thread.
// Panics:    an exception that leaves `f` ends the process as an uncaught Go panic does.
// Migration: a goroutine may resume on another thread after anything that blocks. errno and
//            thread_local addresses taken before are stale after (runtime/README.md).
#ifndef PLIMSOLL_RUNTIME_GO_H_
#define PLIMSOLL_RUNTIME_GO_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <source_location>
#include <string_view>
#include <type_traits>
#include <utility>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/runtime/panic/nil.h"

namespace plimsoll {

// Whether a started goroutine may move to another thread.
enum class Affinity : uint8_t {
  kMigrate,  // as Go: whoever is idle takes it
  kSticky,   // once started it stays on its thread
};

struct GoOptions {
  ByteCount stack{0};        // 0: the default, 256 KiB; rounded up to a size of the pool
  std::string_view label{};  // shown in dumps; copied, cut at 31 bytes; none: its maker's
  Affinity affinity = Affinity::kMigrate;
};

namespace internal {

// How the scheduler treats a closure whose type it does not know. Both functions run on the new
// goroutine.
struct EntryOps {
  size_t size;
  size_t align;
  void (*move_to)(void* to, void* from);  // constructs at `to`, leaves `from` moved-from
  void (*run)(void* closure);             // calls it, then destroys it
};

template <typename F>
inline constexpr EntryOps kEntryOps = {
    sizeof(F),
    alignof(F),
    [](void* to, void* from) { ::new (to) F(std::move(*static_cast<F*>(from))); },
    [](void* closure) {
      struct Destroy {
        F* f;
        ~Destroy() { f->~F(); }
      } destroy{static_cast<F*>(closure)};
      (*destroy.f)();
    },
};

// False: no memory for the stack; `closure` is untouched.
bool Spawn(const EntryOps& ops, void* closure, const GoOptions& options);
[[noreturn]] void FatalNoStack();

}  // namespace internal

// Both are inlined, so that a dump's "created by" names their caller.

// Runs f() on a new goroutine. False, with f untouched, when there is no memory for its stack.
template <std::invocable F>
[[nodiscard, gnu::always_inline]] inline bool TryGo(
    F&& f, GoOptions options = {}, std::source_location where = std::source_location::current()) {
  using Closure = std::decay_t<F>;
  if (internal::IsNil<Closure>(f)) [[unlikely]]
    internal::FatalGoOfNil(where);
  if constexpr (std::is_lvalue_reference_v<F>) {
    Closure copy(f);
    return internal::Spawn(internal::kEntryOps<Closure>, &copy, options);
  } else {
    return internal::Spawn(internal::kEntryOps<Closure>, std::addressof(f), options);
  }
}

// Runs f() on a new goroutine.
template <std::invocable F>
[[gnu::always_inline]] inline void Go(
    F&& f, GoOptions options = {}, std::source_location where = std::source_location::current()) {
  if (!TryGo(std::forward<F>(f), options, where)) internal::FatalNoStack();
}

// Goes behind every other runnable goroutine of this P. Returns at once where there is none.
void Yield();

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_GO_H_
