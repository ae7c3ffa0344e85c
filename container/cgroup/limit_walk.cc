#include "plimsoll/container/cgroup/limit_walk.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/memory_max.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr size_t kMaxValue = 4096;  // of a file that holds one value
constexpr size_t kMaxStat = 65536;  // of memory.stat

std::string_view FirstLine(std::string_view text) { return text.substr(0, text.find('\n')); }

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// Where the controller's limits are. A path that ends in " (deleted)" is taken as it is printed
// where that directory is there, and as that of a removed cgroup where it is not.
Hierarchy ResolveLive(Files& files, std::string_view controller,
                      const std::vector<CgroupLine>& lines,
                      const std::vector<CgroupMount>& mounts) {
  Hierarchy live = Resolve(controller, lines, mounts);
  const std::optional<std::string> before = PathBeforeDeletion(live.path);
  if (!before.has_value()) return live;
  if (live.exposure == Exposure::kOwnDirectory && files.IsDirectory(live.dirs[0].c_str()) == 1) {
    return live;
  }
  std::vector<CgroupLine> renamed = lines;
  for (CgroupLine& line : renamed) {
    if (line.path == live.path) line.path = *before;
  }
  Hierarchy removed = Resolve(controller, renamed, mounts);
  removed.deleted = true;
  return removed;
}

// One controller's way up, and what was read on it.
class Walk {
 public:
  Walk(Files& files, const WalkOptions& options, DiagnosticList& diagnostics, WalkResult& result,
       std::string_view controller, Hierarchy hierarchy)
      : files_(files),
        options_(options),
        diagnostics_(diagnostics),
        result_(result),
        controller_(controller),
        hierarchy_(std::move(hierarchy)) {
    if (!hierarchy_.dirs.empty()) tree_ = FindTree();
  }

  const Hierarchy& hierarchy() const { return hierarchy_; }
  bool v2() const { return hierarchy_.version == CgroupVersion::kV2; }
  size_t levels() const { return hierarchy_.dirs.size(); }
  const std::string& dir(size_t level) const { return hierarchy_.dirs[level]; }
  std::string File(size_t level, std::string_view name) const {
    std::string path = dir(level);
    if (!path.ends_with('/')) path += '/';
    return path.append(name);
  }
  std::optional<std::string> OwnDirectory() const {
    if (hierarchy_.exposure != Exposure::kOwnDirectory) return std::nullopt;
    return dir(0);
  }

  std::string_view controller() const { return controller_; }
  // A file of our own level was there: so is its directory.
  bool read_own_level() const { return read_own_level_; }

  // The text of a level's file, or nullopt: it is missing, or reported.
  std::optional<std::string> Read(size_t level, std::string_view name) {
    FileText text =
        options_.read && name != "memory.stat"
            ? options_.read(controller_, hierarchy_, level, name)
            : ReadFile(files_, File(level, name), name == "memory.stat" ? kMaxStat : kMaxValue,
                       name == "memory.stat" ? ReadStyle::kToEnd : ReadStyle::kOneLine);
    if (text.missing()) return std::nullopt;
    if (text.error == ENODEV) result_.own_directory_vanished = true;
    if (!text.ok()) {
      diagnostics_.Add("bad-value", File(level, name), {}, {},
                       Concat("cannot be read: ", strerror(text.error), "; its limit is unknown"));
      Note(level, name, {}, strerror(text.error));
      return std::nullopt;
    }
    if (level == 0) read_own_level_ = true;
    if (text.truncated) {
      diagnostics_.Add("bad-value", File(level, name), {}, text.text, "is too long; ignored");
      Note(level, name, {}, "too long");
      return std::nullopt;
    }
    return std::move(text.text);
  }

  // Records a reading for the report and returns its number, for MarkTightest.
  void Note(size_t level, std::string_view name, std::string_view text, std::string_view note) {
    Level& shown = result_.trees[*tree_].levels[level];
    for (const Reading& reading : shown.readings) {
      if (reading.name == name) return;  // two controllers in one directory read it twice
    }
    shown.readings.push_back({.name = std::string(name),
                              .text = std::string(FirstLine(text)),
                              .note = std::string(note)});
  }

