#include "plimsoll/tools/plimsoll/peers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/mountinfo.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::tools {
namespace {

using container::Concat;
using container::Files;
using container::FileText;
using container::ReadFile;
using container::ReadStyle;

constexpr char kSelfCgroup[] = "/proc/self/cgroup";
constexpr char kMountinfo[] = "/proc/self/mountinfo";
constexpr size_t kMaxFile = size_t{32} << 20;

// strings.SplitN: at most `limit` pieces, empty ones kept.
std::vector<std::string_view> SplitN(std::string_view text, char separator, size_t limit) {
  std::vector<std::string_view> pieces;
  while (pieces.size() + 1 < limit) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    pieces.push_back(text.substr(0, at));
    text.remove_prefix(at + 1);
  }
  pieces.push_back(text);
  return pieces;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  return SplitN(text, separator, SIZE_MAX);
}

// strconv.Atoi: an optional sign and digits.
std::optional<int64_t> Atoi(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  uint64_t number = 0;
  if (!container::ParseDigits(text, &number) || number > INT64_MAX) return std::nullopt;
  return negative ? -static_cast<int64_t>(number) : static_cast<int64_t>(number);
}

// bufio.Scanner: lines without their ends; nullopt when one is too long for it.
std::optional<std::vector<std::string_view>> ScanLines(std::string_view text) {
  constexpr size_t kMaxToken = 64 * 1024;
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end >= kMaxToken) return std::nullopt;
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back(line);
  }
  return lines;
}

