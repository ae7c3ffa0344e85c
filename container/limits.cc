#include "plimsoll/container/limits.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/cpu_max.h"
#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"
#include "plimsoll/container/cgroup/limit_walk.h"
#include "plimsoll/container/cgroup/mountinfo.h"
#include "plimsoll/container/cgroup/resolver.h"
#include "plimsoll/container/cgroup/self_cgroup.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/go_env.h"
#include "plimsoll/container/system.h"

namespace plimsoll::container {
namespace {

constexpr char kSelfCgroup[] = "/proc/self/cgroup";
constexpr char kMountinfo[] = "/proc/self/mountinfo";
constexpr size_t kMaxValue = 4096;  // of a file that holds one value
constexpr size_t kMaxSelfCgroup = size_t{1} << 20;
constexpr size_t kMaxMountinfo = size_t{256} << 20;  // 100,000 mounts of 2.6 KiB

void ReportUnreadable(const char* path, int error, DiagnosticList& diagnostics) {
  diagnostics.Add("not-exposed", path, {}, {},
                  Concat("cannot be read: ", strerror(error), "; the cgroup's limits are unknown"));
}

void ReportTooLong(std::string_view code, const char* path, size_t limit,
                   DiagnosticList& diagnostics) {
  diagnostics.Add(code, path, {}, {},
                  Concat("is longer than ", limit, " bytes; the rest is ignored"));
}

// The text of /proc/self/cgroup, which is never empty; "" if there is none.
std::string ReadSelfCgroup(Files& files, DiagnosticList& diagnostics) {
  FileText text = ReadFile(files, kSelfCgroup, kMaxSelfCgroup, ReadStyle::kToEnd);
  if (!text.ok()) {
    ReportUnreadable(kSelfCgroup, text.error, diagnostics);
    return {};
  }
  if (text.truncated) ReportTooLong("cgroup-line", kSelfCgroup, kMaxSelfCgroup, diagnostics);
  if (text.text.empty()) {
    diagnostics.Add("not-exposed", kSelfCgroup, {}, {},
                    "is empty and names no cgroup; only the affinity mask limits the CPUs");
  }
  return std::move(text.text);
}

// The cgroup mounts. The file is read in pieces: a host with many containers has many kilobytes of
// overlay directories in each of thousands of lines, and none of it is needed twice.
std::vector<CgroupMount> ReadMountinfo(Files& files, DiagnosticList& diagnostics) {
  const int handle = files.Open(kMountinfo);
  if (handle < 0) {
    ReportUnreadable(kMountinfo, -handle, diagnostics);
    return {};
  }
  MountinfoParser parser(diagnostics);
  std::string buffer(size_t{32} << 10, '\0');
  size_t size = 0;
  int64_t got = 0;
  while (size < kMaxMountinfo) {
    got = files.ReadAt(handle, buffer.data(), buffer.size(), static_cast<int64_t>(size));
    if (got <= 0) break;
    parser.Feed(std::string_view(buffer).substr(0, static_cast<size_t>(got)));
    size += static_cast<size_t>(got);
  }
  files.Close(handle);
  if (got < 0) {
    // Half a table may lack what covers the other half.
    ReportUnreadable(kMountinfo, static_cast<int>(-got), diagnostics);
    return {};
  }
  if (got > 0) ReportTooLong("mountinfo-line", kMountinfo, size, diagnostics);
  return parser.Finish();
}

std::optional<std::string> ProcessEnvironment(const char* name) {
  const char* value = getenv(name);
  if (value == nullptr) return std::nullopt;
  return value;
}

class Detector {
 public:
  explicit Detector(const DetectOptions& options)
      : options_(options),
        own_files_(options.root),
        files_(options.files != nullptr ? *options.files : own_files_) {}

  Limits Run() {
    limits_.affinity = options_.affinity.value_or(0);
    if (limits_.affinity <= 0) limits_.affinity = AffinityCount();
    limits_.page_size = options_.page_size.value_or(0);
    if (limits_.page_size == 0) limits_.page_size = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    limits_.mem_total = options_.mem_total.has_value()
                            ? *options_.mem_total
                            : MemTotal(files_, options_.files == nullptr && options_.root == "/");
    WalkCgroups();
    ChooseProcs();
    ChooseMemLimit();
    limits_.diagnostics = diagnostics_.Take();
    return std::move(limits_);
  }

