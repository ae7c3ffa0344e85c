// Reads a command's flags: --name, --name VALUE or --name=VALUE, up to the first other word or
// "--".
//
//   FlagReader flags(arguments);
//   while (flags.Next()) {
//     if (flags.Is("--root")) options.root = flags.Value();
//     else flags.Unknown();
//   }
//   if (!flags.error().empty()) ...      // names the flag and the text
#ifndef PLIMSOLL_TOOLS_PLIMSOLL_FLAGS_H_
#define PLIMSOLL_TOOLS_PLIMSOLL_FLAGS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::tools {

class FlagReader {
 public:
  explicit FlagReader(std::span<const std::string> words) : words_(words) {}

  // Goes to the next flag. False at the end, at the first error, or at a word that is no flag.
  bool Next();

  bool Is(std::string_view name) const { return name_ == name; }

  // The flag's text; an error when there is none.
  std::string Value();
  // Its number in [least, most]; else an error, and `least`.
  uint64_t Number(uint64_t least, uint64_t most);
  // The same for one of the powers of two in [least, most].
  uint64_t PowerOfTwo(uint64_t least, uint64_t most);
  // Says that the flag takes no value; an error when it has one.
  void NoValue();
  // Reports the flag as unknown.
  void Unknown();
  // Reports what is wrong with the flag and its text.
  void Bad(std::string_view text, std::string_view why);

  // What follows the flags.
  std::span<const std::string> rest() const { return words_.subspan(next_); }
  const std::string& error() const { return error_; }

 private:
  std::span<const std::string> words_;
  size_t next_ = 0;
  std::string name_;
  std::optional<std::string> inline_value_;
  std::string error_;
};

}  // namespace plimsoll::tools

#endif  // PLIMSOLL_TOOLS_PLIMSOLL_FLAGS_H_
