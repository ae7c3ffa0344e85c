#include "plimsoll/container/cgroup/self_cgroup.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr std::string_view kFile = "/proc/self/cgroup";
constexpr std::string_view kDeleted = " (deleted)";
// The kernel refuses to print a path longer than PATH_MAX.
constexpr size_t kMaxPath = 4096;

// Fills `*line`; else says why it is no line, in words that complete "line 3 <text> ...".
const char* Parse(std::string_view text, CgroupLine* line) {
  const size_t first = text.find(':');
  if (first == std::string_view::npos) return "has no colon; skipped";
  const size_t second = text.find(':', first + 1);
  if (second == std::string_view::npos) return "has one colon, not two; skipped";
  uint64_t id = 0;
  if (!ParseDigits(text.substr(0, first), &id)) {
    return "does not start with a hierarchy number; skipped";
  }
  std::string_view controllers = text.substr(first + 1, second - first - 1);
  const std::string_view path = text.substr(second + 1);
  if (path.empty() || path.front() != '/') return "has no path that starts with '/'; skipped";
  if (path.size() > kMaxPath + kDeleted.size()) return "is longer than a path can be; skipped";
  if (path.find('\0') != std::string_view::npos) return "holds a zero byte; skipped";
  line->v2 = id == 0 && controllers.empty();
  line->path = std::string(path);
  while (!controllers.empty()) {
    const size_t comma = std::min(controllers.find(','), controllers.size());
    line->controllers.emplace_back(controllers.substr(0, comma));
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return nullptr;
}

}  // namespace

std::optional<std::string> PathBeforeDeletion(std::string_view path) {
  if (!path.ends_with(kDeleted)) return std::nullopt;
  path.remove_suffix(kDeleted.size());
  // The kernel never says so of the root.
  if (path.empty() || path == "/") return std::nullopt;
  return std::string(path);
}

std::vector<CgroupLine> ParseSelfCgroup(std::string_view contents, DiagnosticList& diagnostics) {
  std::vector<CgroupLine> lines;
  for (size_t number = 1; !contents.empty(); ++number) {
    const size_t end = contents.find('\n');
    const std::string_view text = contents.substr(0, end);
    const bool whole = end != std::string_view::npos;
    contents.remove_prefix(whole ? end + 1 : contents.size());
    CgroupLine line;
    if (const char* why = Parse(text, &line)) {
      diagnostics.Add("cgroup-line", kFile, Concat("line ", number), text, why);
      continue;
    }
    if (!whole) {
      diagnostics.Add("cgroup-line", kFile, Concat("line ", number), text,
                      "has no newline, so it may be cut short; used as it is");
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace plimsoll::container