 private:
  absl::StatusOr<LibcgroupTree> OpenLibcgroup() const {
    if (!options_.use_libcgroup.value_or(options_.root == "/" && options_.files == nullptr)) {
      return absl::UnimplementedError("switched off");
    }
    return LibcgroupTree::Open();
  }

  // The first line of a level's file by libcgroup, and by our own reader where that cannot serve.
  FileText ReadThroughLibcgroup(const LibcgroupTree& tree, std::string_view controller,
                                const Hierarchy& hierarchy, size_t level, std::string_view name) {
    std::string_view relative = hierarchy.dirs[level];
    if (tree.Serves(controller, hierarchy.version, hierarchy.mount_point)) {
      relative.remove_prefix(hierarchy.mount_point.size());
      while (relative.starts_with('/')) relative.remove_prefix(1);
      std::optional<FileText> text =
          tree.ReadLine(controller, hierarchy.mount_point, relative, name);
      if (text.has_value()) {
        limits_.used_libcgroup = true;
        return *std::move(text);
      }
    }
    return ReadFile(files_, Concat(hierarchy.dirs[level], "/", name), kMaxValue,
                    ReadStyle::kOneLine);
  }

  void WalkCgroups() {
    WalkOptions walk_options{.mem_total = limits_.mem_total, .page_size = limits_.page_size};
    const absl::StatusOr<LibcgroupTree> tree = OpenLibcgroup();
    if (tree.ok()) {
      walk_options.read = [this, &tree](std::string_view controller, const Hierarchy& hierarchy,
                                        size_t level, std::string_view name) {
        return ReadThroughLibcgroup(*tree, controller, hierarchy, level, name);
      };
    }
    // The process may be moved between reading where it lives and reading the limits there. Then
    // its directory is gone, and looking again finds the new one; thrice, lest it never ends.
    for (int attempt = 0;; ++attempt) {
      DiagnosticList diagnostics;
      const std::string self = ReadSelfCgroup(files_, diagnostics);
      const std::vector<CgroupMount> mounts = ReadMountinfo(files_, diagnostics);
      const std::vector<CgroupLine> lines = ParseSelfCgroup(self, diagnostics);
      if (lines.empty() && !self.empty()) {
        diagnostics.Add("not-exposed", kSelfCgroup, {}, {},
                        "names no cgroup that can be understood; only the affinity mask limits the "
                        "CPUs");
      }
      WalkResult walked = WalkLimits(files_, lines, mounts, walk_options, diagnostics);
      if (walked.own_directory_vanished && attempt < 2 &&
          ReadFile(files_, kSelfCgroup, kMaxSelfCgroup, ReadStyle::kToEnd).text != self) {
        continue;
      }
      limits_.cpu = std::move(walked.cpu);
      limits_.memory = std::move(walked.memory);
      limits_.pids = std::move(walked.pids);
      limits_.cpuset = std::move(walked.cpuset);
      limits_.trees = std::move(walked.trees);
      diagnostics_ = std::move(diagnostics);
      break;
    }
    if (!tree.ok() && tree.status().code() != absl::StatusCode::kUnimplemented &&
        tree.status().code() != absl::StatusCode::kNotFound) {
      diagnostics_.Add(
          "library", "libcgroup", {}, {},
          Concat("was not used: ", std::string(tree.status().message()), "; our own reader was"));
    }
    if (limits_.memory.max.has_value()) {
      const uint64_t max = limits_.memory.max->value;
      limits_.heap_90pct = max / 10 * 9 + max % 10 * 9 / 10;
    }
  }

  std::optional<std::string> Environment(const char* name) const {
    std::optional<std::string> value =
        options_.environment ? options_.environment(name) : ProcessEnvironment(name);
    if (value.has_value() && value->empty()) return std::nullopt;
    return value;
  }

