#include "plimsoll/container/memory_usage.h"

#include <algorithm>

#include "plimsoll/container/cgroup/pressure_formats.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr size_t kStatBytes = 16 << 10;

std::optional<uint64_t> ReadNumber(Files& files, const std::string& path) {
  const FileText file = ReadFile(files, path, 64, ReadStyle::kOneLine);
  if (!file.ok()) return std::nullopt;
  // As a line of its own key: all checks of a number are in one place.
  return FlatKeyed(Concat("n ", file.text), "n");
}

// What the kernel counts for itself, of which `kernel` (Linux 5.18) is the sum and a little more.
constexpr std::string_view kKernelParts[] = {"kernel_stack", "pagetables", "percpu", "vmalloc",
                                             "slab"};

void ReadV2(std::string_view stat, MemoryUsage& use) {
  for (const std::string_view name : {"anon", "file", "sock"}) {
    if (const std::optional<uint64_t> bytes = FlatKeyed(stat, name)) {
      use.parts.push_back({name, *bytes});
    }
  }
  uint64_t told = 0;
  for (const std::string_view name : kKernelParts) {
    const std::optional<uint64_t> bytes = FlatKeyed(stat, name);
    if (!bytes) continue;
    told += *bytes;
    use.parts.push_back({name, *bytes});
  }
  const std::optional<uint64_t> kernel = FlatKeyed(stat, "kernel");
  if (kernel && *kernel > told) use.parts.push_back({"kernel_other", *kernel - told});
}

void ReadV1(Files& files, const std::string& dir, std::string_view stat, MemoryUsage& use) {
  // With those below us, as usage_in_bytes counts.
  if (const auto rss = FlatKeyed(stat, "total_rss")) use.parts.push_back({"anon", *rss});
  if (const auto cache = FlatKeyed(stat, "total_cache")) use.parts.push_back({"file", *cache});
  const std::optional<uint64_t> sock =
      ReadNumber(files, Concat(dir, "/memory.kmem.tcp.usage_in_bytes"));
  if (sock) use.parts.push_back({"sock", *sock});
  if (const auto kernel = ReadNumber(files, Concat(dir, "/memory.kmem.usage_in_bytes"))) {
    use.parts.push_back({"kernel", *kernel});
  }
}

}  // namespace

int64_t MemoryUsage::Rest() const {
  auto rest = static_cast<int64_t>(current);
  for (const MemoryPart& part : parts) rest -= static_cast<int64_t>(part.bytes);
  return rest;
}

uint64_t MemoryUsage::Of(std::string_view name) const {
  const auto found = std::find_if(parts.begin(), parts.end(),
                                  [name](const MemoryPart& part) { return part.name == name; });
  return found == parts.end() ? 0 : found->bytes;
}

std::optional<MemoryUsage> ReadMemoryUsage(Files& files, const MemoryLimits& memory) {
  if (!memory.dir) return std::nullopt;
  std::string dir = *memory.dir;
  if (dir.ends_with('/')) dir.pop_back();
  const bool v1 = memory.version == CgroupVersion::kV1;
  MemoryUsage use;
  use.source = Concat(dir, v1 ? "/memory.usage_in_bytes" : "/memory.current");
  const std::optional<uint64_t> current = ReadNumber(files, use.source);
  if (!current) return std::nullopt;
  use.current = *current;
  const FileText stat = ReadFile(files, Concat(dir, "/memory.stat"), kStatBytes, ReadStyle::kToEnd);
  if (stat.ok()) {
    if (v1) {
      ReadV1(files, dir, stat.text, use);
    } else {
      ReadV2(stat.text, use);
    }
  }
  return use;
}

std::optional<MemoryUsage> ReadMemoryUsage(const MemoryLimits& memory) {
  SystemFiles files;
  return ReadMemoryUsage(files, memory);
}

}  // namespace plimsoll::container
