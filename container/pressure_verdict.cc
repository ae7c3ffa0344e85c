#include "plimsoll/container/pressure_verdict.h"

#include <algorithm>

namespace plimsoll::container {
namespace {

// Less than this much of what we could have had is a shortage: below lies the noise of interrupts,
// of other processes' moments and of reading counters one after the other.
constexpr double kShortage = 0.85;
// Idle CPUs, as a part of what we lack, that clear the neighbours of blame.
constexpr double kIdleShare = 0.5;
// With a shorter interval the counters' own ticks (of 4 or 10 ms) are too large a part of it.
constexpr double kShortestInterval = 0.05;

}  // namespace

std::string_view ToString(PressureVerdict verdict) {
  switch (verdict) {
    case PressureVerdict::kUnknown:
      return "unknown";
    case PressureVerdict::kFree:
      return "free";
    case PressureVerdict::kThrottled:
      return "throttled";
    case PressureVerdict::kHiddenQuota:
      return "hidden-quota";
    case PressureVerdict::kContended:
      return "contended";
  }
  return "unknown";
}

PressureVerdict JudgePressure(const PressureFacts& facts) {
  if (facts.throttled_visibly) return PressureVerdict::kThrottled;
  if (facts.wall_s < kShortestInterval || !facts.have_threads) return PressureVerdict::kUnknown;
  if (facts.saturated_threads == 0) return PressureVerdict::kFree;

  double could_have = std::min(facts.cpus, static_cast<double>(facts.saturated_threads));
  if (facts.quota) could_have = std::min(could_have, *facts.quota);
  // Time that our other threads took was ours too.
  const double had = std::max(facts.saturated_run, std::min(facts.used, could_have));
  if (had >= kShortage * could_have) return PressureVerdict::kFree;
  const double lacked = could_have - had;
  if (facts.idle && *facts.idle >= kIdleShare * lacked) return PressureVerdict::kHiddenQuota;
  return PressureVerdict::kContended;
}

}  // namespace plimsoll::container
