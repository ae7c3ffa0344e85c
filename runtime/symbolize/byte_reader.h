// A ByteReader reads DWARF's encodings from memory: little endian, bounded, never beyond its end.
//
// Errors:   a read past the end yields zeros from then on, and ok() is false.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_BYTE_READER_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace plimsoll::symbolize {

class ByteReader {
 public:
  ByteReader(uintptr_t at, uintptr_t end) : at_(at), end_(end < at ? at : end) {}
  explicit ByteReader(std::string_view bytes)
      : ByteReader(reinterpret_cast<uintptr_t>(bytes.data()),
                   reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return at_ >= end_; }
  uintptr_t at() const { return at_; }
  size_t left() const { return end_ - at_; }

  void Skip(uint64_t bytes) {
    if (bytes > left()) {
      Fail();
    } else {
      at_ += bytes;
    }
  }

  template <typename T>
  T Fixed() {
    T value{};
    if (sizeof(T) > left()) {
      Fail();
      return value;
    }
    memcpy(&value, reinterpret_cast<const void*>(at_), sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  uint64_t Unsigned() {  // ULEB128
    uint64_t value = 0;
    for (int shift = 0; ok_; shift += 7) {
      const auto byte = Fixed<uint8_t>();
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  }

  int64_t Signed() {  // SLEB128
    uint64_t value = 0;
    for (int shift = 0; ok_;) {
      const auto byte = Fixed<uint8_t>();
      if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      shift += 7;
      if ((byte & 0x80) == 0) {
        if (shift < 64 && (byte & 0x40) != 0) value |= ~uint64_t{0} << shift;
        break;
      }
    }
    return static_cast<int64_t>(value);
  }

  // A unit's length: 32 bits, or 0xffffffff and 64 bits. *wide: offsets within are of 8 bytes.
  uint64_t Length(bool* wide) {
    const auto narrow = Fixed<uint32_t>();
    *wide = narrow == 0xffffffff;
    return *wide ? Fixed<uint64_t>() : narrow;
  }

  std::string_view Text() {  // up to and over a zero byte
    const char* start = reinterpret_cast<const char*>(at_);
    const void* end = left() == 0 ? nullptr : memchr(start, '\0', left());
    if (end == nullptr) {
      Fail();
      return {};
    }
    const size_t length = static_cast<size_t>(static_cast<const char*>(end) - start);
    at_ += length + 1;
    return {start, length};
  }

 private:
  void Fail() {
    ok_ = false;
    at_ = end_;
  }

  uintptr_t at_;
  uintptr_t end_;
  bool ok_ = true;
};

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_BYTE_READER_H_
