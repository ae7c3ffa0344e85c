// Fuzzes the whole of Detect, its report and its JSON, on files in memory.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "plimsoll/container/cgroup/json_value.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_json.h"
#include "plimsoll/container/limits_report.h"
#include "tests/fuzz/fuzz_files.h"

namespace plimsoll::container {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

// No name in the input makes a line of its own or commands a terminal.
void RequirePrintable(std::string_view line) {
  Require(!line.empty());
  for (const char c : line) Require(c >= ' ' && c < '\x7f');
}

bool HasCode(const Limits& limits, std::string_view code) {
  return std::any_of(limits.diagnostics.begin(), limits.diagnostics.end(),
                     [code](const Diagnostic& diagnostic) { return diagnostic.code == code; });
}

void Check(std::string_view input) {
  FuzzFiles files(input, {"/proc/self/cgroup", "/proc/self/mountinfo"});
  DetectOptions options;
  options.files = &files;
  options.affinity = 64;
  options.mem_total = uint64_t{1} << 40;
  options.page_size = 4096;
  options.environment = [](const char*) { return std::nullopt; };
  const Limits limits = Detect(options);

  Require(limits.procs.value >= 1 && limits.procs.value <= 64);
  Require(limits.procs_floor_min1 <= limits.procs_ceil_min2);
  if (limits.cpu.quota.has_value()) {
    Require(limits.cpu.quota->value.num > 0 && limits.cpu.quota->value.den > 0);
    Require(limits.cpu.quota->file.starts_with(limits.cpu.quota->at));
  }
  if (limits.memory.max.has_value()) Require(limits.memory.max->value < *options.mem_total);
  // What cannot be seen is told.
  if (limits.cpu.version == CgroupVersion::kNone && limits.memory.version == CgroupVersion::kNone &&
      limits.pids.version == CgroupVersion::kNone &&
      limits.cpuset.version == CgroupVersion::kNone) {
    Require(limits.trees.empty());
  }
  if (limits.cpu.version != CgroupVersion::kNone && !limits.cpu.dir.has_value()) {
    Require(HasCode(limits, "not-exposed") || HasCode(limits, "own-path-unknown"));
  }
  for (const Tree& tree : limits.trees) {
    Require(!tree.levels.empty() && tree.levels.back().dir == tree.mount_point);
    for (const Level& level : tree.levels) {
      // No path leads out of the mount.
      const std::string_view below = std::string_view(level.dir).substr(tree.mount_point.size());
      Require((std::string(below) + "/").find("/../") == std::string::npos);
    }
  }
  Require(ParseJson(ToJson(limits)).ok());
  for (const std::string& line : Report(limits)) RequirePrintable(line);
  for (const std::string& line : ReportTree(limits)) RequirePrintable(line);
}

}  // namespace
}  // namespace plimsoll::container

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  plimsoll::container::Check({reinterpret_cast<const char*>(data), size});
  return 0;
}
