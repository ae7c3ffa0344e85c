#include "plimsoll/container/procs_rule.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

// num/den to a whole number. den > 0; num may be negative when a reserve exceeds the quota.
int64_t Round(__int128 num, __int128 den, Rounding rounding) {
  if (num <= 0) return 0;
  __int128 whole = num / den;
  if (rounding == Rounding::kCeil) whole = (num + den - 1) / den;
  if (rounding == Rounding::kNearest) whole = (2 * num + den) / (2 * den);
  return static_cast<int64_t>(std::min<__int128>(whole, INT64_MAX));
}

}  // namespace

int ProcsRule::Procs(std::optional<Fraction> quota, int affinity) const {
  const int cpus = std::max(affinity, 1);
  int64_t procs = cpus;
  const Fraction from = quota.value_or(Fraction{.num = cpus, .den = 1});
  if (quota.has_value() || reserve_millicpus != 0) {
    const auto num = static_cast<__int128>(from.num) * 1000 -
                     static_cast<__int128>(reserve_millicpus) * from.den;
    procs = Round(num, static_cast<__int128>(from.den) * 1000, rounding);
    procs = std::max<int64_t>(procs, min);
  }
  procs = std::min<int64_t>(procs, cpus);
  if (max > 0) procs = std::min<int64_t>(procs, max);
  return static_cast<int>(std::max<int64_t>(procs, 1));
}

std::string ProcsRule::Describe() const {
  std::string text = rounding == Rounding::kCeil    ? "rounded up"
                     : rounding == Rounding::kFloor ? "rounded down"
                                                    : "rounded to the nearest";
  if (reserve_millicpus != 0) {
    text = Concat("less ", FormatFraction(reserve_millicpus, 1000), " CPUs in reserve, ", text);
  }
  // Where max holds against min, the two together would read as nonsense.
  if (min > 1 && (max <= 0 || min < max)) text += Concat(", at least ", min);
  if (max > 0) text += Concat(", at most ", max);
  return text;
}

}  // namespace plimsoll::container
