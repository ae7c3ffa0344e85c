// A Defer runs a function when its scope ends, by whichever way: return, panic or Goexit.
//
//   Defer close([&] { file.Close(); });
//
// Order:     last in, first out, as all destructors.
// Panics:    the function may panic when the scope ends by itself. While another panic unwinds the
//            stack it must not: C++ ends the process then.
#ifndef PLIMSOLL_RUNTIME_PANIC_DEFER_H_
#define PLIMSOLL_RUNTIME_PANIC_DEFER_H_

#include <concepts>
#include <utility>

namespace plimsoll {

template <std::invocable F>
class [[nodiscard]] Defer {
 public:
  explicit Defer(F f) : f_(std::move(f)) {}
  ~Defer() noexcept(noexcept(f_())) { f_(); }
  Defer(const Defer&) = delete;
  Defer& operator=(const Defer&) = delete;

 private:
  F f_;
};

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_PANIC_DEFER_H_