  void Bad(size_t level, std::string_view name, std::string_view text, const absl::Status& why) {
    diagnostics_.Add("bad-value", File(level, name), {}, {},
                     Concat(Message(why), "; this level is ignored"));
    Note(level, name, Quote(text), "not understood");
  }

  void MarkTightest(const std::string& at, std::string_view name) {
    for (Level& level : result_.trees[*tree_].levels) {
      for (Reading& reading : level.readings) {
        if (level.dir == at && reading.name == name) reading.tightest = true;
      }
    }
  }

  // The smallest of the files NAME that hold a number or "max". `counts` says of a number whether
  // it is a limit at all, and if not why.
  template <typename Counts>
  std::optional<Found<uint64_t>> Smallest(std::string_view name, Counts counts) {
    std::optional<Found<uint64_t>> smallest;
    for (size_t level = 0; level < levels(); ++level) {
      const std::optional<std::string> text = Read(level, name);
      if (!text.has_value()) continue;
      const absl::StatusOr<std::optional<uint64_t>> value = ParseMax(*text);
      if (!value.ok()) {
        Bad(level, name, *text, value.status());
        continue;
      }
      const std::string_view why_not = value->has_value() ? counts(**value) : std::string_view();
      Note(level, name, *text, why_not);
      if (!value->has_value() || !why_not.empty()) continue;
      if (smallest.has_value() && smallest->value <= **value) continue;
      smallest = Found<uint64_t>{.value = **value, .at = dir(level), .file = File(level, name)};
    }
    return smallest;
  }

  // v1 before Linux 5.11: a cgroup whose memory.use_hierarchy is 0 does not charge what its
  // children use, so neither its limit nor one above it holds for us ("Memory Resource Controller",
  // section 6). A minimum that comes from there is kept, since one too tight is the safer error,
  // and told. True where there was something to tell.
  bool ReportUseHierarchy(const Found<uint64_t>& found) {
    constexpr std::string_view kName = "memory.use_hierarchy";
    size_t at = 0;
    while (at < levels() && dir(at) != found.at) ++at;
    for (size_t level = 1; level <= at && level < levels(); ++level) {
      const std::optional<std::string> text = Read(level, kName);
      if (!text.has_value() || FirstLine(*text) == "1") continue;
      if (FirstLine(*text) != "0") {
        diagnostics_.Add("bad-value", File(level, kName), {}, *text, "is neither 0 nor 1; ignored");
        continue;
      }
      Note(level, kName, *text, "does not charge its children");
      diagnostics_.Add("use-hierarchy", File(level, kName), {}, FirstLine(*text),
                       Concat("means that ", found.file.substr(found.file.rfind('/') + 1), " at ",
                              Shown(found.at), ", ", FormatBytes(found.value),
                              ", does not limit this process's cgroup; it is taken all the same"));
      return true;
    }
    return false;
  }

  // A number of our own level that is told and never a limit.
  std::optional<Found<uint64_t>> Own(std::string_view name) {
    if (levels() == 0 || hierarchy_.exposure != Exposure::kOwnDirectory) return std::nullopt;
    const std::optional<std::string> text = Read(0, name);
    if (!text.has_value()) return std::nullopt;
    const absl::StatusOr<std::optional<uint64_t>> value = ParseMax(*text);
    if (!value.ok()) {
      Bad(0, name, *text, value.status());
      return std::nullopt;
    }
    if (!value->has_value()) return std::nullopt;
    return Found<uint64_t>{.value = **value, .at = dir(0), .file = File(0, name)};
  }

