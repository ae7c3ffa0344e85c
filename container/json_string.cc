#include "plimsoll/container/json_string.h"

#include <cstddef>
#include <cstdint>

namespace plimsoll::container {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// The length of the UTF-8 character at the head of `text`, which is not empty; 0 if there is none:
// overlong forms, surrogates and what is past U+10FFFF are none (The Unicode Standard, table 3-7).
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto tail = [&](size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4 || !tail(1)) return 0;
  if (lead < 0xE0) return 2;
  if (lead < 0xF0) {
    if (lead == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
    if (lead == 0xED && byte(1) >= 0xA0) return 0;  // surrogate
    return tail(2) ? 3 : 0;
  }
  if (lead == 0xF0 && byte(1) < 0x90) return 0;   // overlong
  if (lead == 0xF4 && byte(1) >= 0x90) return 0;  // past U+10FFFF
  return tail(2) && tail(3) ? 4 : 0;
}

// The code point of one well-formed sequence; 0xFFFF for those beyond three bytes.
unsigned CodePoint(std::string_view sequence) {
  const auto at = [&sequence](size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1) return at(0);
  if (sequence.size() == 2) return (at(0) & 0x1Fu) << 6 | (at(1) & 0x3Fu);
  if (sequence.size() == 3) {
    return (at(0) & 0x0Fu) << 12 | (at(1) & 0x3Fu) << 6 | (at(2) & 0x3Fu);
  }
  return 0xFFFF;
}

// What commands a terminal, or turns the direction of the text around it, is written as \u: control
// characters, C1's too, line separators, and bidirectional marks.
bool IsCommand(unsigned code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x61C || code == 0x200E ||
         code == 0x200F || (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

// The letter that follows the backslash in the short escape of `c`; 0: it has none.
char ShortEscape(char c) {
  switch (c) {
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

}  // namespace

void AppendJsonString(std::string_view text, std::string* out) {
  out->push_back('"');
  while (!text.empty()) {
    const char c = text[0];
    const size_t length = Utf8Length(text);
    if (length == 0) {
      out->append("\\ufffd");
    } else if (c == '"' || c == '\\') {
      *out += {'\\', c};
    } else if (const char letter = ShortEscape(c); letter != 0) {
      *out += {'\\', letter};
    } else if (const unsigned code = CodePoint(text.substr(0, length)); IsCommand(code)) {
      out->append("\\u");
      for (int shift = 12; shift >= 0; shift -= 4) out->push_back(kHex[code >> shift & 15]);
    } else {
      out->append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out->push_back('"');
}

std::string OneLine(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const std::string_view head = text.substr(0, length == 0 ? 1 : length);
    if (const char letter = ShortEscape(head[0]); letter != 0) {
      out += {'\\', letter};
    } else if (length == 0 || IsCommand(CodePoint(head))) {
      for (const char c : head) {
        const auto byte = static_cast<uint8_t>(c);
        out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      }
    } else {
      out.append(head);
    }
    text.remove_prefix(head.size());
  }
  return out;
}

}  // namespace plimsoll::container
