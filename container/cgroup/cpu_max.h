// Reads a CPU quota: v2's cpu.max, or v1's cpu.cfs_quota_us and cpu.cfs_period_us.
//
//   "150000 100000\n"   1.5 CPUs          "max 100000\n"   no quota
//   "150000\n"          the period is the kernel's default, 100 ms
//   "-1\n" (v1)         no quota
//
// Everything else is an error that names the file and the field. Zero is one: the kernel never
// shows it, and taking it for "no quota" would hide a broken file.
#ifndef PLIMSOLL_CONTAINER_CGROUP_CPU_MAX_H_
#define PLIMSOLL_CONTAINER_CGROUP_CPU_MAX_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace plimsoll::container {

// A number of CPUs as the exact fraction quota/period.
struct Fraction {
  int64_t num = 0;
  int64_t den = 1;  // > 0

  // The same number in lowest terms.
  Fraction Reduced() const;

  // By value: 1/2 equals 50/100.
  std::strong_ordering operator<=>(const Fraction& other) const;
  bool operator==(const Fraction& other) const;
};

struct CpuMax {
  std::optional<int64_t> quota_us;  // nullopt: none is set
  int64_t period_us = 100000;

  std::optional<Fraction> Cpus() const;
};

absl::StatusOr<CpuMax> ParseCpuMax(std::string_view contents);

// One file of v1. The quota: a positive number, or negative for none (then 0 is returned).
absl::StatusOr<int64_t> ParseCfsQuota(std::string_view contents);
absl::StatusOr<int64_t> ParseCfsPeriod(std::string_view contents);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_CPU_MAX_H_