 private:
  // The tree with these directories, made if need be: controllers of one hierarchy share it.
  size_t FindTree() {
    for (size_t i = 0; i < result_.trees.size(); ++i) {
      Tree& tree = result_.trees[i];
      if (tree.version == hierarchy_.version && tree.levels.size() == levels() &&
          tree.mount_point == hierarchy_.mount_point && tree.levels[0].dir == dir(0)) {
        tree.controllers += Concat(",", controller_);
        return i;
      }
    }
    Tree tree{.version = hierarchy_.version,
              .controllers = std::string(controller_),
              .path = hierarchy_.path,
              .mount_point = hierarchy_.mount_point,
              .mount_root = hierarchy_.mount_root,
              .own_directory_known = hierarchy_.exposure == Exposure::kOwnDirectory};
    for (const std::string& dir : hierarchy_.dirs) tree.levels.push_back({.dir = dir});
    result_.trees.push_back(std::move(tree));
    return result_.trees.size() - 1;
  }

  Files& files_;
  const WalkOptions& options_;
  DiagnosticList& diagnostics_;
  WalkResult& result_;
  const std::string_view controller_;
  const Hierarchy hierarchy_;
  std::optional<size_t> tree_;  // index into result_.trees; set when there are levels
  bool read_own_level_ = false;
};

// The quota of one level of v1. nullopt: none, or not understood.
std::optional<CpuMax> ReadCfs(Walk& walk, size_t level) {
  constexpr std::string_view kQuota = "cpu.cfs_quota_us";
  constexpr std::string_view kPeriod = "cpu.cfs_period_us";
  const std::optional<std::string> quota_text = walk.Read(level, kQuota);
  if (!quota_text.has_value()) return std::nullopt;
  const absl::StatusOr<int64_t> quota = ParseCfsQuota(*quota_text);
  if (!quota.ok()) {
    walk.Bad(level, kQuota, *quota_text, quota.status());
    return std::nullopt;
  }
  walk.Note(level, kQuota, *quota_text, {});
  if (*quota == 0) return std::nullopt;
  const std::optional<std::string> period_text = walk.Read(level, kPeriod);
  const absl::StatusOr<int64_t> period =
      period_text.has_value()
          ? ParseCfsPeriod(*period_text)
          : absl::StatusOr<int64_t>(absl::NotFoundError("is missing beside a quota"));
  if (!period.ok()) {
    walk.Bad(level, kPeriod, period_text.value_or(""), period.status());
    return std::nullopt;
  }
  walk.Note(level, kPeriod, *period_text, {});
  return CpuMax{.quota_us = *quota, .period_us = *period};
}

std::optional<CpuMax> ReadCpuMax(Walk& walk, size_t level) {
  constexpr std::string_view kName = "cpu.max";
  const std::optional<std::string> text = walk.Read(level, kName);
  if (!text.has_value()) return std::nullopt;
  const absl::StatusOr<CpuMax> max = ParseCpuMax(*text);
  if (!max.ok()) {
    walk.Bad(level, kName, *text, max.status());
    return std::nullopt;
  }
  walk.Note(level, kName, *text, {});
  return *max;
}

void WalkCpu(Walk& walk, CpuLimits& cpu) {
  const std::string_view name = walk.v2() ? "cpu.max" : "cpu.cfs_quota_us";
  cpu.version = walk.hierarchy().version;
  cpu.dir = walk.OwnDirectory();
  for (size_t level = 0; level < walk.levels(); ++level) {
    const std::optional<CpuMax> max = walk.v2() ? ReadCpuMax(walk, level) : ReadCfs(walk, level);
    if (!max.has_value()) continue;
    const std::optional<Fraction> cpus = max->Cpus();
    if (!cpus.has_value() || (cpu.quota.has_value() && cpu.quota->value <= *cpus)) continue;
    cpu.quota =
        Found<Fraction>{.value = *cpus, .at = walk.dir(level), .file = walk.File(level, name)};
    cpu.period_us =
        Found<int64_t>{.value = max->period_us,
                       .at = walk.dir(level),
                       .file = walk.File(level, walk.v2() ? "cpu.max" : "cpu.cfs_period_us")};
  }
  if (cpu.quota.has_value()) walk.MarkTightest(cpu.quota->at, name);
  cpu.burst_us = walk.Own(walk.v2() ? "cpu.max.burst" : "cpu.cfs_burst_us");
  cpu.weight = walk.Own(walk.v2() ? "cpu.weight" : "cpu.shares");
}

