// gc::string is Go's string: bytes that never change, shared by its copies and its pieces.
//
//   struct User { gc::string name; GC_FIELDS(User, name); };
//   user->name = gc::string("Ada") + " Lovelace";
//   gc::string first = user->name.substr(0, 3);        // no copy: it keeps the whole
//   std::string_view view = user->name;                // while the string is held
//
// Size:     two words. An empty string holds nothing.
// Threads:  as a Ptr: the bytes may be read by anyone.
// Misuse:   substr beyond the end panics with Go's text.
#ifndef PLIMSOLL_RUNTIME_GC_STRING_H_
#define PLIMSOLL_RUNTIME_GC_STRING_H_

#include <compare>
#include <cstddef>
#include <cstring>
#include <functional>
#include <source_location>
#include <string_view>

#include "plimsoll/runtime/gc/describe.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"

namespace plimsoll::gc {
namespace internal {

// "runtime error: slice bounds out of range [:5] with length 3"
[[noreturn]] void ThrowBounds(size_t end, size_t length, std::source_location where);

}  // namespace internal

class string {
 public:
  constexpr string() = default;
  string(std::string_view text) : size_(text.size()) {  // NOLINT: as std::string's from char*
    if (size_ == 0) return;
    char* bytes = make_noscan<char>(size_);
    std::memcpy(bytes, text.data(), size_);
    data_ = bytes;
  }
  string(const char* text) : string(std::string_view(text)) {}  // NOLINT

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const char* data() const { return data_.get(); }
  char operator[](size_t i) const { return data()[i]; }
  const char* begin() const { return data(); }
  const char* end() const { return data() + size_; }
  std::string_view view() const { return {data(), size_}; }
  operator std::string_view() const { return view(); }

  // Bytes [at, at + n), fewer where it ends before. Shares them.
  string substr(size_t at, size_t n = std::string_view::npos,
                std::source_location where = std::source_location::current()) const {
    if (at > size_) internal::ThrowBounds(at, size_, where);
    string piece;
    piece.size_ = n < size_ - at ? n : size_ - at;
    if (piece.size_ > 0) piece.data_ = data() + at;
    return piece;
  }

  friend string operator+(const string& a, std::string_view b) {
    string sum;
    sum.size_ = a.size_ + b.size();
    if (sum.size_ == 0) return sum;
    char* bytes = make_noscan<char>(sum.size_);
    if (a.size_ > 0) std::memcpy(bytes, a.data(), a.size_);
    if (!b.empty()) std::memcpy(bytes + a.size_, b.data(), b.size());
    sum.data_ = bytes;
    return sum;
  }
  string& operator+=(std::string_view b) { return *this = *this + b; }

  friend bool operator==(const string& a, std::string_view b) { return a.view() == b; }
  friend bool operator==(const string& a, const char* b) { return a.view() == b; }
  friend bool operator==(const string& a, const string& b) { return a.view() == b.view(); }
  friend auto operator<=>(const string& a, const string& b) { return a.view() <=> b.view(); }

 private:
  static constexpr void GcCounts(internal::MaskSink& sink) { sink.Count(offsetof(string, size_)); }
  GC_FIELDS(string, data_);

  Ptr<const char> data_;
  size_t size_ = 0;
};

}  // namespace plimsoll::gc

template <>
struct std::hash<plimsoll::gc::string> {
  size_t operator()(const plimsoll::gc::string& s) const {
    return std::hash<std::string_view>()(s.view());
  }
};

#endif  // PLIMSOLL_RUNTIME_GC_STRING_H_