  void ChooseProcs() {
    std::optional<Fraction> quota;
    if (limits_.cpu.quota.has_value()) quota = limits_.cpu.quota->value;
    limits_.procs_ceil_min2 = kGoRule.Procs(quota, limits_.affinity);
    limits_.procs_floor_min1 = kAutomaxprocsRule.Procs(quota, limits_.affinity);

    ProcsChoice& choice = limits_.procs;
    if (options_.procs.has_value()) {
      if (*options_.procs > 0) {
        choice = {*options_.procs, Source::kExplicit, "set by the program"};
        return;
      }
      diagnostics_.Add("environment", "procs", {}, Concat(*options_.procs),
                       "is not a positive number; ignored");
    }
    if (const std::optional<std::string> text = Environment("GOMAXPROCS")) {
      const absl::StatusOr<int> procs = ParseGoMaxProcs(*text);
      if (procs.ok()) {
        choice = {*procs, Source::kEnvironment, "GOMAXPROCS in the environment"};
        return;
      }
      diagnostics_.Add("environment", "GOMAXPROCS", {}, {},
                       Concat(std::string(procs.status().message()), "; ignored"));
    }
    choice.value = options_.rule.Procs(quota, limits_.affinity);
    const std::string cpus = Concat(limits_.affinity, limits_.affinity == 1 ? " CPU" : " CPUs");
    if (quota.has_value()) {
      choice.source = Source::kCgroup;
      choice.reason = Concat("quota ", FormatFraction(quota->num, quota->den), " CPUs ",
                             options_.rule.Describe(), "; affinity mask of ", cpus);
    } else {
      choice.source = Source::kAffinity;
      choice.reason = Concat("no quota; affinity mask of ", cpus);
      if (choice.value != limits_.affinity) choice.reason += Concat(" ", options_.rule.Describe());
    }
  }

  void ChooseMemLimit() {
    MemoryChoice& choice = limits_.mem_limit;
    const auto chosen = [](int64_t bytes) -> std::optional<uint64_t> {
      if (bytes == kNoMemLimit) return std::nullopt;
      return static_cast<uint64_t>(bytes);
    };
    if (options_.mem_limit.has_value()) {
      if (*options_.mem_limit >= 0) {
        choice = {chosen(*options_.mem_limit), Source::kExplicit, "set by the program"};
        return;
      }
      diagnostics_.Add("environment", "mem_limit", {}, Concat(*options_.mem_limit),
                       "is negative; ignored");
    }
    if (const std::optional<std::string> text = Environment("GOMEMLIMIT")) {
      const absl::StatusOr<int64_t> bytes = ParseGoMemLimit(*text);
      if (bytes.ok()) {
        choice = {chosen(*bytes), Source::kEnvironment, "GOMEMLIMIT in the environment"};
        return;
      }
      diagnostics_.Add("environment", "GOMEMLIMIT", {}, {},
                       Concat(std::string(bytes.status().message()), "; ignored"));
    }
    const std::optional<Found<uint64_t>> tightest = limits_.memory.Tightest();
    if (tightest.has_value()) {
      choice = {tightest->value, Source::kCgroup, tightest->file};
    } else {
      choice.reason = "no limit found";
    }
  }

  const DetectOptions& options_;
  SystemFiles own_files_;
  Files& files_;
  DiagnosticList diagnostics_;
  Limits limits_;
};

}  // namespace

std::string_view ToString(Source source) {
  switch (source) {
    case Source::kExplicit:
      return "explicit";
    case Source::kEnvironment:
      return "environment";
    case Source::kCgroup:
      return "cgroup";
    case Source::kAffinity:
      return "affinity";
    case Source::kNone:
      break;
  }
  return "none";
}

bool Limits::SameLimits(const Limits& other) const {
  return cpu == other.cpu && memory == other.memory && pids == other.pids &&
         cpuset == other.cpuset && affinity == other.affinity && mem_total == other.mem_total &&
         procs == other.procs && mem_limit == other.mem_limit;
}

Limits Detect(const DetectOptions& options) { return Detector(options).Run(); }

}  // namespace plimsoll::container