// v1 counts a limit that is set above the mount point in the leaf's memory.stat, and only there.
void AddHierarchicalLimit(Walk& walk, const WalkOptions& options, MemoryLimits& memory) {
  constexpr std::string_view kName = "memory.stat";
  constexpr std::string_view kKey = "hierarchical_memory_limit";
  if (walk.levels() == 0) return;
  const std::optional<std::string> text = walk.Read(0, kName);
  if (!text.has_value()) return;
  const absl::StatusOr<std::optional<uint64_t>> limit = ParseStatLine(*text, kKey);
  if (!limit.ok()) {
    walk.Bad(0, kName, *text, limit.status());
    return;
  }
  if (!limit->has_value() || IsUnlimited(**limit, options.page_size) ||
      (options.mem_total != 0 && **limit >= options.mem_total)) {
    return;
  }
  if (memory.max.has_value() && memory.max->value <= **limit) return;
  walk.Note(0, kName, Concat(kKey, " ", **limit), {});
  memory.max = Found<uint64_t>{.value = **limit, .at = walk.dir(0), .file = walk.File(0, kName)};
}

void WalkMemory(Walk& walk, const WalkOptions& options, MemoryLimits& memory) {
  memory.version = walk.hierarchy().version;
  memory.dir = walk.OwnDirectory();
  const auto counts = [&options](uint64_t bytes) -> std::string_view {
    if (IsUnlimited(bytes, options.page_size)) return "no limit";
    if (options.mem_total != 0 && bytes >= options.mem_total)
      return "not below the machine's memory";
    return {};
  };
  memory.max = walk.Smallest(walk.v2() ? "memory.max" : "memory.limit_in_bytes", counts);
  if (walk.v2()) {
    memory.high = walk.Smallest("memory.high", counts);
    memory.swap_max = walk.Smallest("memory.swap.max", counts);
  } else {
    AddHierarchicalLimit(walk, options, memory);
    memory.swap_max = walk.Smallest("memory.memsw.limit_in_bytes", counts);
    for (const auto* found : {&memory.max, &memory.swap_max}) {
      // One line is enough where both come from above.
      if (found->has_value() && walk.ReportUseHierarchy(**found)) break;
    }
  }
  for (const auto* found : {&memory.max, &memory.high, &memory.swap_max}) {
    if (!found->has_value()) continue;
    walk.MarkTightest((*found)->at, (*found)->file.substr((*found)->file.rfind('/') + 1));
  }
}

void WalkPids(Walk& walk, PidsLimits& pids) {
  pids.version = walk.hierarchy().version;
  pids.max = walk.Smallest("pids.max", [](uint64_t) { return std::string_view(); });
  if (pids.max.has_value()) walk.MarkTightest(pids.max->at, "pids.max");
}

// "0-3,8", as "List format" in cpuset(7).
bool IsCpuList(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789,-") == std::string_view::npos;
}

// The affinity mask already heeds the cpuset, so this one is for the reader of the report, and what
// is no list of CPUs hides no limit.
void WalkCpuset(Walk& walk, CpusetLimits& cpuset) {
  cpuset.version = walk.hierarchy().version;
  constexpr std::string_view kV1[] = {"cpuset.effective_cpus", "cpuset.cpus"};
  constexpr std::string_view kV2[] = {"cpuset.cpus.effective"};
  for (size_t level = 0; level < walk.levels(); ++level) {
    const std::string_view* names = walk.v2() ? kV2 : kV1;
    for (size_t i = 0; i < (walk.v2() ? std::size(kV2) : std::size(kV1)); ++i) {
      const std::optional<std::string> text = walk.Read(level, names[i]);
      if (!text.has_value() || FirstLine(*text).empty()) continue;
      if (!IsCpuList(FirstLine(*text))) {
        walk.Note(level, names[i], Quote(*text), "not understood");
        continue;
      }
      walk.Note(level, names[i], *text, {});
      cpuset.cpus = Found<std::string>{.value = std::string(FirstLine(*text)),
                                       .at = walk.dir(level),
                                       .file = walk.File(level, names[i])};
      return;
    }
  }
}

