// Recover runs a function and says what it panicked with.
//
//   if (std::optional<Recovered> panic = Recover([&] { Handle(request); })) {
//     Log(panic->what());
//     panic->Repanic();      // where it is not ours to swallow
//   }
//
// Form:      Go recovers in a deferred call of the panicking frame. A C++ destructor cannot stop an
//            unwinding, so the frame is a function of its own, and what follows it is the deferred
//            call.
// Catches:   every exception, Panic or not. A Goexit passes: it is no panic.
// Uncaught:  what Repanic throws prints Go's words: "panic: boom [recovered, repanicked]".
#ifndef PLIMSOLL_RUNTIME_PANIC_RECOVER_H_
#define PLIMSOLL_RUNTIME_PANIC_RECOVER_H_

#include <cxxabi.h>

#include <concepts>
#include <exception>
#include <optional>
#include <string>
#include <utility>

namespace plimsoll {

class Recovered {
 public:
  // Requires: within a catch clause.
  Recovered();

  // Its text: what() of a std::exception, and for others the name of their type.
  const std::string& what() const { return what_; }
  const std::exception_ptr& exception() const { return exception_; }

  // Panics again with the same, after recovering from it.
  [[noreturn]] void Repanic() const;

 private:
  std::exception_ptr exception_;
  std::string what_;
};

// A forced unwind has no object: binding its reference is how the ABI says "rethrow me", and
// UBSan's null check does not know.
#if defined(__clang__)
#define PLIMSOLL_NO_NULL_CHECK __attribute__((no_sanitize("null")))
#else
#define PLIMSOLL_NO_NULL_CHECK __attribute__((no_sanitize_undefined))
#endif
template <std::invocable F>
PLIMSOLL_NO_NULL_CHECK std::optional<Recovered> Recover(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (abi::__forced_unwind&) {
    throw;
  } catch (...) {
    return Recovered();
  }
  return std::nullopt;
}

#undef PLIMSOLL_NO_NULL_CHECK

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_PANIC_RECOVER_H_
