#include "plimsoll/container/cgroup/mountinfo.h"

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr std::string_view kFile = "/proc/self/mountinfo";
constexpr size_t kMaxPath = 4096;
// No host has so many; beyond it a file is an attack on our time.
constexpr size_t kMaxCgroupMounts = 4096;

struct Mount {
  uint64_t id = 0;
  uint64_t parent = 0;
  std::string point;  // without trailing slashes: "" is the root directory
  size_t cgroup = 0;  // 1 + index into the cgroup mounts; 0: another file system
};

// Cuts the text before the next space off `rest`.
std::string_view NextField(std::string_view& rest) {
  const size_t space = std::min(rest.find(' '), rest.size());
  const std::string_view field = rest.substr(0, space);
  rest.remove_prefix(std::min(space + 1, rest.size()));
  return field;
}

std::vector<std::string> SplitOptions(std::string_view text) {
  std::vector<std::string> options;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    options.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return options;
}

// Fills `*mount`, and `*cgroup` when it is one; else says why `line` is no mount.
const char* Parse(std::string_view line, Mount* mount, CgroupMount* cgroup) {
  const size_t separator = line.find(" - ");
  if (separator == std::string_view::npos) return "has no \" - \"; skipped";
  std::string_view before = line.substr(0, separator);
  std::string_view after = line.substr(separator + 3);
  if (!ParseDigits(NextField(before), &mount->id) ||
      !ParseDigits(NextField(before), &mount->parent)) {
    return "does not start with two mount numbers; skipped";
  }
  NextField(before);  // the device
  // A root need not be a path: nsfs shows "net:[4026532281]".
  const std::string_view root = NextField(before);
  const std::string_view point = NextField(before);
  if (root.empty() || point.empty() || point.front() != '/' || before.empty()) {
    return "has fewer than six fields before \" - \"; skipped";
  }
  const std::string_view type = NextField(after);
  if (type.empty() || after.find(' ') == std::string_view::npos) {
    return "has fewer than three fields after \" - \"; skipped";
  }
  mount->point = UnescapeOctal(point);
  while (mount->point.ends_with('/')) mount->point.pop_back();
  const bool v2 = type == "cgroup2";
  if (!v2 && type != "cgroup") return nullptr;
  if (root.front() != '/') return "is a cgroup whose root is not a path; skipped";
  cgroup->root = UnescapeOctal(root);
  if (cgroup->root.size() > kMaxPath || mount->point.size() > kMaxPath) {
    return "is longer than a path can be; skipped";
  }
  if (cgroup->root.find('\0') != std::string::npos ||
      mount->point.find('\0') != std::string::npos) {
    return "holds a zero byte; skipped";
  }
  NextField(after);  // the source
  cgroup->v2 = v2;
  cgroup->mount_point = mount->point.empty() ? "/" : mount->point;
  cgroup->options = SplitOptions(after);
  mount->cgroup = 1;
  return nullptr;
}

// Whether the path `outer` is `inner` or a directory above it, by whole components.
bool Encloses(std::string_view outer, std::string_view inner) {
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '/');
}

// Finds the mounts that a path walk can reach.
//
// A mount is out of reach when another lies on the same mount point above it, or when a later one
// was put on a directory above: then the walk leaves its tree before it gets there. The order of
// the lines is nearly the order of mounting; but /proc and /sys are moved below a root that is
// mounted after them, and so a mount never covers what is mounted in it, by the parents' numbers.
class Cover {
 public:
  explicit Cover(const std::vector<Mount>& mounts) : mounts_(mounts) {
    for (size_t i = 0; i < mounts.size(); ++i) by_id_[mounts[i].id] = i;
    order_.resize(mounts.size());
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    // '/' sorts below every other byte, so that what is below a directory directly follows it.
    std::sort(order_.begin(), order_.end(), [&mounts](size_t a, size_t b) {
      const std::strong_ordering order = std::lexicographical_compare_three_way(
          mounts[a].point.begin(), mounts[a].point.end(), mounts[b].point.begin(),
          mounts[b].point.end(), [](char x, char y) { return Rank(x) <=> Rank(y); });
      return order == 0 ? a < b : order < 0;
    });
  }

  // Calls `visit(index)` for each cgroup mount that can be reached.
  template <typename Visit>
  void ForEachReachable(Visit visit) const {
    std::vector<size_t> enclosing;  // the topmost mount of each mount point above, outermost first
    for (size_t first = 0; first < order_.size();) {
      size_t end = first + 1;
      const std::string& point = mounts_[order_[first]].point;
      while (end < order_.size() && mounts_[order_[end]].point == point) ++end;
      const size_t top = Topmost(first, end);
      while (!enclosing.empty() && !Encloses(mounts_[enclosing.back()].point, point)) {
        enclosing.pop_back();
      }
      if (mounts_[top].cgroup != 0 && !CoveredFromAbove(top, enclosing)) visit(top);
      enclosing.push_back(top);
      first = end;
    }
  }