// The first of these.
std::string_view FirstLine(std::string_view text) {
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

// filepath.Clean of an absolute path: "." and empty components go, ".." takes one off.
std::string Clean(std::string_view path) {
  std::vector<std::string_view> kept;
  for (const std::string_view component : Split(path, '/')) {
    if (component.empty() || component == ".") continue;
    if (component != "..") {
      kept.push_back(component);
    } else if (!kept.empty()) {
      kept.pop_back();
    }
  }
  std::string clean;
  for (const std::string_view component : kept) clean += Concat("/", component);
  return clean.empty() ? "/" : clean;
}

// ------------------------------------------------------------------------- automaxprocs 1.6.0

class Automaxprocs {
 public:
  explicit Automaxprocs(Files& files) : files_(files) {}

  AutomaxprocsChoice Choose() {
    using Kind = AutomaxprocsChoice::Kind;
    const FileText mountinfo = ReadFile(files_, kMountinfo, kMaxFile, ReadStyle::kToEnd);
    const FileText self = ReadFile(files_, kSelfCgroup, kMaxFile, ReadStyle::kToEnd);
    // Every file is read before anything is decided, and any bad line in either ends it.
    if (!mountinfo.ok() || !ParseMounts(mountinfo.text)) return {Kind::kError};
    const bool v2 = std::any_of(mounts_.begin(), mounts_.end(), [](const Mount& mount) {
      return mount.type == "cgroup2" && mount.point == "/sys/fs/cgroup";
    });
    if (!self.ok() || !ParseSelf(self.text)) return {Kind::kError};
    const auto line = std::find_if(subsystems_.begin(), subsystems_.end(),
                                   [](const auto& entry) { return entry.second.id == 0; });
    const std::optional<double> quota =
        v2 && line != subsystems_.end() ? QuotaV2(line->second.path) : QuotaV1();
    if (failed_) return {Kind::kError};
    if (!quota.has_value()) return {Kind::kUnchanged};
    const double floor = std::clamp(std::floor(*quota), 1.0, 2147483647.0);
    return {Kind::kValue, static_cast<int>(floor)};
  }

 private:
  struct Mount {
    std::string root, point, type;
    std::vector<std::string_view> options;
  };
  struct Subsystem {
    int64_t id = 0;
    std::string path;
  };

  bool ParseMounts(std::string_view text) {
    const auto lines = ScanLines(text);
    if (!lines.has_value()) return false;
    for (const std::string_view line : *lines) {
      const std::vector<std::string_view> fields = Split(line, ' ');
      if (fields.size() < 10 || !Atoi(fields[0]) || !Atoi(fields[1])) return false;
      const auto dash = std::find(fields.begin() + 6, fields.end(), "-");
      if (dash == fields.end()) return false;
      const size_t type = static_cast<size_t>(dash - fields.begin()) + 1;
      const std::vector<std::string_view> again = SplitN(line, ' ', type + 3);
      if (again.size() != type + 3) return false;
      mounts_.push_back({std::string(again[3]), std::string(again[4]), std::string(again[type]),
                         Split(again[type + 2], ',')});
    }
    return true;
  }

  bool ParseSelf(std::string_view text) {
    const auto lines = ScanLines(text);
    if (!lines.has_value()) return false;
    for (const std::string_view line : *lines) {
      const std::vector<std::string_view> fields = SplitN(line, ':', 3);
      if (fields.size() != 3) return false;
      const std::optional<int64_t> id = Atoi(fields[0]);
      if (!id.has_value()) return false;
      for (const std::string_view name : Split(fields[1], ',')) {
        subsystems_[std::string(name)] = {*id, std::string(fields[2])};
      }
    }
    return true;
  }

  std::optional<double> QuotaV2(const std::string& path) {
    const FileText text = ReadFile(files_, Clean(Concat("/sys/fs/cgroup/", path, "/cpu.max")),
                                   65536, ReadStyle::kToEnd);
    if (text.missing()) return std::nullopt;
    if (!text.ok() || text.text.empty()) return Fail();
    std::vector<std::string_view> fields;
    for (const std::string_view field : Split(FirstLine(text.text), ' ')) {
      if (!field.empty()) fields.push_back(field);
    }
    if (fields.empty() || fields.size() > 2) return Fail();
    if (fields[0] == "max") return std::nullopt;
    const std::optional<int64_t> quota = Atoi(fields[0]);
    const std::optional<int64_t> period = fields.size() == 2 ? Atoi(fields[1]) : 100000;
    if (!quota.has_value() || period.value_or(0) == 0) return Fail();
    return static_cast<double>(*quota) / static_cast<double>(*period);
  }

  std::optional<double> QuotaV1() {
    std::optional<std::string> directory;
    for (const Mount& mount : mounts_) {
      if (mount.type != "cgroup") continue;
      for (const std::string_view option : mount.options) {
        const auto subsystem = subsystems_.find(std::string(option));
        if (subsystem == subsystems_.end()) continue;
        const std::string root = Clean(mount.root);
        const std::string path = Clean(subsystem->second.path);
        // A path that is not below the root of any one mount, a cpuset's say, ends it all.
        if (root != "/" && path != root && !path.starts_with(root + "/")) return Fail();
        if (option != "cpu") continue;
        directory = Clean(Concat(mount.point, "/", root == "/" ? path : path.substr(root.size())));
      }
    }
    if (!directory.has_value()) return std::nullopt;
    const std::optional<int64_t> quota = ReadInt(*directory + "/cpu.cfs_quota_us");
    if (failed_ || quota.value_or(0) <= 0) return std::nullopt;
    const std::optional<int64_t> period = ReadInt(*directory + "/cpu.cfs_period_us");
    if (failed_ || period.value_or(0) <= 0) return std::nullopt;
    return static_cast<double>(*quota) / static_cast<double>(*period);
  }

  std::optional<int64_t> ReadInt(const std::string& path) {
    const FileText text = ReadFile(files_, path, 65536, ReadStyle::kToEnd);
    if (!text.ok() || text.text.empty()) {
      failed_ = true;
      return std::nullopt;
    }
    const std::optional<int64_t> number = Atoi(FirstLine(text.text));
    if (!number.has_value()) failed_ = true;
    return number;
  }

  std::optional<double> Fail() {
    failed_ = true;
    return std::nullopt;
  }

  Files& files_;
  std::vector<Mount> mounts_;
  std::map<std::string, Subsystem> subsystems_;
  bool failed_ = false;
};

// ------------------------------------------------------------------------------------------ Go

// The two releases differ in how the directory is found; the value is read alike.
class Go {
 public:
  Go(Files& files, bool heeds_root) : files_(files), heeds_root_(heeds_root) {}

  int Choose(int affinity) {
    const std::optional<double> quota = Quota();
    if (!quota.has_value()) return affinity;
    const double procs = std::ceil(*quota);
    // The conversion to 32 bits of what does not fit, infinity and NaN too, is the least number
    // there is on x86-64; Go takes it for a small quota and ends: "procresize: invalid arg".
    if (!(procs <= std::numeric_limits<int32_t>::max())) return kGoEnds;
    return std::min(affinity, static_cast<int>(std::max(2.0, procs)));
  }

 private:
  std::optional<double> Quota() {
    const FileText self = ReadFile(files_, kSelfCgroup, kMaxFile, ReadStyle::kToEnd);
    const FileText mountinfo = ReadFile(files_, kMountinfo, kMaxFile, ReadStyle::kToEnd);
    if (!self.ok() || !mountinfo.ok() || !FindPath(self.text)) return std::nullopt;
    const std::optional<std::string> directory = FindDirectory(mountinfo.text);
    if (!directory.has_value()) return std::nullopt;
    if (v1_) {
      const std::optional<int64_t> quota = ReadV1(*directory + "/cpu.cfs_quota_us");
      const std::optional<int64_t> period = ReadV1(*directory + "/cpu.cfs_period_us");
      if (!quota.has_value() || *quota < 0 || !period.has_value()) return std::nullopt;
      return static_cast<double>(*quota) / static_cast<double>(*period);
    }
    const FileText text = ReadFile(files_, *directory + "/cpu.max", 65536, ReadStyle::kToEnd);
    if (!text.ok() || text.text.size() >= 64) return std::nullopt;
    const size_t space = text.text.find(' ');
    const size_t newline = text.text.find('\n');
    if (space == std::string::npos || newline == std::string::npos || newline < space) {
      return std::nullopt;
    }
    const std::optional<int64_t> quota = Atoi(std::string_view(text.text).substr(0, space));
    const std::optional<int64_t> period =
        Atoi(std::string_view(text.text).substr(space + 1, newline - space - 1));
    if (!quota.has_value() || !period.has_value()) return std::nullopt;
    return static_cast<double>(*quota) / static_cast<double>(*period);
  }

  std::optional<int64_t> ReadV1(const std::string& path) {
    const FileText text = ReadFile(files_, path, 65536, ReadStyle::kToEnd);
    const size_t newline = text.text.find('\n');
    if (!text.ok() || newline == std::string::npos) return std::nullopt;
    return Atoi(std::string_view(text.text).substr(0, newline));
  }

  // The first v1 line with cpu, else the last v2 line. One bad line ends it.
  bool FindPath(std::string_view text) {
    while (!text.empty()) {
      const size_t end = text.find('\n');
      if (end == std::string_view::npos || end >= 65536) return false;
      const std::vector<std::string_view> fields = SplitN(text.substr(0, end), ':', 3);
      text.remove_prefix(end + 1);
      if (fields.size() != 3 || !fields[2].starts_with('/')) return false;
      if (fields[0] == "0") {
        path_ = fields[2];
        continue;
      }
      const std::vector<std::string_view> names = Split(fields[1], ',');
      if (std::find(names.begin(), names.end(), "cpu") == names.end()) continue;
      path_ = fields[2];
      v1_ = true;
      return true;
    }
    return !path_.empty();
  }

  std::optional<std::string> FindDirectory(std::string_view text) const {
    std::optional<std::string> found;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      const std::vector<std::string_view> fields = Split(line, ' ');
      const size_t dash = line.find(" - ");
      if (fields.size() < 6 || dash == std::string_view::npos || dash + 3 >= line.size()) {
        return std::nullopt;
      }
      if (heeds_root_ && !fields[3].starts_with('/')) return std::nullopt;  // golang/go#81864
      const std::vector<std::string_view> after = SplitN(line.substr(dash + 3), ' ', 3);
      if (after.size() < 2) return std::nullopt;
      const bool v2 = after[0] == "cgroup2";
      if (!v2 && after[0] != "cgroup") continue;
      if (!v2) {
        if (after.size() < 3) return std::nullopt;
        const std::vector<std::string_view> options = Split(after[2], ',');
        if (std::find(options.begin(), options.end(), "cpu") == options.end()) continue;
      }
      const std::string point = container::UnescapeOctal(fields[4]);
      if (!heeds_root_) {
        // 1.25.0 looks for the mount before it knows the version: v1's cpu wins, else v2's last.
        found = Concat(point, path_);
        if (!v2) return found;
        continue;
      }
      if (v2 == v1_) continue;
      const std::string root = container::UnescapeOctal(fields[3]);
      if (root != "/" && path_ != root && !path_.starts_with(root + "/")) continue;
      const std::string below =
          root == "/" ? (path_ == "/" ? "" : path_) : path_.substr(root.size());
      if (below == "/.." || below.starts_with("/../")) continue;
      return Concat(point, below);
    }
    return found;
  }

  Files& files_;
  const bool heeds_root_;
  std::string path_;
  bool v1_ = false;
};

}  // namespace

std::string AutomaxprocsChoice::Text() const {
  if (kind == Kind::kError) return "error";
  return kind == Kind::kValue ? Concat(value) : "unchanged";
}

Peers AskPeers(container::Files& files, int affinity) {
  return {.go125 = Go(files, false).Choose(affinity),
          .go1268 = Go(files, true).Choose(affinity),
          .automaxprocs_1_6 = Automaxprocs(files).Choose()};
}

}  // namespace plimsoll::tools
