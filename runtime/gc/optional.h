// gc::optional is std::optional for members of collected types.
//
//   struct Entry { gc::optional<gc::string> alias; GC_FIELDS(Entry, alias); };
//   if (entry->alias) Print(*entry->alias);
//
// Contents:  a described type. An empty one reads as zero, so that it keeps nothing alive.
// Misuse:    value() of an empty one panics; operator* is for who has looked.
#ifndef PLIMSOLL_RUNTIME_GC_OPTIONAL_H_
#define PLIMSOLL_RUNTIME_GC_OPTIONAL_H_

#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/vector.h"

namespace plimsoll::gc {
namespace internal {

// "gc::optional has no value"
[[noreturn]] void ThrowNoValue(std::source_location where);

}  // namespace internal

template <typename T>
class optional {
 public:
  using value_type = T;

  optional() = default;
  optional(std::nullopt_t) {}                                    // NOLINT: as std::optional's
  optional(const T& value) : has_value_(true), value_(value) {}  // NOLINT: as std::optional's

  optional& operator=(std::nullopt_t) {
    reset();
    return *this;
  }
  optional& operator=(const T& value) {
    value_ = value;
    has_value_ = true;
    return *this;
  }

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }
  T& value(std::source_location where = std::source_location::current()) {
    if (!has_value_) [[unlikely]]
      internal::ThrowNoValue(where);
    return value_;
  }
  T value_or(const T& other) const { return has_value_ ? value_ : other; }
  void reset() {
    has_value_ = false;
    value_ = T();
  }

  friend bool operator==(const optional& a, const optional& b) {
    return a.has_value_ == b.has_value_ && (!a.has_value_ || a.value_ == b.value_);
  }

 private:
  static_assert(std::is_default_constructible_v<T> && std::is_trivially_destructible_v<T>);
  GC_FIELDS(optional, value_);

  bool has_value_ = false;
  T value_{};
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_OPTIONAL_H_
