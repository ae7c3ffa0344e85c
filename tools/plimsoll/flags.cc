#include "plimsoll/tools/plimsoll/flags.h"

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::tools {

using container::Concat;
using container::Quote;

bool FlagReader::Next() {
  if (!error_.empty() || next_ == words_.size()) return false;
  const std::string& word = words_[next_];
  if (word == "--") {
    ++next_;
    return false;
  }
  if (!word.starts_with("-") || word == "-") return false;
  ++next_;
  const size_t equal = word.find('=');
  name_ = word.substr(0, equal);
  inline_value_.reset();
  if (equal != std::string::npos) inline_value_ = word.substr(equal + 1);
  return true;
}

std::string FlagReader::Value() {
  if (inline_value_.has_value()) return *inline_value_;
  if (next_ < words_.size()) return words_[next_++];
  if (error_.empty()) error_ = Concat(name_, " needs a value");
  return {};
}

uint64_t FlagReader::Number(uint64_t least, uint64_t most) {
  const std::string text = Value();
  if (!error_.empty()) return least;
  uint64_t number = 0;
  if (container::ParseDigits(text, &number) && number >= least && number <= most) return number;
  Bad(text, Concat("is not a number from ", least, " to ", most));
  return least;
}

uint64_t FlagReader::PowerOfTwo(uint64_t least, uint64_t most) {
  const std::string text = Value();
  if (!error_.empty()) return least;
  uint64_t number = 0;
  if (container::ParseDigits(text, &number) && std::has_single_bit(number) && number >= least &&
      number <= most) {
    return number;
  }
  Bad(text, Concat("is not a power of two from ", least, " to ", most));
  return least;
}

void FlagReader::NoValue() {
  if (inline_value_.has_value()) Bad(*inline_value_, "is a value, and the flag takes none");
}

void FlagReader::Unknown() {
  if (error_.empty()) error_ = Concat("unknown flag ", container::Shown(name_));
}

void FlagReader::Bad(std::string_view text, std::string_view why) {
  if (error_.empty()) error_ = Concat(name_, ": ", Quote(text), " ", why);
}

}  // namespace plimsoll::tools
