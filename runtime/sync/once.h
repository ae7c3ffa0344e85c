// A Once runs a function once, whoever comes first; the others wait until it is done.
//
//   Once once;
//   once.Do([&] { table = Load(); });
//
//   auto table = OnceValue([] { return Load(); });   // table() loads at its first call
//
// Blocking:  Do parks while another goroutine's f runs. Calling Do within f waits for ever.
// Lifetime:  may end when every Do has returned, not as soon as f is done.
// Ordering:  what f did is visible after every Do.
// Panics:    an f that throws, or ends its goroutine, counts as done: it does not run again. What
//            OnceFunc and OnceValue make throws the same again at each call; of an f that ended its
//            goroutine there is nothing to throw or give, and the later calls panic. A nil f panics
//            with Go's text for a call of it, and counts as done too.
#ifndef PLIMSOLL_RUNTIME_SYNC_ONCE_H_
#define PLIMSOLL_RUNTIME_SYNC_ONCE_H_

#include <cxxabi.h>

#include <atomic>
#include <concepts>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/panic/nil.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sync/mutex.h"

namespace plimsoll {

class Once {
 public:
  Once() = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  template <std::invocable F>
  void Do(F&& f, std::source_location where = std::source_location::current()) {
    // acquire: pairs with the release below
    if (done_.load(std::memory_order_acquire)) [[likely]]
      return;
    std::lock_guard hold(mu_);
    if (done_.load(std::memory_order_relaxed)) return;
    struct DoneAtEnd {
      std::atomic<bool>& done;
      ~DoneAtEnd() { done.store(true, std::memory_order_release); }
    } at_end{done_};
    if (internal::IsNil<std::decay_t<F>>(f)) [[unlikely]]
      internal::PanicOfNil(where);
    std::forward<F>(f)();
  }

 private:
  std::atomic<bool> done_{false};
  Mutex mu_;
};

// A function that runs f at its first call and gives what it returned at every call. Copies share
// the one run. The result is returned by reference, and lives as long as a copy does.
template <std::invocable F>
auto OnceValue(F f, std::source_location where = std::source_location::current()) {
  using T = std::invoke_result_t<F&>;
  struct State {
    State(F f, std::source_location where) : f(std::move(f)), where(where) {}
    Once once;
    F f;
    std::source_location where;  // of who made it
    std::optional<std::conditional_t<std::is_void_v<T>, bool, T>> value;
    std::exception_ptr thrown;
  };
  return [state = std::make_shared<State>(
              std::move(f), where)]() -> std::add_lvalue_reference_t<std::add_const_t<T>> {
    state->once.Do([&] {
      try {
        if (internal::IsNil(state->f)) internal::PanicOfNil(state->where);
        if constexpr (std::is_void_v<T>) {
          state->f();
          state->value = true;
        } else {
          state->value.emplace(state->f());
        }
      } catch (abi::__forced_unwind&) {
        throw;  // Goexit is no panic
      } catch (...) {
        state->thrown = std::current_exception();
      }
    });
    if (state->thrown != nullptr) std::rethrow_exception(state->thrown);
    if (!state->value.has_value()) [[unlikely]]
      internal::ThrowPanic("sync: the function of a OnceFunc or OnceValue ended its goroutine",
                           state->where);
    if constexpr (!std::is_void_v<T>) return *state->value;
  };
}

// As OnceValue, for an f whose result does not matter.
template <std::invocable F>
auto OnceFunc(F f, std::source_location where = std::source_location::current()) {
  return OnceValue([f = std::move(f), where]() mutable {
    if (internal::IsNil(f)) internal::PanicOfNil(where);
    f();
  });
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SYNC_ONCE_H_