 private:
  static constexpr size_t kMaxDepth = 64;  // of mounts in mounts; ends cycles in a forged file

  static int Rank(char c) { return c == '/' ? -1 : static_cast<unsigned char>(c); }

  // The numbers of `mount` and of the mounts it is mounted in, the first unknown one included.
  std::vector<uint64_t> Chain(size_t mount) const {
    std::vector<uint64_t> chain{mounts_[mount].id};
    while (chain.size() < kMaxDepth) {
      const auto found = by_id_.find(chain.back());
      if (found == by_id_.end() || mounts_[found->second].parent == chain.back()) break;
      chain.push_back(mounts_[found->second].parent);
    }
    return chain;
  }

  static bool Holds(const std::vector<uint64_t>& chain, uint64_t id) {
    return std::find(chain.begin(), chain.end(), id) != chain.end();
  }

  // Of the mounts on one mount point, order_[first..end): the one on top.
  size_t Topmost(size_t first, size_t end) const {
    size_t top = order_[end - 1];
    // A forged file may stack any number; nobody mounts so many on one point.
    first = std::max(first, end - std::min(end, kMaxDepth));
    for (size_t i = end - 1; i-- > first;) {
      const std::vector<uint64_t> chain = Chain(order_[i]);
      if (chain.size() > 1 &&
          std::find(chain.begin() + 1, chain.end(), mounts_[top].id) != chain.end()) {
        top = order_[i];
      }
    }
    return top;
  }

  bool CoveredFromAbove(size_t mount, const std::vector<size_t>& enclosing) const {
    const std::vector<uint64_t> chain = Chain(mount);
    for (const size_t top : enclosing) {
      size_t cover = top;
      for (size_t steps = 0; steps < kMaxDepth; ++steps) {
        if (Holds(chain, mounts_[cover].id)) break;
        if (cover > mount && Holds(chain, mounts_[cover].parent)) return true;
        const auto below = by_id_.find(mounts_[cover].parent);
        if (below == by_id_.end() || mounts_[below->second].point != mounts_[cover].point) break;
        cover = below->second;
      }
    }
    return false;
  }

  const std::vector<Mount>& mounts_;
  std::unordered_map<uint64_t, size_t> by_id_;
  std::vector<size_t> order_;
};

}  // namespace

bool CgroupMount::HasController(std::string_view name) const {
  return std::find(options.begin(), options.end(), name) != options.end();
}

std::string UnescapeOctal(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto digit = [&text](size_t i) {
    return i < text.size() && text[i] >= '0' && text[i] <= '7' ? text[i] - '0' : -1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && digit(i + 1) >= 0 && digit(i + 1) <= 3 && digit(i + 2) >= 0 &&
        digit(i + 3) >= 0) {
      out += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<CgroupMount> ParseMountinfo(std::string_view contents, DiagnosticList& diagnostics) {
  std::vector<Mount> mounts;
  std::vector<CgroupMount> cgroups;
  for (size_t number = 1; !contents.empty(); ++number) {
    const size_t end = contents.find('\n');
    const std::string_view line = contents.substr(0, end);
    contents.remove_prefix(end == std::string_view::npos ? contents.size() : end + 1);
    Mount mount;
    CgroupMount cgroup;
    if (const char* why = Parse(line, &mount, &cgroup)) {
      diagnostics.Add("mountinfo-line", kFile, Concat("line ", number), line, why);
      continue;
    }
    if (mount.cgroup != 0) {
      if (cgroups.size() == kMaxCgroupMounts) {
        diagnostics.Add("mountinfo-line", kFile, Concat("line ", number), line,
                        "is one cgroup mount too many; skipped");
        continue;
      }
      cgroups.push_back(std::move(cgroup));
      mount.cgroup = cgroups.size();
    }
    mounts.push_back(std::move(mount));
  }
  std::vector<size_t> reachable;
  Cover(mounts).ForEachReachable([&](size_t i) { reachable.push_back(mounts[i].cgroup - 1); });
  std::sort(reachable.begin(), reachable.end());
  std::vector<CgroupMount> result;
  for (const size_t i : reachable) result.push_back(std::move(cgroups[i]));
  return result;
}

}  // namespace plimsoll::container
