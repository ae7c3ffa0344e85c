// gc::function is std::function for members of collected types.
//
//   struct Button {
//     gc::string label;
//     gc::function<void(int)> on_click;
//     GC_FIELDS(Button, label, on_click);
//   };
//   button->on_click = [window, name = gc::string("ok")](int x) { window->Close(name, x); };
//   if (button->on_click) button->on_click(3);
//
// Target:    any function, member pointer or function object that can be called as const. It is
//            moved into collected memory, of which every word is looked at: it may hold gc::Ptr,
//            T*, and gc:: types. What it holds lives as long as the function does, and no longer:
//            an object and a function that hold each other go together.
// Size:      a machine word. The target takes 8 bytes and its captures, on the heap, also if it
//            has none.
// Copies:    share the target, which nobody changes; no allocation. Moving leaves the source
//            empty.
// Places:    as a gc::Ptr's.
// Threads:   calling one, and copying it, from any number of goroutines at once; what the target
//            does is its own affair. One that runs may be given another target: it runs to its end.
// Misuse:    calling an empty one panics with Go's text. A target that is changed by being called
//            (a mutable lambda), that has a destructor, or is aligned to more than 16 bytes does
//            not compile. A captured reference, or a pointer to a local, is good for as long as
//            that lives. A member declared mutable that is a raw pointer escapes the compiler and
//            the barrier: let it be a gc::Ptr.
#ifndef PLIMSOLL_RUNTIME_GC_FUNCTION_H_
#define PLIMSOLL_RUNTIME_GC_FUNCTION_H_

#include <concepts>
#include <cstddef>
#include <functional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/closure.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {
namespace internal {

// "runtime error: invalid memory address or nil pointer dereference", which a nil func is to Go.
[[noreturn]] void ThrowNoTarget(std::source_location where);

template <typename R, typename... Args>
struct FunctionTarget {
  R (*call)(const FunctionTarget* self, Args&&... args);
};

template <typename F, typename R, typename... Args>
struct FunctionTargetOf : FunctionTarget<R, Args...> {
  static R Call(const FunctionTarget<R, Args...>* self, Args&&... args) {
    const F& f = static_cast<const FunctionTargetOf*>(self)->f;
    if constexpr (std::is_void_v<R>) {
      static_cast<void>(std::invoke(f, std::forward<Args>(args)...));
    } else {
      return std::invoke(f, std::forward<Args>(args)...);
    }
  }
  template <typename G>
  FunctionTargetOf(std::in_place_t, G&& g)
      : FunctionTarget<R, Args...>{&Call}, f(std::forward<G>(g)) {}

  F f;
};

}  // namespace internal

template <typename Signature>
class function;

namespace internal {

// One of another signature may be empty.
template <typename F>
inline constexpr bool kIsFunction = false;
template <typename S>
inline constexpr bool kIsFunction<function<S>> = true;

}  // namespace internal

template <typename R, typename... Args>
class function<R(Args...)> {
  using Target = internal::FunctionTarget<R, Args...>;

 public:
  using result_type = R;

  function() = default;
  function(std::nullptr_t) {}  // NOLINT: as std::function's
  function(const function& o) = default;
  function(function&& o) noexcept : target_(o.target_) { o.target_ = nullptr; }
  template <typename F>
    requires(!std::same_as<std::decay_t<F>, function> &&
             std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
  function(F&& f) : target_(MakeTarget(std::forward<F>(f))) {}  // NOLINT: as std::function's

  function& operator=(const function& o) = default;
  function& operator=(function&& o) noexcept {
    if (this == &o) return *this;
    target_ = o.target_;
    o.target_ = nullptr;
    return *this;
  }
  function& operator=(std::nullptr_t) {
    target_ = nullptr;
    return *this;
  }

  // Calls the target. Requires: there is one.
  R operator()(Args... args, std::source_location where = std::source_location::current()) const {
    const Target* target = target_.get();
    if (target == nullptr) [[unlikely]]
      internal::ThrowNoTarget(where);
    return target->call(target, std::forward<Args>(args)...);
  }

  explicit operator bool() const { return target_ != nullptr; }
  friend bool operator==(const function& f, std::nullptr_t) { return !f; }

 private:
  GC_FIELDS(function, target_);

  template <typename F>
  static const Target* MakeTarget(F&& f) {
    using D = std::decay_t<F>;
    using T = internal::FunctionTargetOf<D, R, Args...>;
    static_assert(std::is_invocable_r_v<R, const D&, Args...>,
                  "the target of a gc::function is called as const: what it changes belongs into "
                  "an object that it holds by gc::Ptr");
    static_assert(std::is_trivially_destructible_v<D>,
                  "the target of a gc::function is never destroyed: capture gc:: types, gc::Ptr "
                  "or T*, and nothing that has a destructor");
    static_assert(alignof(D) <= 16, "the target of a gc::function is aligned to 16 bytes at most");
    if constexpr (std::is_pointer_v<D> || std::is_member_pointer_v<D>) {
      if (f == nullptr) return nullptr;
    }
    if constexpr (internal::kIsFunction<D>) {
      if (!f) return nullptr;
    }
    constexpr size_t kBytes = internal::kWordsOf<T> * internal::kWord;
    void* memory = internal::Allocate(internal::closure_slots[internal::ClassOrLarge(kBytes)],
                                      internal::kClosureLayout, kBytes);
    return ::new (memory) T(std::in_place, std::forward<F>(f));
  }

  Ptr<const Target> target_;
};

static_assert(sizeof(function<void()>) == sizeof(void*));
static_assert(std::is_trivially_destructible_v<function<void()>>);

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_FUNCTION_H_
