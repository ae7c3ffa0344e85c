// gc::vector is std::vector whose storage is collected: for members of collected types.
//
//   struct Node { gc::vector<gc::Ptr<Node>> kids; GC_FIELDS(Node, kids); };
//   n->kids.push_back(gc::make<Node>());
//   for (const gc::Ptr<Node>& kid : n->kids) Visit(kid);
//
// Elements:  described types. They are never destroyed; what goes away is cleared, so that it keeps
//            nothing alive.
// Copies:    copy the elements, as std::vector's do; moving leaves the source empty.
// Iterators: plain pointers, valid as std::vector's are; a stale one reads old elements, never
//            freed memory.
// Misuse:    at(), front(), back() and pop_back() panic with Go's text; operator[] in builds
//            without NDEBUG.
#ifndef PLIMSOLL_RUNTIME_GC_VECTOR_H_
#define PLIMSOLL_RUNTIME_GC_VECTOR_H_

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {
namespace internal {

// "runtime error: index out of range [5] with length 3"
[[noreturn]] void ThrowIndex(size_t index, size_t length, std::source_location where);

// An index, with the place of its use: operator[] has no parameter for it before C++23.
struct PlacedIndex {
  PlacedIndex(size_t i,  // NOLINT: an index, as it is
              std::source_location at = std::source_location::current())
      : value(i), where(at) {}
  size_t value;
  std::source_location where;
};

// Makes an element hold nothing: each word by a store of its own, told to a mark that runs as an
// assignment to a Ptr is.
template <typename T>
void ClearElement(T* p) {
  if constexpr (sizeof(T) % kWord == 0 && alignof(T) >= kWord) {
    auto* words = reinterpret_cast<uintptr_t*>(p);
    for (size_t w = 0; w < sizeof(T) / kWord; ++w) {
      if constexpr (HasPointers<T>()) {
        Store(words + w, uintptr_t{0});
      } else {
        __atomic_store_n(words + w, uintptr_t{0}, __ATOMIC_RELAXED);
      }
    }
  }
}

}  // namespace internal

template <typename T>
class vector {
  using Where = std::source_location;

 public:
  using value_type = T;
  using iterator = T*;
  using const_iterator = const T*;

  vector() = default;
  explicit vector(size_t n) { resize(n); }
  vector(std::initializer_list<T> values) { assign(values.begin(), values.end()); }
  template <std::input_iterator I>
  vector(I first, I last) {
    assign(first, last);
  }
  vector(const vector& o) { assign(o.begin(), o.end()); }
  vector(vector&& o) noexcept : data_(o.data_), size_(o.size_), capacity_(o.capacity_) {
    o.Forget();
  }
  vector& operator=(const vector& o) {
    if (this != &o) assign(o.begin(), o.end());
    return *this;
  }
  vector& operator=(vector&& o) noexcept {
    if (this == &o) return *this;
    data_ = o.data_;
    size_ = o.size_;
    capacity_ = o.capacity_;
    o.Forget();
    return *this;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return capacity_; }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

  T& operator[](internal::PlacedIndex i) {
    if constexpr (internal::kProbe) Check(i.value, i.where);
    return data()[i.value];
  }
  const T& operator[](internal::PlacedIndex i) const {
    if constexpr (internal::kProbe) Check(i.value, i.where);
    return data()[i.value];
  }
  T& at(size_t i, Where where = Where::current()) {
    Check(i, where);
    return data()[i];
  }
  const T& at(size_t i, Where where = Where::current()) const {
    Check(i, where);
    return data()[i];
  }
  T& front(Where where = Where::current()) { return at(0, where); }
  T& back(Where where = Where::current()) { return at(size_ - 1, where); }
  const T& front(Where where = Where::current()) const { return at(0, where); }
  const T& back(Where where = Where::current()) const { return at(size_ - 1, where); }

  void push_back(const T& value) { emplace_back(value); }
  void push_back(T&& value) { emplace_back(std::move(value)); }
  template <typename... Args>
  T& emplace_back(Args&&... args) {
    if (size_ == capacity_) [[unlikely]] {
      // Made first: an argument may be an element.
      T value(std::forward<Args>(args)...);
      Grow(size_ + 1);
      T* p = ::new (data() + size_) T(std::move(value));
      ++size_;
      return *p;
    }
    T* p = ::new (data() + size_) T(std::forward<Args>(args)...);
    ++size_;
    return *p;
  }
  void pop_back(Where where = Where::current()) {
    Check(size_ - 1, where);
    internal::ClearElement(data() + --size_);
  }
  iterator insert(const_iterator at, const T& value) {
    const size_t i = static_cast<size_t>(at - begin());
    T copy(value);
    emplace_back();
    std::move_backward(begin() + i, end() - 1, end());
    data()[i] = std::move(copy);
    return begin() + i;
  }
  iterator erase(const_iterator at) { return erase(at, at + 1); }
  iterator erase(const_iterator first, const_iterator last) {
    T* to = begin() + (first - begin());
    std::move(begin() + (last - begin()), end(), to);
    Shrink(size_ - static_cast<size_t>(last - first));
    return to;
  }
  void resize(size_t n) {
    if (n <= size_) return Shrink(n);
    reserve(n);
    while (size_ < n) ::new (data() + size_++) T();
  }
  void reserve(size_t n) {
    if (n > capacity_) Grow(n);
  }
  void clear() { Shrink(0); }
  template <typename I>
  void assign(I first, I last) {
    clear();
    if constexpr (std::random_access_iterator<I>) reserve(static_cast<size_t>(last - first));
    for (; first != last; ++first) emplace_back(*first);
  }

  friend bool operator==(const vector& a, const vector& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
  }

 private:
  void Check(size_t i, Where where) const {
    if (i >= size_) [[unlikely]]
      internal::ThrowIndex(i, size_, where);
  }
  void Forget() {
    data_ = nullptr;
    size_ = capacity_ = 0;
  }
  void Shrink(size_t n) {
    while (size_ > n) internal::ClearElement(data() + --size_);
  }
  // Elements are copied, not moved, into fresh storage: the old one is garbage.
  void Grow(size_t least) {
    const size_t n = std::max({least, capacity_ * 2, size_t{4}});
    T* fresh = internal::AllocateArray<T>(n, 1, Where::current());
    for (size_t i = 0; i < size_; ++i) ::new (fresh + i) T(std::move(data()[i]));
    data_ = fresh;
    capacity_ = n;
  }

  static constexpr void GcCounts(internal::MaskSink& sink) {
    sink.Count(offsetof(vector, size_));
    sink.Count(offsetof(vector, capacity_));
  }
  GC_FIELDS(vector, data_);

  Ptr<T> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_VECTOR_H_
