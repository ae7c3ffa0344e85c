#include "plimsoll/container/cgroup/memory_max.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {

absl::StatusOr<std::optional<uint64_t>> ParseMax(std::string_view contents) {
  if (contents.empty()) return absl::DataLossError("is empty");
  if (!contents.ends_with('\n')) {
    return absl::DataLossError(Concat(Quote(contents), " has no newline, so it may be cut short"));
  }
  contents.remove_suffix(1);
  if (contents == "max") return std::nullopt;
  uint64_t value = 0;
  if (!ParseDigits(contents, &value)) {
    return absl::InvalidArgumentError(Concat(Quote(contents), " is neither a number nor \"max\""));
  }
  return value;
}

absl::StatusOr<std::optional<uint64_t>> ParseStatLine(std::string_view contents,
                                                      std::string_view key) {
  while (!contents.empty()) {
    const size_t end = contents.find('\n');
    const std::string_view line = contents.substr(0, end);
    const bool whole = end != std::string_view::npos;
    contents.remove_prefix(whole ? end + 1 : contents.size());
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ' ') continue;
    uint64_t value = 0;
    if (!whole || !ParseDigits(line.substr(key.size() + 1), &value)) {
      return absl::InvalidArgumentError(
          Concat(key, " ", Quote(line), " is not a number and a newline"));
    }
    return value;
  }
  return std::nullopt;
}

bool IsUnlimited(uint64_t bytes, uint64_t page_size) {
  uint64_t largest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (page_size > 0) largest -= largest % page_size;
  return bytes >= largest;
}

}  // namespace plimsoll::container
