// Reads a limit that is a number or "max" (memory.max, memory.high, pids.max, v1's
// memory.limit_in_bytes), and the effective limit that v1 shows in memory.stat.
//
//   "134217728\n"            that many        "max\n"   no limit (nullopt)
//   "hierarchical_memory_limit 67108864"      a line of memory.stat
#ifndef PLIMSOLL_CONTAINER_CGROUP_MEMORY_MAX_H_
#define PLIMSOLL_CONTAINER_CGROUP_MEMORY_MAX_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

namespace plimsoll::container {

// One number, or "max". v1 writes no limit as a number: see IsUnlimited.
absl::StatusOr<std::optional<uint64_t>> ParseMax(std::string_view contents);

// The number after `key` in "key number" lines. nullopt: no such line, as on an old kernel.
absl::StatusOr<std::optional<uint64_t>> ParseStatLine(std::string_view contents,
                                                      std::string_view key);

// Whether v1 means "no limit" by `bytes`: the largest signed number, rounded down to a page
// (9223372036854771712 with pages of 4 KiB, ...710272 with 64 KiB), or above.
bool IsUnlimited(uint64_t bytes, uint64_t page_size);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_MEMORY_MAX_H_
