// What a byte may be in an HTTP/1 message, one table lookup each (RFC 9110 5.5, 5.6.2; RFC 3986).
#ifndef PLIMSOLL_RUNTIME_HTTP_CHAR_CLASS_H_
#define PLIMSOLL_RUNTIME_HTTP_CHAR_CLASS_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace plimsoll::http {

enum CharClass : uint8_t {
  kTokenChar = 1,   // in a method or a field's name
  kValueChar = 2,   // in a field's value: visible, blank, tab, or 0x80 and above
  kTargetChar = 4,  // in a request target: visible ASCII but '#', which starts a fragment
  kHexDigit = 8,
  kHostChar = 16,  // in a Host field: what RFC 3986 allows in a host and port
};

inline constexpr std::array<uint8_t, 256> kCharClasses = [] {
  std::array<uint8_t, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool hex = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    const bool visible = c > 0x20 && c < 0x7f;
    uint8_t is = 0;
    if (digit || letter) is |= kTokenChar | kHostChar;
    if (visible || c == ' ' || c == '\t' || c >= 0x80) is |= kValueChar;
    if (visible && c != '#') is |= kTargetChar;
    if (hex) is |= kHexDigit;
    classes[c] = is;
  }
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) {
    classes[static_cast<uint8_t>(c)] |= kTokenChar;
  }
  for (const char c : std::string_view("-._~%!$&'()*+,;=:[]")) {
    classes[static_cast<uint8_t>(c)] |= kHostChar;
  }
  return classes;
}();

constexpr bool Is(char c, CharClass wanted) {
  return (kCharClasses[static_cast<uint8_t>(c)] & wanted) != 0;
}

constexpr char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

static_assert(Is('G', kTokenChar) && Is('-', kTokenChar) && !Is(':', kTokenChar));
static_assert(!Is('\r', kValueChar) && !Is('\n', kValueChar) && !Is('\0', kValueChar));
static_assert(!Is(' ', kTargetChar) && !Is('#', kTargetChar) && Is('?', kTargetChar));

}  // namespace plimsoll::http

#endif  // PLIMSOLL_RUNTIME_HTTP_CHAR_CLASS_H_
