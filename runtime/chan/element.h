// A Wire is the form in which a T crosses a channel: its own bytes, or a pointer to a box.
//
//   Outgoing<T> out(std::move(value));      Incoming<T> in;
//   core->Send<Wire<T>::kSize>(out.bytes()) core->Recv<Wire<T>::kSize>(in.bytes())
//   if it went: out.Forget();               if it came: std::optional<T> v = in.Take();
//
//   T                                     crosses as          moves     heap
//   bitwise movable, up to 1 KiB          its bytes           1 + 1     none
//   empty and trivially copyable          nothing             0         none
//   anything else (a throwing move, a     a T* to a box       1 + 1     one box a value
//   move that allocates, a large object)
#ifndef PLIMSOLL_RUNTIME_CHAN_ELEMENT_H_
#define PLIMSOLL_RUNTIME_CHAN_ELEMENT_H_

#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/chan/bitwise_movable.h"
#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::internal {

// A value with collected pointers: a gc::Ptr, a gc:: container, a type with GC_FIELDS. It is made
// of words that may be copied as bytes, and the buffer that it lies in is scanned.
template <typename T>
constexpr bool HoldsCollected() {
  if constexpr (std::is_object_v<T> && !std::is_pointer_v<T> && gc::Described<T>) {
    return gc::internal::HasPointers<T>();
  } else {
    return false;
  }
}

template <typename T>
struct Wire {
  static constexpr bool kCollected = HoldsCollected<T>();
  static_assert(!std::is_pointer_v<T> || !gc::internal::Access::kHasLine<std::remove_pointer_t<T>>,
                "a channel of raw pointers to a collected type: its buffer is malloc's. Use "
                "Channel<gc::Ptr<T>>");
  static_assert(!kCollected || sizeof(T) <= 1024,
                "a channel of collected values of more than 1 KiB: send a gc::Ptr");
  // A kilobyte takes some 20 ns under the lock: beyond that, others would feel it.
  static constexpr bool kBoxed = (!kBitwiseMovable<T> && !kCollected) || sizeof(T) > 1024;
  using Type = std::conditional_t<kBoxed, T*, T>;
  static constexpr bool kEmpty = std::is_empty_v<Type> && std::is_trivially_copyable_v<Type>;
  static constexpr size_t kSize = kEmpty ? 0 : sizeof(Type);

  static void Destroy(void* slot) {
    Type& value = *std::launder(static_cast<Type*>(slot));
    if constexpr (kBoxed) {
      delete value;
    } else {
      std::destroy_at(&value);
    }
  }

  static constexpr ElementInfo kInfo = {
      kSize, alignof(Type), kBoxed || !std::is_trivially_destructible_v<Type> ? &Destroy : nullptr,
      kCollected};
};

// A value on its way out. Destroys it unless told that it went.
template <typename T>
class Outgoing {
 public:
  using Type = typename Wire<T>::Type;

  explicit Outgoing(T&& value) {
    if constexpr (Wire<T>::kBoxed) {
      ::new (bytes_) Type(new T(std::move(value)));
    } else {
      ::new (bytes_) Type(std::move(value));
    }
  }
  ~Outgoing() {
    if (Wire<T>::kInfo.destroy != nullptr && !gone_) Wire<T>::Destroy(bytes_);
  }
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  const void* bytes() const { return bytes_; }
  void Forget() { gone_ = true; }

  // It did not go: the value as it was.
  T& value() {
    Type& wire = *std::launder(reinterpret_cast<Type*>(bytes_));
    if constexpr (Wire<T>::kBoxed) {
      return *wire;
    } else {
      return wire;
    }
  }

 private:
  alignas(Type) unsigned char bytes_[sizeof(Type)];
  bool gone_ = false;
};

// Where a value arrives.
template <typename T>
class Incoming {
 public:
  using Type = typename Wire<T>::Type;

  Incoming() {
    // Of an empty type no byte arrives: the object must be there already.
    if constexpr (Wire<T>::kEmpty) ::new (bytes_) unsigned char(0);
  }

  void* bytes() { return bytes_; }

  // Requires: a value has arrived, and was not taken yet.
  std::optional<T> Take() {
    Type& wire = *std::launder(reinterpret_cast<Type*>(bytes_));
    if constexpr (Wire<T>::kBoxed) {
      std::unique_ptr<T> box(wire);
      return std::optional<T>(std::move(*box));
    } else {
      struct Destroy {
        Type& wire;
        ~Destroy() { std::destroy_at(&wire); }
      } destroy{wire};
      return std::optional<T>(std::move(wire));
    }
  }

 private:
  alignas(Type) unsigned char bytes_[sizeof(Type)];
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_ELEMENT_H_
