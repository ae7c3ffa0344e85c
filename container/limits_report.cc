#include "plimsoll/container/limits_report.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/limits.h"

namespace plimsoll::container {
namespace {

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// "at DIR (FILE), 2 levels above our own". A hierarchical limit of v1 is seen here and set above.
template <typename T>
std::string Where(const Limits& limits, const Found<T>& found) {
  std::string where = Concat("at ", Shown(found.at), " (", BaseName(found.file), ")");
  if (BaseName(found.file) == "memory.stat")
    return where + ", set by a level above that is not mounted";
  for (const Tree& tree : limits.trees) {
    if (tree.levels.empty()) continue;
    for (size_t i = 0; i < tree.levels.size(); ++i) {
      if (tree.levels[i].dir != found.at) continue;
      if (!tree.own_directory_known) return where + ", an unknown number of levels above our own";
      if (i == 0) return where + ", our own level";
      return where + Concat(", ", i, i == 1 ? " level" : " levels", " above our own");
    }
  }
  return where;
}

std::string CgroupLineOf(const Limits& limits) {
  const auto side = [](std::string_view name, CgroupVersion version,
                       const std::optional<std::string>& dir) {
    if (version == CgroupVersion::kNone) return Concat("no ", name, " cgroup");
    return Concat(name, " by cgroup ", ToString(version), ", own directory ",
                  dir.has_value() ? Shown(*dir) : std::string("unknown"));
  };
  if (limits.cpu.version == limits.memory.version && limits.cpu.dir == limits.memory.dir) {
    return side("CPU and memory", limits.cpu.version, limits.cpu.dir);
  }
  return Concat(side("CPU", limits.cpu.version, limits.cpu.dir), "; ",
                side("memory", limits.memory.version, limits.memory.dir));
}

std::string Ignored(const Diagnostic& diagnostic) {
  return Concat("ignored [", diagnostic.code, "] ", diagnostic.text);
}

}  // namespace

std::vector<std::string> Report(const Limits& limits) {
  std::vector<std::string> lines{CgroupLineOf(limits)};
  if (limits.cpu.quota.has_value()) {
    std::string line =
        Concat("quota ", FormatFraction(limits.cpu.quota->value.num, limits.cpu.quota->value.den),
               " CPUs ", Where(limits, *limits.cpu.quota));
    if (limits.cpu.period_us.has_value()) {
      line += Concat(", period ", FormatFraction(limits.cpu.period_us->value, 1000), " ms");
    }
    lines.push_back(std::move(line));
  } else {
    lines.push_back("no CPU quota found");
  }
  lines.push_back(Concat("P = ", limits.procs.value, " (", limits.procs.reason, ")"));
  if (limits.memory.max.has_value()) {
    lines.push_back(Concat("memory limit ", FormatBytes(limits.memory.max->value), " ",
                           Where(limits, *limits.memory.max)));
  } else {
    lines.push_back("no memory limit found");
  }
  if (limits.memory.high.has_value()) {
    lines.push_back(Concat("memory throttled above ", FormatBytes(limits.memory.high->value), " ",
                           Where(limits, *limits.memory.high)));
  }
  if (limits.mem_limit.source == Source::kExplicit ||
      limits.mem_limit.source == Source::kEnvironment) {
    lines.push_back(Concat("heap limit ",
                           limits.mem_limit.value.has_value() ? FormatBytes(*limits.mem_limit.value)
                                                              : std::string("off"),
                           " (", limits.mem_limit.reason, ")"));
  }
  if (limits.pids.max.has_value()) {
    lines.push_back(
        Concat("at most ", limits.pids.max->value, " tasks ", Where(limits, *limits.pids.max)));
  }
  if (limits.cpuset.cpus.has_value()) {
    lines.push_back(
        Concat("cpuset ", limits.cpuset.cpus->value, " ", Where(limits, *limits.cpuset.cpus)));
  }
  for (const Diagnostic& diagnostic : limits.diagnostics) lines.push_back(Ignored(diagnostic));
  return lines;
}

std::vector<std::string> ReportEnvironment(const Limits& limits) {
  std::vector<std::string> lines;
  for (const Diagnostic& diagnostic : limits.diagnostics) {
    if (diagnostic.code == "environment") lines.push_back(Ignored(diagnostic));
  }
  return lines;
}

std::vector<std::string> ReportTree(const Limits& limits) {
  std::vector<std::string> lines;
  for (const Tree& tree : limits.trees) {
    lines.push_back(Concat("cgroup ", ToString(tree.version), " [", tree.controllers,
                           "] mounted at ", Shown(tree.mount_point), " (root ",
                           Shown(tree.mount_root), "), this process in ", Shown(tree.path)));
    std::string indent = "  ";
    for (size_t i = tree.levels.size(); i-- > 0;) {
      const Level& level = tree.levels[i];
      const bool own = i == 0 && tree.own_directory_known;
      const std::string_view name =
          i + 1 == tree.levels.size() ? std::string_view(level.dir) : BaseName(level.dir);
      lines.push_back(Concat(indent, Shown(name), own ? "  (own)" : ""));
      for (const Reading& reading : level.readings) {
        std::string line = Concat(indent, "  ", reading.tightest ? "* " : "  ", reading.name);
        line.resize(std::max(line.size(), indent.size() + 32), ' ');
        line += Concat(" ", ShownValue(reading.text));
        if (!reading.note.empty()) line += Concat("  (", reading.note, ")");
        lines.push_back(std::move(line));
      }
      indent += "  ";
    }
  }
  return lines;
}

}  // namespace plimsoll::container
