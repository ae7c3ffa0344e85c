// kBitwiseMovable<T>: copying a T's bytes to another place, and forgetting the first, moves it.
//
//   template <> inline constexpr bool plimsoll::kBitwiseMovable<MyHandle> = true;
//
// Why:      a channel's lock is held with preemption off, where no user code may run. Such values
//           cross it as bytes; all others cross as a pointer to a box on the heap (DESIGN.md).
// Default:  true for what the language calls trivially copyable, and for the standard's pointers.
// Misuse:   true for a type that holds a pointer into itself, as libstdc++'s std::string does,
//           breaks its values.
#ifndef PLIMSOLL_RUNTIME_CHAN_BITWISE_MOVABLE_H_
#define PLIMSOLL_RUNTIME_CHAN_BITWISE_MOVABLE_H_

#include <memory>
#include <type_traits>
#include <vector>

namespace plimsoll {

template <typename T>
inline constexpr bool kBitwiseMovable = std::is_trivially_copyable_v<T>;

template <typename T>
inline constexpr bool kBitwiseMovable<std::unique_ptr<T, std::default_delete<T>>> = true;

template <typename T>
inline constexpr bool kBitwiseMovable<std::shared_ptr<T>> = true;

template <typename T>
inline constexpr bool kBitwiseMovable<std::weak_ptr<T>> = true;

#if !defined(_GLIBCXX_DEBUG)
template <typename T>
inline constexpr bool kBitwiseMovable<std::vector<T, std::allocator<T>>> = true;
#endif

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CHAN_BITWISE_MOVABLE_H_
