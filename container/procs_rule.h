// A ProcsRule turns a CPU quota into P, the number of threads that run at once.
//
//   ProcsRule{}                                     as Go 1.25: rounded up, at least 2
//   ProcsRule{.rounding = kFloor, .min = 1}         as automaxprocs: rounded down, at least 1
//
// Rounding up uses all of the quota and risks throttling at the end of a period; rounding down
// never throttles and leaves a fraction of a CPU unused.
#ifndef PLIMSOLL_CONTAINER_PROCS_RULE_H_
#define PLIMSOLL_CONTAINER_PROCS_RULE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "plimsoll/container/cgroup/cpu_max.h"

namespace plimsoll::container {

enum class Rounding { kCeil, kFloor, kNearest };

struct ProcsRule {
  Rounding rounding = Rounding::kCeil;
  int min = 2;                    // of a rounded quota; the affinity mask still caps it
  int max = 0;                    // 0: none
  int64_t reserve_millicpus = 0;  // left to others in the cgroup, taken off before rounding

  // min(affinity, max(min, round(quota - reserve))); without a quota, affinity - reserve. At least
  // 1. `affinity` is the number of CPUs in the affinity mask.
  int Procs(std::optional<Fraction> quota, int affinity) const;

  // "rounded up, at least 2": for the report.
  std::string Describe() const;
};

inline constexpr ProcsRule kGoRule{};
inline constexpr ProcsRule kAutomaxprocsRule{.rounding = Rounding::kFloor, .min = 1};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_PROCS_RULE_H_
