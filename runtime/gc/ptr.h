// A Ptr is a pointer to a collected object, kept in another one or on a stack.
//
//   struct Node { gc::Ptr<Node> next; GC_FIELDS(Node, next); };
//   gc::Ptr<Node> n = gc::make<Node>();
//   n->next = gc::make<Node>();
//   Node* raw = n;                     // fine on a stack, and nowhere else
//
// Size:     a machine word; destroying it does nothing.
// Places:   collected objects, goroutine stacks. Elsewhere: gc::Root, gc::Global. The probe
//           (probe.h) refuses the rest in builds without NDEBUG.
// Interior: a Ptr may point into an object, or one past the end of an array: it keeps all of it.
// Barrier:  an assignment tells a mark that runs of what it overwrites (barrier.h). A constructor
//           does not: a Ptr is never made where another one lives; assign to that one.
// Threads:  a race on one Ptr is undefined for the program, never for the collector: each access is
//           a relaxed atomic one, and the barrier holds for any number of writers.
#ifndef PLIMSOLL_RUNTIME_GC_PTR_H_
#define PLIMSOLL_RUNTIME_GC_PTR_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/probe.h"

namespace plimsoll::gc {

template <typename T>
class Ptr {
 public:
  using element_type = T;

  constexpr Ptr() noexcept : p_(nullptr) { Probe(); }
  constexpr Ptr(std::nullptr_t) noexcept : p_(nullptr) { Probe(); }  // NOLINT: as a pointer is
  Ptr(T* p) noexcept {                                               // NOLINT: as a pointer is
    Probe();
    Set(p);
  }
  Ptr(const Ptr& o) noexcept {
    Probe();
    Set(o.get());
  }
  template <typename U>
    requires std::is_convertible_v<U*, T*>
  Ptr(const Ptr<U>& o) noexcept {  // NOLINT: as a pointer is
    Probe();
    Set(o.get());
  }
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): one word, read before it is written
  Ptr& operator=(const Ptr& o) noexcept {
    Assign(o.get());
    return *this;
  }
  Ptr& operator=(T* p) noexcept {
    Assign(p);
    return *this;
  }
  Ptr& operator=(std::nullptr_t) noexcept {
    Assign(nullptr);
    return *this;
  }

  T* get() const noexcept { return __atomic_load_n(&p_, __ATOMIC_RELAXED); }
  T* operator->() const noexcept { return get(); }
  std::add_lvalue_reference_t<T> operator*() const noexcept
    requires(!std::is_void_v<T>)
  {
    return *get();
  }
  std::add_lvalue_reference_t<T> operator[](ptrdiff_t i) const noexcept
    requires(!std::is_void_v<T>)
  {
    return get()[i];
  }
  operator T*() const noexcept { return get(); }

 private:
  // What these two write is all that is ever written of collected pointers in the heap, but for
  // ClearElement.
  void Assign(T* p) noexcept {
    // A static's constructor ran at compile time, and calloc's memory was a Ptr without one.
    if (p != nullptr) Probe();
    if constexpr (internal::kProbe) internal::ProbeTarget(static_cast<const void*>(p));
    internal::Store(&p_, p);
  }
  void Set(T* p) noexcept {
    if constexpr (internal::kProbe) internal::ProbeTarget(static_cast<const void*>(p));
    __atomic_store_n(&p_, p, __ATOMIC_RELAXED);
  }
  constexpr void Probe() const noexcept {
    if constexpr (internal::kProbe) {
      if (!std::is_constant_evaluated()) internal::ProbePtr(this);
    }
  }

  T* p_;
};

static_assert(sizeof(Ptr<int>) == sizeof(void*));
static_assert(std::is_trivially_destructible_v<Ptr<int>>);

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_PTR_H_
