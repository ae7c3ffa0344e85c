// Units in the type: ByteCount and PageCount cannot be mixed up, nor made from each other in
// silence.
//
//   PageCount pages = PagesFor(ByteCount(100'000));   // 13 pages of 8 KiB
//   mmap(nullptr, pages.bytes().value(), ...);
#ifndef PLIMSOLL_ALLOC_BASE_UNITS_H_
#define PLIMSOLL_ALLOC_BASE_UNITS_H_

#include <compare>
#include <cstddef>
#include <cstdint>

namespace plimsoll {

// A size or distance in bytes.
class ByteCount {
 public:
  constexpr ByteCount() = default;
  constexpr explicit ByteCount(uint64_t bytes) : bytes_(bytes) {}
  constexpr uint64_t value() const { return bytes_; }
  friend constexpr auto operator<=>(ByteCount, ByteCount) = default;
  friend constexpr ByteCount operator+(ByteCount a, ByteCount b) {
    return ByteCount(a.bytes_ + b.bytes_);
  }
  friend constexpr ByteCount operator-(ByteCount a, ByteCount b) {
    return ByteCount(a.bytes_ - b.bytes_);
  }
  constexpr ByteCount& operator+=(ByteCount o) { return *this = *this + o; }
  constexpr ByteCount& operator-=(ByteCount o) { return *this = *this - o; }

 private:
  uint64_t bytes_ = 0;
};

constexpr ByteCount KiB(uint64_t n) { return ByteCount(n << 10); }
constexpr ByteCount MiB(uint64_t n) { return ByteCount(n << 20); }
constexpr ByteCount GiB(uint64_t n) { return ByteCount(n << 30); }

// The heap's page, Go's: 8 KiB. Not the machine's.
inline constexpr size_t kPageShift = 13;
inline constexpr size_t kPageSize = size_t{1} << kPageShift;

// A number of heap pages.
class PageCount {
 public:
  constexpr PageCount() = default;
  constexpr explicit PageCount(uint64_t pages) : pages_(pages) {}
  constexpr uint64_t value() const { return pages_; }
  constexpr ByteCount bytes() const { return ByteCount(pages_ << kPageShift); }
  friend constexpr auto operator<=>(PageCount, PageCount) = default;
  friend constexpr PageCount operator+(PageCount a, PageCount b) {
    return PageCount(a.pages_ + b.pages_);
  }
  friend constexpr PageCount operator-(PageCount a, PageCount b) {
    return PageCount(a.pages_ - b.pages_);
  }

 private:
  uint64_t pages_ = 0;
};

// The fewest pages that hold `bytes`.
constexpr PageCount PagesFor(ByteCount bytes) {
  return PageCount((bytes.value() + kPageSize - 1) >> kPageShift);
}

}  // namespace plimsoll

#endif  // PLIMSOLL_ALLOC_BASE_UNITS_H_
