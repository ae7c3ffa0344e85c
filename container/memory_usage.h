// MemoryUsage tells what the kernel charges to this process's cgroup, by kind: what a memory limit
// is compared with.
//
//   if (std::optional<MemoryUsage> use = ReadMemoryUsage(limits.memory)) Print(use->current);
//
// Sources:  memory.current and memory.stat; on v1 memory.usage_in_bytes, memory.stat and the
// kernel's
//           share, memory.kmem.usage_in_bytes. All processes of the cgroup and of those below it
//           count.
// Parts:    those that the kernel tells; what they leave of `current` is in Rest(). The kernel sums
//           memory.stat up as it finds time, so the rest may be some MiB, and negative.
// Missing:  nullopt: our cgroup cannot be named or has no such file, as the root's has not.
// Threads:  any; allocates.
#ifndef PLIMSOLL_CONTAINER_MEMORY_USAGE_H_
#define PLIMSOLL_CONTAINER_MEMORY_USAGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/limits.h"

namespace plimsoll::container {

// One kind of memory. The names are v2's.
struct MemoryPart {
  std::string_view name;  // "anon", "file", "sock", "slab", ...: a constant
  uint64_t bytes = 0;

  bool operator==(const MemoryPart&) const = default;
};

struct MemoryUsage {
  std::string source;  // the file of `current`
  uint64_t current = 0;
  std::vector<MemoryPart> parts;  // none within another

  int64_t Rest() const;
  // Of one part; 0: it is not told.
  uint64_t Of(std::string_view name) const;
};

std::optional<MemoryUsage> ReadMemoryUsage(Files& files, const MemoryLimits& memory);
// Of the real files.
std::optional<MemoryUsage> ReadMemoryUsage(const MemoryLimits& memory);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_MEMORY_USAGE_H_
