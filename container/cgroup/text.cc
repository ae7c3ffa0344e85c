#include "plimsoll/container/cgroup/text.h"

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace plimsoll::container {

namespace {

std::string QuoteWhole(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

bool IsPrintable(char c) { return c > ' ' && c < '\x7f'; }

}  // namespace

std::string Quote(std::string_view text) {
  constexpr size_t kShown = 96;
  std::string out = QuoteWhole(text.substr(0, kShown));
  if (text.size() > kShown) out += Concat("... (", text.size(), " bytes)");
  return out;
}

std::string Shown(std::string_view name) {
  constexpr std::string_view kOurs = "\"()[]*";
  for (const char c : name) {
    if (!IsPrintable(c) || kOurs.find(c) != std::string_view::npos) return QuoteWhole(name);
  }
  return name.empty() ? "\"\"" : std::string(name);
}

std::string ShownValue(std::string_view value) {
  for (const char c : value) {
    if (!IsPrintable(c) && c != ' ') return Quote(value);
  }
  return std::string(value);
}

std::string FormatBytes(uint64_t bytes) {
  constexpr struct {
    int shift;
    std::string_view name;
  } kUnits[] = {{40, " TiB"}, {30, " GiB"}, {20, " MiB"}, {10, " KiB"}};
  for (const auto& unit : kUnits) {
    const uint64_t size = uint64_t{1} << unit.shift;
    if (bytes >= size && bytes % size == 0) return Concat(bytes >> unit.shift, unit.name);
  }
  // A number of KiB is still hard to read when it is large; say about how much it is.
  std::string out = Concat(bytes, bytes == 1 ? " byte" : " bytes");
  for (const auto& unit : kUnits) {
    if (bytes >> unit.shift == 0) continue;
    const uint64_t size = uint64_t{1} << unit.shift;
    const uint64_t tenths = (bytes % size) / (size / 10 + 1);
    out += Concat(" (", bytes >> unit.shift, ".", tenths, unit.name, ")");
    break;
  }
  return out;
}

std::string FormatFraction(int64_t num, int64_t den) {
  if (den <= 0) return "?";
  const auto thousandths = static_cast<__int128>(num) * 1000 / den;
  std::string out = Concat(static_cast<int64_t>(thousandths / 1000));
  auto places = static_cast<int>(thousandths % 1000);
  if (places == 0) return out;
  char digits[4] = {'.', static_cast<char>('0' + places / 100),
                    static_cast<char>('0' + places / 10 % 10),
                    static_cast<char>('0' + places % 10)};
  size_t length = 4;
  while (digits[length - 1] == '0') --length;
  return out.append(digits, length);
}

bool ParseDigits(std::string_view text, uint64_t* value) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  uint64_t parsed = 0;
  const char* const end = text.data() + text.size();
  // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): `end` is its size
  const std::from_chars_result result = std::from_chars(text.data(), end, parsed, 10);
  if (result.ec != std::errc() || result.ptr != end) return false;
  *value = parsed;
  return true;
}

}  // namespace plimsoll::container
