#include "plimsoll/container/cgroup/cpu_max.h"

#include <compare>
#include <cstdint>
#include <limits>
#include <numeric>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

absl::StatusOr<int64_t> ParseMicroseconds(std::string_view field, std::string_view text) {
  uint64_t us = 0;
  if (!ParseDigits(text, &us) || us == 0 ||
      us > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::InvalidArgumentError(
        Concat(field, " ", Quote(text), " is not a positive number of microseconds"));
  }
  return static_cast<int64_t>(us);
}

// Takes the newline off. A file without one is a short read, and "10" may be the head of "100000".
absl::Status TakeLine(std::string_view& contents) {
  if (contents.empty()) return absl::DataLossError("is empty");
  if (!contents.ends_with('\n')) {
    return absl::DataLossError(Concat(Quote(contents), " has no newline, so it may be cut short"));
  }
  contents.remove_suffix(1);
  return absl::OkStatus();
}

}  // namespace

Fraction Fraction::Reduced() const {
  const int64_t divisor = std::gcd(num, den);
  if (divisor == 0) return *this;
  return {.num = num / divisor, .den = den / divisor};
}

std::strong_ordering Fraction::operator<=>(const Fraction& other) const {
  return static_cast<__int128>(num) * other.den <=> static_cast<__int128>(other.num) * den;
}

bool Fraction::operator==(const Fraction& other) const {
  return (*this <=> other) == std::strong_ordering::equal;
}

std::optional<Fraction> CpuMax::Cpus() const {
  if (!quota_us.has_value()) return std::nullopt;
  return Fraction{.num = *quota_us, .den = period_us}.Reduced();
}

absl::StatusOr<CpuMax> ParseCpuMax(std::string_view contents) {
  if (absl::Status line = TakeLine(contents); !line.ok()) return line;
  const size_t space = contents.find(' ');
  const std::string_view quota = contents.substr(0, space);
  CpuMax max;
  if (space != std::string_view::npos) {
    const std::string_view period = contents.substr(space + 1);
    if (period.find(' ') != std::string_view::npos) {
      return absl::InvalidArgumentError(Concat(Quote(contents), " has more than two fields"));
    }
    const absl::StatusOr<int64_t> us = ParseMicroseconds("period", period);
    if (!us.ok()) return us.status();
    max.period_us = *us;
  }
  if (quota == "max") return max;
  const absl::StatusOr<int64_t> us = ParseMicroseconds("quota", quota);
  if (!us.ok()) return us.status();
  max.quota_us = *us;
  return max;
}

absl::StatusOr<int64_t> ParseCfsQuota(std::string_view contents) {
  if (absl::Status line = TakeLine(contents); !line.ok()) return line;
  uint64_t negated = 0;
  if (contents.starts_with('-') && ParseDigits(contents.substr(1), &negated) && negated > 0) {
    return 0;
  }
  return ParseMicroseconds("quota", contents);
}

absl::StatusOr<int64_t> ParseCfsPeriod(std::string_view contents) {
  if (absl::Status line = TakeLine(contents); !line.ok()) return line;
  return ParseMicroseconds("period", contents);
}

}  // namespace plimsoll::container