// Says why nothing, or not everything, can be known: once for all the controllers it is true of.
void ReportExposure(Files& files, std::span<const Walk* const> walks, WalkResult& result,
                    DiagnosticList& diagnostics) {
  constexpr std::string_view kSelf = "/proc/self/cgroup";
  const auto same = [](const Hierarchy& a, const Hierarchy& b) {
    return a.version == b.version && a.exposure == b.exposure && a.path == b.path &&
           a.dirs == b.dirs && a.mount_root == b.mount_root;
  };
  for (size_t i = 0; i < walks.size(); ++i) {
    const Hierarchy& here = walks[i]->hierarchy();
    std::string controllers;
    bool first = true, read_own_level = false;
    for (size_t other = 0; other < walks.size(); ++other) {
      if (!same(walks[other]->hierarchy(), here)) continue;
      if (other < i) first = false;
      if (!controllers.empty()) controllers += ',';
      controllers += walks[other]->controller();
      read_own_level = read_own_level || walks[other]->read_own_level();
    }
    if (!first) continue;
    if (here.deleted) {
      diagnostics.Add("deleted", kSelf, controllers, here.path,
                      "was removed; the limits of the levels above still hold");
    }
    if (here.exposure == Exposure::kNotExposed) {
      diagnostics.Add("not-exposed", kSelf, controllers, here.path,
                      "is not below any mounted cgroup directory; its limits cannot be seen");
    } else if (here.exposure == Exposure::kOwnPathUnknown) {
      diagnostics.Add(
          "own-path-unknown", kSelf, controllers, here.path,
          Concat("lies at an unknown place below ", Shown(here.mount_point), " (mount root ",
                 Quote(here.mount_root), "); only the limits of the mount point are known"));
    } else if (here.exposure == Exposure::kOwnDirectory && !here.deleted && !read_own_level) {
      const int there = files.IsDirectory(here.dirs[0].c_str());
      if (there == 1) continue;
      result.own_directory_vanished = true;
      diagnostics.Add("own-path-unknown", here.dirs[0], controllers, {},
                      Concat("is this process's cgroup, and cannot be opened: ", strerror(-there)));
    }
  }
}

}  // namespace

std::optional<Found<uint64_t>> MemoryLimits::Tightest() const {
  if (!max.has_value()) return high;
  if (!high.has_value() || max->value <= high->value) return max;
  return high;
}

WalkResult WalkLimits(Files& files, const std::vector<CgroupLine>& lines,
                      const std::vector<CgroupMount>& mounts, const WalkOptions& options,
                      DiagnosticList& diagnostics) {
  WalkResult result;
  const auto walk = [&](std::string_view controller) {
    return Walk(files, options, diagnostics, result, controller,
                ResolveLive(files, controller, lines, mounts));
  };
  Walk cpu = walk("cpu");
  WalkCpu(cpu, result.cpu);
  Walk memory = walk("memory");
  WalkMemory(memory, options, result.memory);
  Walk pids = walk("pids");
  WalkPids(pids, result.pids);
  Walk cpuset = walk("cpuset");
  WalkCpuset(cpuset, result.cpuset);
  // Of the cpuset nothing is hidden: the affinity mask heeds it.
  const Walk* const walks[] = {&cpu, &memory, &pids};
  ReportExposure(files, walks, result, diagnostics);
  return result;
}

}  // namespace plimsoll::container
