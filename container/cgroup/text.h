// Text for messages: joins pieces, quotes what was seen, prints sizes as people write them.
//
//   Concat("cpu.max: quota ", Quote("12q"), " is not a number")
//
// Debian's absl::string_view is not std::string_view, so absl::StrCat cannot take our public types.
#ifndef PLIMSOLL_CONTAINER_CGROUP_TEXT_H_
#define PLIMSOLL_CONTAINER_CGROUP_TEXT_H_

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::container {

inline void AppendPiece(std::string& out, std::string_view piece) { out.append(piece); }

template <std::integral T>
  requires(!std::same_as<T, char> && !std::same_as<T, bool>)
void AppendPiece(std::string& out, T number) {
  char digits[24];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), number);
  out.append(digits, end.ptr);
}

// The pieces, one after the other: text, and numbers in decimal.
template <typename... Pieces>
std::string Concat(const Pieces&... pieces) {
  std::string out;
  (AppendPiece(out, pieces), ...);
  return out;
}

// `text` in double quotes, with every byte that is not printable ASCII escaped, and cut after 96
// bytes: what a diagnostic shows of a file it did not understand.
std::string Quote(std::string_view text);

// A name for a line of a report: as it is when nothing in it could be taken for our own words or
// for a terminal's command, else quoted as above but whole. A cgroup's name may hold any byte but
// '/', newline and zero, and anybody who may make cgroups chooses it.
std::string Shown(std::string_view name);

// The same for a value, in which spaces are common: "150000 100000".
std::string ShownValue(std::string_view value);

// "128 MiB", "1 GiB", "1449551462 bytes (1.3 GiB)": exact, in the largest unit that divides it.
std::string FormatBytes(uint64_t bytes);

// num/den in decimal, at most three places, no trailing zeros: "1.5", "0.333", "4".
std::string FormatFraction(int64_t num, int64_t den);

// Reads all of `text` as a decimal number: digits only, so that " 5", "+5" and "5q" are refused.
// False when it is not one or does not fit; `*value` is then untouched.
bool ParseDigits(std::string_view text, uint64_t* value);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_TEXT_H_
