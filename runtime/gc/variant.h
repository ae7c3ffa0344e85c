// gc::variant is std::variant for members of collected types.
//
//   struct Value { gc::variant<int64_t, gc::string, gc::Ptr<List>> is; GC_FIELDS(Value, is); };
//   value->is = gc::string("text");
//   if (const gc::string* s = value->is.get_if<gc::string>()) Print(*s);
//   value->is.visit([](const auto& v) { Print(v); });
//
// Contents:  one of several described types, each of them once; at first the first, as T().
// Changing:  a new alternative is a copy. What the one before it led to is kept by it no more.
// References: to the alternative are good until there is another.
// Misuse:    get<T>() of another alternative panics; get_if<T>() is null then.
#ifndef PLIMSOLL_RUNTIME_GC_VARIANT_H_
#define PLIMSOLL_RUNTIME_GC_VARIANT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/describe.h"

namespace plimsoll::gc {
namespace internal {

// "gc::variant holds another type"
[[noreturn]] void ThrowOtherType(std::source_location where);

}  // namespace internal

template <typename... Ts>
class variant {
  template <typename T>
  static constexpr size_t kTimes = (size_t{std::is_same_v<T, Ts>} + ...);
  template <typename T>
  static constexpr size_t IndexOf() {
    size_t at = 0;
    (void)((std::is_same_v<T, Ts> || (++at, false)) || ...);
    return at;
  }

 public:
  variant() { Begin<std::tuple_element_t<0, std::tuple<Ts...>>>(); }
  variant(const variant& o) : variant() { *this = o; }
  template <typename T>
    requires(kTimes<T> == 1)
  variant(const T& value) {  // NOLINT: as std::variant's
    Begin<T>();
    As<T>() = value;
  }

  variant& operator=(const variant& o) {
    if (this != &o) o.visit([this](const auto& value) { *this = value; });
    return *this;
  }
  template <typename T>
    requires(kTimes<T> == 1)
  variant& operator=(const T& value) {
    if (index_ == IndexOf<T>()) {
      As<T>() = value;
      return *this;
    }
    const T copy = value;  // it may be in what is about to end
    // Its pointers become null as any are overwritten, so that a mark is told of what they led to.
    // A constructor writes to memory that was never anything else's.
    visit([]<typename Old>(Old& old) { old = Old(); });
    Begin<T>();
    As<T>() = copy;
    return *this;
  }

  size_t index() const { return index_; }
  template <typename T>
    requires(kTimes<T> == 1)
  bool holds() const {
    return index_ == IndexOf<T>();
  }
  template <typename T>
    requires(kTimes<T> == 1)
  T* get_if() {
    return holds<T>() ? &As<T>() : nullptr;
  }
  template <typename T>
    requires(kTimes<T> == 1)
  const T* get_if() const {
    return holds<T>() ? &As<T>() : nullptr;
  }
  template <typename T>
    requires(kTimes<T> == 1)
  T& get(std::source_location where = std::source_location::current()) {
    if (!holds<T>()) [[unlikely]]
      internal::ThrowOtherType(where);
    return As<T>();
  }
  template <typename T>
    requires(kTimes<T> == 1)
  const T& get(std::source_location where = std::source_location::current()) const {
    return const_cast<variant*>(this)->template get<T>(where);
  }

  // f(the alternative); its type is the same for all of them.
  template <typename F>
  decltype(auto) visit(F&& f) {
    return Dispatch<0>(*this, f);
  }
  template <typename F>
  decltype(auto) visit(F&& f) const {
    return Dispatch<0>(*this, f);
  }

  friend bool operator==(const variant& a, const variant& b) {
    return a.index_ == b.index_ && a.visit([&b]<typename T>(const T& value) {
      return static_cast<bool>(value == b.template As<T>());
    });
  }

 private:
  static_assert(sizeof...(Ts) > 0 && sizeof...(Ts) < 256);
  static_assert(((kTimes<Ts> == 1) && ...), "each alternative once");
  static_assert(((std::is_default_constructible_v<Ts> && std::is_trivially_destructible_v<Ts>) &&
                 ...));
  static constexpr size_t kBytes = std::max({sizeof(Ts)...});

  template <typename T>
  T& As() {
    return *std::launder(reinterpret_cast<T*>(storage_));
  }
  template <typename T>
  const T& As() const {
    return *std::launder(reinterpret_cast<const T*>(storage_));
  }
  template <typename T>
  void Begin() {
    ::new (storage_) T();
    index_ = static_cast<uint8_t>(IndexOf<T>());
  }
  template <size_t I, typename Self, typename F>
  static decltype(auto) Dispatch(Self& self, F& f) {
    if constexpr (I + 1 < sizeof...(Ts)) {
      if (self.index_ != I) return Dispatch<I + 1>(self, f);
    }
    return f(self.template As<std::tuple_element_t<I, std::tuple<Ts...>>>());
  }

  alignas(Ts...) std::byte storage_[kBytes] = {};  // first: see Description
  uint8_t index_ = 0;
};

namespace internal {

// Whichever it is: any word that is a pointer in one of them. The marker looks up what it finds.
template <typename... Ts>
struct Description<variant<Ts...>> {
  static constexpr bool kKnown = (Description<Ts>::kKnown && ...);
  static constexpr bool kBaseLine = (Description<Ts>::kBaseLine || ...);
  static constexpr bool kTraced = (Description<Ts>::kTraced || ...);
  static constexpr void Describe(MaskSink& sink) { (sink.template Field<Ts>(0), ...); }
};

}  // namespace internal
}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_VARIANT_H_
