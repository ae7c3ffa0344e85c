// A cleanup is a function that runs when nothing reaches an object any more.
//
//   Image* image = gc::make<Image>();
//   gc::cleanup(image, [](int texture) { FreeTexture(texture); }, image->texture);
//   gc::Cleanup undo = gc::cleanup(image, [name = gc::string("x")] { Forget(name); });
//   undo.stop();                                  // it will not run, unless it already waits to
//
// When:      once, after a cycle has found that nothing reaches the object, on a goroutine of the
//            collector's; the object is freed by that cycle, and the function does not see it. At
//            the end of the process it is not run.
// Function:  and its arguments are moved into collected memory, which is scanned as a stack is. So
//            they may hold gc::Ptr, T*, gc:: types and anything with a destructor, not gc::Root.
//            What they hold is kept until the function has run; for that they are moved to the
//            stack of who calls it, so a mutable one may change what it captured.
// Object:    any address within one; several cleanups of one object run in no order. Of an object
//            that is finalized they run a cycle after its destructor.
// Blocking:  it may; others go on when the next cycle has ended, at the latest.
// Throwing:  ends the process, as an uncaught panic does: "panic: ...", exit status 2.
// Threads:   several may run at once, beside anything. cleanup and stop are for goroutines.
// Misuse:    an argument or a capture that holds the object would keep it, and the cleanup would
//            never run: a panic says so. Where they hold another that holds the object nobody can
//            tell. A key is better a gc::Weak to the object, or its address inverted.
#ifndef PLIMSOLL_RUNTIME_GC_CLEANUP_H_
#define PLIMSOLL_RUNTIME_GC_CLEANUP_H_

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/afterlife.h"
#include "plimsoll/runtime/gc/closure.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"

namespace plimsoll::gc {

class Cleanup {
 public:
  Cleanup() = default;
  explicit Cleanup(internal::CleanupId id, const internal::ClosureOps* ops) : id_(id), ops_(ops) {}

  // Takes it back and destroys the function. False: it has run, waits to, or was taken back.
  bool stop();

 private:
  internal::CleanupId id_;
  const internal::ClosureOps* ops_ = nullptr;
};

namespace internal {

// Panics where a word of the closure is an address within the object.
void CheckClosure(const void* object, const void* closure, size_t bytes,
                  std::source_location where);

// Copies the words of a closure, and shades them, as one for any mark.
void HoldWords(uintptr_t* to, const void* closure, size_t words);

// What a closure held, on the stack of who moves it away or destroys it. Either may overwrite a T*
// in it, and tells no barrier. A mark that runs was told before by HoldWords; one that begins later
// finds it here.
template <typename Closure>
class Held {
 public:
  explicit Held(const Closure* c) { HoldWords(words_, c, kWordsOf<Closure>); }
  ~Held() { keep_alive(words_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  uintptr_t words_[kWordsOf<Closure>];
};

template <typename F, typename... Args>
struct CleanupClosure {
  F function;
  std::tuple<Args...> arguments;

  static void Run(void* p) {
    auto* c = static_cast<CleanupClosure*>(p);
    const Held<CleanupClosure> held(c);
    CleanupClosure mine(std::move(*c));
    std::apply(std::move(mine.function), std::move(mine.arguments));
  }
  static void Destroy(void* p) {
    auto* c = static_cast<CleanupClosure*>(p);
    const Held<CleanupClosure> held(c);
    c->~CleanupClosure();
  }
  static constexpr ClosureOps kOps = {&Run, &Destroy};
};

template <typename F, typename... Args>
Cleanup MakeCleanup(const void* object, std::source_location where, F&& f, Args&&... args) {
  using Closure = CleanupClosure<std::decay_t<F>, std::decay_t<Args>...>;
  static_assert(std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>,
                "the function of a cleanup is called with its arguments, by value");
  static_assert(alignof(Closure) <= 16, "collected objects are aligned to 16 bytes");
  // Whole words: each is looked at.
  constexpr size_t kBytes = kWordsOf<Closure> * kWord;
  void* memory = Allocate(closure_slots[ClassOrLarge(kBytes)], kClosureLayout, kBytes);
  struct Guard {
    void* closure;
    ~Guard() {
      if (closure != nullptr) Closure::Destroy(closure);
    }
  } guard{::new (memory) Closure{std::forward<F>(f), {std::forward<Args>(args)...}}};
  CheckClosure(object, memory, kBytes, where);
  guard.closure = nullptr;
  return Cleanup(AddCleanup(object, memory, Closure::kOps), &Closure::kOps);
}

// An object's address, with the place of the call.
struct Subject {
  template <typename P>
    requires std::is_convertible_v<const P&, const void*>
  Subject(const P& p,  // NOLINT: a pointer, gc::Ptr, gc::Root, as it is
          std::source_location at = std::source_location::current())
      : address(p), where(at) {}
  const void* address;
  std::source_location where;
};

}  // namespace internal

template <typename F, typename... Args>
Cleanup cleanup(internal::Subject object, F&& f, Args&&... args) {
  return internal::MakeCleanup(object.address, object.where, std::forward<F>(f),
                               std::forward<Args>(args)...);
}

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_CLEANUP_H_
