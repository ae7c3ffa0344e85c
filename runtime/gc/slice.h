// gc::slice is Go's slice: a part of an array that others may share.
//
//   gc::slice<int> s = {1, 2, 3};
//   s = gc::append(s, 4);
//   gc::slice<int> t = s.sub(1, 3);       // {2, 3}: t[0] = 7 is seen in s
//
// Sharing:   as Go's: append writes into the array where there is room behind the slice, else into
//            a new one; who holds the old slice sees what its capacity covers.
// Size:      three words.
// Misuse:    an index or bounds out of range panic with Go's texts.
#ifndef PLIMSOLL_RUNTIME_GC_SLICE_H_
#define PLIMSOLL_RUNTIME_GC_SLICE_H_

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <new>
#include <source_location>

#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/vector.h"

namespace plimsoll::gc {
namespace internal {

// "runtime error: slice bounds out of range [:5] with capacity 3", "… [3:2]"
[[noreturn]] void ThrowSliceEnd(size_t end, size_t capacity, std::source_location where);
[[noreturn]] void ThrowSliceOrder(size_t begin, size_t end, std::source_location where);

}  // namespace internal

template <typename T>
class slice {
  using Where = std::source_location;

 public:
  slice() = default;  // Go's nil slice
  slice(std::initializer_list<T> values) : slice(values.size(), values.size()) {
    std::copy(values.begin(), values.end(), begin());
  }

  // Go's make([]T, len, cap), of default values.
  static slice make(size_t len, size_t cap = 0) { return slice(len, std::max(len, cap)); }

  size_t len() const { return len_; }
  size_t cap() const { return cap_; }
  bool empty() const { return len_ == 0; }
  bool is_nil() const { return data_ == nullptr; }
  T* begin() const { return data_.get(); }
  T* end() const { return data_.get() + len_; }

  T& at(size_t i, Where where = Where::current()) const {
    if (i >= len_) [[unlikely]]
      internal::ThrowIndex(i, len_, where);
    return data_.get()[i];
  }
  T& operator[](internal::PlacedIndex i) const { return at(i.value, i.where); }

  // s[from:to]; to may go up to the capacity.
  slice sub(size_t from, size_t to, Where where = Where::current()) const {
    if (to > cap_) [[unlikely]]
      internal::ThrowSliceEnd(to, cap_, where);
    if (from > to) [[unlikely]]
      internal::ThrowSliceOrder(from, to, where);
    slice s;
    // One that is empty at the end of its array keeps no address past it, as Go's.
    s.data_ = from == cap_ ? data_.get() : data_.get() + from;
    s.len_ = to - from;
    s.cap_ = cap_ - from;
    return s;
  }

  friend slice append(const slice& s, const T& value) {
    slice to = s;
    if (to.len_ == to.cap_) {
      // Go's growth: doubled up to 256, then by a quarter and 192.
      const size_t cap =
          to.cap_ < 256 ? std::max<size_t>(to.cap_ * 2, 4) : to.cap_ + (to.cap_ + 3 * 256) / 4;
      to = slice(s.len_, cap);
      std::copy(s.begin(), s.end(), to.begin());
    }
    to.data_.get()[to.len_] = value;
    ++to.len_;
    return to;
  }

 private:
  slice(size_t len, size_t cap) : len_(len), cap_(cap) {
    if (cap > 0) data_ = make_array<T>(cap);
  }

  static constexpr void GcCounts(internal::MaskSink& sink) {
    sink.Count(offsetof(slice, len_));
    sink.Count(offsetof(slice, cap_));
  }
  GC_FIELDS(slice, data_);

  Ptr<T> data_;
  size_t len_ = 0;
  size_t cap_ = 0;
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_SLICE_H_
