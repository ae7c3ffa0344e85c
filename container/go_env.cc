#include "plimsoll/container/go_env.h"

#include <cstdint>
#include <limits>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {

absl::StatusOr<int> ParseGoMaxProcs(std::string_view text) {
  uint64_t procs = 0;
  if (!ParseDigits(text, &procs) || procs == 0 ||
      procs > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
    return absl::InvalidArgumentError(Concat(Quote(text), " is not a positive number"));
  }
  return static_cast<int>(procs);
}

absl::StatusOr<int64_t> ParseGoMemLimit(std::string_view text) {
  if (text == "off") return kNoMemLimit;
  constexpr struct {
    std::string_view suffix;
    int shift;
  } kUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"B", 0}, {"", 0}};
  for (const auto& unit : kUnits) {
    if (!text.ends_with(unit.suffix)) continue;
    uint64_t number = 0;
    constexpr auto kLargest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (ParseDigits(text.substr(0, text.size() - unit.suffix.size()), &number) &&
        number <= kLargest >> unit.shift) {
      return static_cast<int64_t>(number << unit.shift);
    }
    break;
  }
  return absl::InvalidArgumentError(
      Concat(Quote(text), " is not a number of bytes, KiB, MiB, GiB or TiB, nor \"off\""));
}

}  // namespace plimsoll::container
