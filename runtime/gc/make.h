// gc::make makes collected objects: nobody frees them.
//
//   Node* n = gc::make<Node>(1, nullptr);          // constructor, or the members of an aggregate
//   gc::Ptr<Node> row = gc::make_array<Node>(100); // 100 default Nodes; row + 100 keeps them too
//   char* bytes = gc::make_noscan<char>(4096);     // zeroes, in which nothing is looked for
//
// Contents:  memory reads as zero before the constructor runs.
// Alignment: 16 bytes; an object of 2^n bytes, up to 8192, to 2^n. Greater alignments do not
//            compile.
// Destructors: none is run: a type with one does not compile (finalized.h is for those).
// Memory:    there is none: a full cycle, then the end: "fatal error: runtime: out of memory…". A
//            length that no memory could hold panics with Go's text.
// Threads:   goroutines, not within a BlockingCall; foreign threads use gc::Root on what they are
//            given.
// Misuse:    not for signal handlers, nor in a constructor of a static. In a handler with
//            SA_ONSTACK it ends the process with a text: without NDEBUG always, else where it fills
//            a cache.
#ifndef PLIMSOLL_RUNTIME_GC_MAKE_H_
#define PLIMSOLL_RUNTIME_GC_MAKE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/alloc/collectable.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/visitor.h"

namespace plimsoll::gc {
namespace internal {

// The shape of a class, found once and kept.
using ShapeSlot = std::atomic<const alloc::ObjectShape*>;
const alloc::ObjectShape* FindShape(ShapeSlot& slot, const alloc::Layout& layout, size_t bytes);

// A whole cycle, then once more; then the end.
void* AllocateOrDie(const alloc::ObjectShape* shape, size_t bytes);
[[noreturn]] void ThrowLength(std::source_location where);

template <typename T>
inline constexpr alloc::Layout kLayout = MakeLayout<T>();

template <typename T>
constexpr void CheckMap() {
  static_assert(Described<T> || std::is_pointer_v<T>,
                "the type has no pointer map: give it GC_FIELDS, GC_NOSCAN or GC_TRACED");
  static_assert(alignof(T) <= 16, "collected objects are aligned to 16 bytes");
}
template <typename T>
constexpr void CheckType() {
  CheckMap<T>();
  static_assert(std::is_trivially_destructible_v<T>,
                "collected types are never destroyed: use gc:: types for members, gc::finalized<T> "
                "for what must be destroyed, or hold what has a destructor outside");
}

[[gnu::always_inline]] inline void* Allocate(ShapeSlot& slot, const alloc::Layout& layout,
                                             size_t bytes) {
  if constexpr (kProbe) ProbeMutator();
  // acquire: pairs with the release in FindShape()
  const alloc::ObjectShape* shape = slot.load(std::memory_order_acquire);
  if (shape == nullptr) [[unlikely]]
    shape = FindShape(slot, layout, bytes);
  void* p = alloc::AllocateCollected(shape, bytes);
  if (p == nullptr) [[unlikely]]
    p = AllocateOrDie(shape, bytes);
  return p;
}

template <typename T>
inline constinit ShapeSlot one_slot{nullptr};
// By size class: arrays of every length.
template <typename T>
inline constinit ShapeSlot array_slots[alloc::kClassCount] = {};

// A T at `p`: by its constructor, or as the members of an aggregate.
template <typename T, typename... Args>
T* Construct(void* p, Args&&... args) {
  if constexpr (std::is_constructible_v<T, Args...>) {
    return ::new (p) T(std::forward<Args>(args)...);
  } else {
    return ::new (p) T{std::forward<Args>(args)...};
  }
}

inline size_t ClassOrLarge(size_t bytes) {
  return bytes <= alloc::kMaxSmall ? alloc::ClassOf(bytes) : 0;
}

// Memory for `n` Ts, and `extra` bytes behind them.
template <typename T>
T* AllocateArray(size_t n, size_t extra, std::source_location where) {
  CheckType<T>();
  size_t bytes;
  if (__builtin_mul_overflow(n, sizeof(T), &bytes) || bytes > (size_t{1} << 46)) [[unlikely]]
    ThrowLength(where);
  bytes += extra;
  return static_cast<T*>(
      Allocate(array_slots<T>[ClassOrLarge(bytes)], kLayout<T>, bytes == 0 ? 1 : bytes));
}

}  // namespace internal

template <typename T, typename... Args>
[[nodiscard]] T* make(Args&&... args) {
  internal::CheckType<T>();
  void* p = internal::Allocate(internal::one_slot<T>, internal::kLayout<T>, sizeof(T));
  return internal::Construct<T>(p, std::forward<Args>(args)...);
}

template <typename T>
[[nodiscard]] T* make_array(size_t n,
                            std::source_location where = std::source_location::current()) {
  // A byte more: the address one past the last element is within the object.
  T* p = internal::AllocateArray<T>(n, 1, where);
  if constexpr (!std::is_trivially_default_constructible_v<T>) {
    for (size_t i = 0; i < n; ++i) ::new (p + i) T();
  }
  return p;
}

// `n` Ts that hold no pointers, all zero. An address past the last does not keep them.
template <typename T>
[[nodiscard]] T* make_noscan(size_t n,
                             std::source_location where = std::source_location::current()) {
  static_assert(!internal::HasPointers<T>(), "the type holds pointers: use make_array");
  static_assert(std::is_trivially_default_constructible_v<T>);
  return internal::AllocateArray<T>(n, 0, where);
}

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_MAKE_H_
