// The guards of LibcgroupTree, apart from libcgroup itself so that they are built without it too.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"
#include "plimsoll/container/cgroup/mountinfo.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr char kCgroups[] = "/proc/cgroups";
constexpr char kMounts[] = "/proc/mounts";
// libcgroup has room for CG_CONTROLLER_MAX = 100 controllers and writes one entry past the last.
constexpr size_t kMaxControllers = 64;
// Its buffers are FILENAME_MAX = 4096 bytes, and it joins two or three names in one.
constexpr size_t kMaxName = 1024;

absl::Status Refuse(std::string_view file, std::string_view seen, std::string_view why) {
  return absl::FailedPreconditionError(Concat(Shown(file), ": ", Quote(seen), " ", why));
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) pieces.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return pieces;
}

absl::Status ReadWhole(Files& files, const std::string& path, size_t limit, std::string* text) {
  FileText read = ReadFile(files, path, limit, ReadStyle::kToEnd);
  if (!read.ok()) return absl::NotFoundError(Concat(Shown(path), ": ", strerror(read.error)));
  if (read.truncated) return absl::FailedPreconditionError(Concat(Shown(path), ": is too long"));
  if (read.text.find('\0') != std::string::npos)
    return Refuse(path, read.text, "holds a zero byte");
  *text = std::move(read.text);
  return absl::OkStatus();
}

// It scans "%s %d %d %d" into one fixed array without a bound.
absl::Status CheckCgroups(Files& files) {
  std::string text;
  if (absl::Status s = ReadWhole(files, kCgroups, 65536, &text); !s.ok()) return s;
  const std::vector<std::string_view> lines = Split(text, '\n');
  if (lines.empty()) return Refuse(kCgroups, text, "has no header line");
  if (lines.size() - 1 > kMaxControllers) {
    return Refuse(kCgroups, lines.back(), "is one controller too many");
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].size() > kMaxName) return Refuse(kCgroups, lines[i], "is too long a line");
    if (i == 0) continue;  // the header
    const std::vector<std::string_view> fields = Split(lines[i], '\t');
    uint64_t number = 0;
    bool good = fields.size() == 4 && fields[0].find(' ') == std::string_view::npos;
    for (size_t f = 1; good && f < 4; ++f) {
      good = ParseDigits(fields[f], &number) && number <= INT32_MAX;
    }
    if (!good) return Refuse(kCgroups, lines[i], "is not a name and three numbers");
  }
  return absl::OkStatus();
}

// A first line without a name makes it compare with a null pointer; it cuts lines at 100 bytes.
absl::Status CheckControllers(Files& files, const std::string& directory,
                              std::set<std::string>& names) {
  const std::string path = directory + "/cgroup.controllers";
  std::string text;
  if (absl::Status s = ReadWhole(files, path, 4096, &text); !s.ok()) return s;
  if (text.empty()) return absl::OkStatus();  // it reads this as "none"
  const std::string_view line = std::string_view(text).substr(0, text.find('\n'));
  const std::vector<std::string_view> controllers = Split(line, ' ');
  if (controllers.empty()) return Refuse(path, text, "names no controller");
  for (const std::string_view name : controllers) {
    for (const char c : name) {
      if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_') {
        return Refuse(path, line, "is not a list of controllers");
      }
    }
    names.emplace(name);
  }
  return absl::OkStatus();
}

absl::Status CheckMounts(Files& files) {
  std::string text;
  if (absl::Status s = ReadWhole(files, kMounts, size_t{32} << 20, &text); !s.ok()) return s;
  std::set<std::string> names;  // each takes an entry of its table
  size_t mounts = 0;
  for (const std::string_view line : Split(text, '\n')) {
    const std::vector<std::string_view> fields = Split(line, ' ');
    // Spaces within a field are escaped; an empty field shifts the rest, for getmntent as for us.
    if (fields.size() < 4) continue;
    const bool v2 = fields[2] == "cgroup2";
    if (!v2 && fields[2] != "cgroup") continue;
    if (++mounts > 256) return Refuse(kMounts, line, "is one cgroup mount too many");
    if (line.size() > 3 * kMaxName || fields[1].size() > kMaxName) {
      return Refuse(kMounts, line, "is too long a line");
    }
    if (v2) {
      if (absl::Status s = CheckControllers(files, UnescapeOctal(fields[1]), names); !s.ok()) {
        return s;
      }
    } else {
      for (const std::string_view option : Split(fields[3], ',')) {
        if (option.size() > kMaxName / 4) return Refuse(kMounts, option, "is too long an option");
        if (names.size() <= kMaxControllers) names.emplace(option);
      }
    }
    if (names.size() > kMaxControllers) {
      return Refuse(kMounts, line, "brings more controllers than libcgroup has room for");
    }
  }
  if (mounts == 0) return absl::NotFoundError(Concat(kMounts, ": no cgroup is mounted"));
  return absl::OkStatus();
}

}  // namespace

absl::Status LibcgroupTree::CheckInput(Files& files) {
  if (absl::Status s = CheckCgroups(files); !s.ok()) return s;
  return CheckMounts(files);
}

bool LibcgroupTree::Serves(std::string_view controller, CgroupVersion version,
                           std::string_view mount_point) const {
  for (const Controller& mounted : controllers_) {
    if (mounted.name != controller) continue;
    return mounted.version == version && !mounted.mount_points.empty() &&
           mounted.mount_points[0] == mount_point;
  }
  return false;
}

}  // namespace plimsoll::container
