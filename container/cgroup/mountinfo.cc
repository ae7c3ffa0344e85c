#include "plimsoll/container/cgroup/mountinfo.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

constexpr std::string_view kFile = "/proc/self/mountinfo";
constexpr size_t kMaxPath = 4096;
// Two paths with every byte escaped, and a page of options.
constexpr size_t kMaxLine = 65536;
// No host has so many; beyond it a file is an attack on our time and memory. The kernel's own bound
// (fs.mount-max) is 100,000 mounts, which take about a third of these bytes.
constexpr size_t kMaxCgroupMounts = 4096;
constexpr size_t kMaxBytes = size_t{32} << 20;

using Mount = MountinfoParser::Mount;

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
  std::string path = UnescapeOctal(point);
  while (path.ends_with('/')) path.pop_back();
  if (path.find('\0') != std::string::npos) return "holds a zero byte; skipped";
  mount->key = path;
  std::replace(mount->key.begin(), mount->key.end(), '/', '\0');
  const bool v2 = type == "cgroup2";
  if (!v2 && type != "cgroup") return nullptr;
  if (root.front() != '/') return "is a cgroup whose root is not a path; skipped";
  cgroup->root = UnescapeOctal(root);
  if (cgroup->root.size() > kMaxPath || path.size() > kMaxPath) {
    return "is longer than a path can be; skipped";
  }
  if (cgroup->root.find('\0') != std::string::npos) return "holds a zero byte; skipped";
  NextField(after);  // the source
  cgroup->v2 = v2;
  cgroup->mount_point = path.empty() ? "/" : std::move(path);
  cgroup->options = SplitOptions(after);
  mount->cgroup = 1;
  return nullptr;
}

// Whether the key `outer` is `inner` or that of a directory above it.
bool Encloses(std::string_view outer, std::string_view inner) {
  return inner.starts_with(outer) && (inner.size() == outer.size() || inner[outer.size()] == '\0');
}

// Finds the mounts that a path walk can reach.
//
//   mount M at /sys/fs/cgroup, its chain: M -> the mount it lies in -> ... -> the root's
//   mount Y at /sys, later than M, mounted in one of M's chain but not itself in it
//
// covers M: a walk enters Y at /sys and never gets to M. So does any other mount on M's own mount
// point that lies on top of it. The order of the lines is nearly the order of mounting; but /proc
// and /sys are moved below a root that is mounted after them, and so a mount never covers what is
// mounted in it, by the parents' numbers.
//
// Cost: each mount is sorted, entered and left once, in the order of the paths; whether a mount is
// covered takes one look-up for each mount of its chain, whatever lies around it. A forged file can
// make chains long, so those look-ups have a budget.
class Cover {
 public:
  explicit Cover(const std::vector<Mount>& mounts) : mounts_(mounts) {
    // Sorted, and not hashed: whoever forges a file chooses its numbers.
    for (const Mount& mount : mounts) {
      ids_.push_back(mount.id);
      ids_.push_back(mount.parent);
    }
    std::sort(ids_.begin(), ids_.end());
    ids_.erase(std::unique(ids_.begin(), ids_.end()), ids_.end());
    line_of_.resize(ids_.size());
    latest_in_.resize(ids_.size());
    for (size_t i = 0; i < mounts.size(); ++i) line_of_[Slot(mounts[i].id)] = i + 1;
    SortWhatMatters();
  }

  // Calls `visit(index)` for each cgroup mount that can be reached, and `give_up(index)` for each
  // where the budget was spent before that was known.
  template <typename Visit, typename GiveUp>
  void ForEachReachable(Visit visit, GiveUp give_up) {
    std::vector<size_t> entered;  // what lies above the present mount point, outermost first
    for (size_t first = 0; first < order_.size();) {
      const std::string& key = mounts_[order_[first]].key;
      size_t end = first + 1;
      while (end < order_.size() && mounts_[order_[end]].key == key) ++end;
      while (!entered.empty() && !Encloses(mounts_[entered.back()].key, key)) {
        entered.pop_back();
        Leave();
      }
      if (HasCgroup(first, end)) {
        const size_t top = Topmost(first, end);
        if (steps_ > kMaxSteps) {
          for (size_t i = first; i < end; ++i) {
            if (mounts_[order_[i]].cgroup != 0) give_up(order_[i]);
          }
        } else if (top != kNone && mounts_[top].cgroup != 0) {
          visit(top);
        }
      }
      for (; first < end; ++first) {
        entered.push_back(order_[first]);
        Enter(order_[first]);
      }
    }
  }

 private:
  static constexpr size_t kNone = SIZE_MAX;
  // Look-ups, some 20 ms of them. A host with a thousand cgroup mounts ten deep takes 10,000.
  static constexpr size_t kMaxSteps = size_t{1} << 19;
  static constexpr size_t kMaxDepth = 4096;  // of a chain; ends the cycles of a forged file

  // Of the mounts above the present point that lie in one mount: 1 + the index of the latest, and
  // of the one before. 0: none.
  struct Latest {
    size_t last = 0;
    size_t second = 0;
  };

  size_t Slot(uint64_t id) const {
    return static_cast<size_t>(std::lower_bound(ids_.begin(), ids_.end(), id) - ids_.begin());
  }

  // Mounts that are no cgroup's and lie above none decide nothing: all but a few of a long file.
  void SortWhatMatters() {
    const auto before = [this](size_t a, size_t b) {
      const int order = mounts_[a].key.compare(mounts_[b].key);
      return order == 0 ? a < b : order < 0;
    };
    std::vector<std::string_view> keys;
    for (const Mount& mount : mounts_) {
      if (mount.cgroup != 0) keys.push_back(mount.key);
    }
    std::sort(keys.begin(), keys.end());
    for (size_t i = 0; i < mounts_.size(); ++i) {
      const std::string_view key = mounts_[i].key;
      const auto below = std::lower_bound(keys.begin(), keys.end(), key);
      if (below != keys.end() && Encloses(key, *below)) order_.push_back(i);
    }
    std::sort(order_.begin(), order_.end(), before);
  }

  void Enter(size_t mount) {
    const size_t slot = Slot(mounts_[mount].parent);
    undo_.emplace_back(slot, latest_in_[slot]);
    Latest& latest = latest_in_[slot];
    if (mount + 1 > latest.last) {
      latest.second = std::exchange(latest.last, mount + 1);
    } else {
      latest.second = std::max(latest.second, mount + 1);
    }
  }

  void Leave() {
    latest_in_[undo_.back().first] = undo_.back().second;
    undo_.pop_back();
  }

  bool HasCgroup(size_t first, size_t end) const {
    for (size_t i = first; i < end; ++i) {
      if (mounts_[order_[i]].cgroup != 0) return true;
    }
    return false;
  }

  // Of the mounts on one mount point, order_[first..end): the one on top. kNone: a later mount
  // above hides them all.
  size_t Topmost(size_t first, size_t end) {
    std::vector<uint64_t> beneath;  // what another of them lies on
    for (size_t i = first; i < end; ++i) {
      const Mount& mount = mounts_[order_[i]];
      if (mount.parent != mount.id) beneath.push_back(mount.parent);
    }
    std::sort(beneath.begin(), beneath.end());
    bool any_on_top = false;
    for (size_t i = end; i-- > first && steps_ <= kMaxSteps;) {
      if (std::binary_search(beneath.begin(), beneath.end(), mounts_[order_[i]].id)) continue;
      any_on_top = true;
      if (!CoveredFromAbove(order_[i])) return order_[i];
    }
    // All lie on each other: a forged circle. The last line is as good as any.
    return any_on_top ? kNone : order_[end - 1];
  }

  bool CoveredFromAbove(size_t mount) {
    size_t at = mount;
    for (size_t depth = 0; depth < kMaxDepth; ++depth) {
      ++steps_;
      const size_t slot = Slot(mounts_[at].parent);
      const Latest& latest = latest_in_[slot];
      const size_t other = latest.last == at + 1 ? latest.second : latest.last;
      if (other > mount + 1) return true;
      // The outermost: it lies in what is not listed, or in itself.
      if (line_of_[slot] == 0 || line_of_[slot] == at + 1) break;
      at = line_of_[slot] - 1;
    }
    return false;
  }

  const std::vector<Mount>& mounts_;
  std::vector<uint64_t> ids_;      // all numbers, sorted; a slot is an index into it
  std::vector<size_t> line_of_;    // slot -> 1 + index of the mount with that number; 0: none
  std::vector<Latest> latest_in_;  // slot -> what lies in that mount, above the present point
  std::vector<std::pair<size_t, Latest>> undo_;
  std::vector<size_t> order_;  // what matters, by path and then by line
  size_t steps_ = 0;
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
    const size_t plain = std::min(text.find('\\', i), text.size()) - i;
    out.append(text.substr(i, plain));
    i += plain;
    if (i == text.size()) break;
    if (digit(i + 1) >= 0 && digit(i + 1) <= 3 && digit(i + 2) >= 0 && digit(i + 3) >= 0) {
      out += static_cast<char>(digit(i + 1) * 64 + digit(i + 2) * 8 + digit(i + 3));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

void MountinfoParser::Feed(std::string_view text) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view piece = text.substr(0, end);
    const bool ends = end != std::string_view::npos;
    text.remove_prefix(ends ? end + 1 : text.size());
    if (ends && rest_.empty()) {
      Line(piece);
      continue;
    }
    // One byte more than a line may have tells that it is too long; the rest of it is not kept.
    rest_.append(piece.substr(0, kMaxLine + 1 - std::min(rest_.size(), kMaxLine + 1)));
    cut_ = true;
    if (ends) EndLine();
  }
}

void MountinfoParser::EndLine() {
  Line(rest_);
  rest_.clear();
  cut_ = false;
}

void MountinfoParser::Skip(std::string_view line, std::string_view why) {
  diagnostics_.Add("mountinfo-line", kFile, Concat("line ", number_), line, why);
}

void MountinfoParser::Line(std::string_view line) {
  ++number_;
  Mount mount;
  CgroupMount cgroup;
  if (line.size() > kMaxLine) return Skip(line, "is longer than a line can be; skipped");
  if (const char* why = Parse(line, &mount, &cgroup)) return Skip(line, why);
  if (mount.cgroup != 0 && cgroups_.size() == kMaxCgroupMounts) {
    return Skip(line, "is one cgroup mount too many; skipped");
  }
  kept_bytes_ += sizeof(mount) + mount.key.size();
  if (kept_bytes_ > kMaxBytes) return Skip(line, "is one mount too many; skipped");
  if (mount.cgroup != 0) {
    cgroups_.push_back(std::move(cgroup));
    cgroup_lines_.push_back(number_);
    mount.cgroup = cgroups_.size();
  }
  mounts_.push_back(std::move(mount));
}

std::vector<CgroupMount> MountinfoParser::Finish() {
  if (cut_) EndLine();
  std::vector<size_t> reachable;
  Cover(mounts_).ForEachReachable(
      [&](size_t i) { reachable.push_back(mounts_[i].cgroup - 1); },
      [&](size_t i) {
        const size_t cgroup = mounts_[i].cgroup - 1;
        diagnostics_.Add("mountinfo-line", kFile, Concat("line ", cgroup_lines_[cgroup]),
                         cgroups_[cgroup].mount_point,
                         "lies in so many mounts that whether it can be reached is not known; "
                         "skipped");
      });
  std::sort(reachable.begin(), reachable.end());
  std::vector<CgroupMount> result;
  result.reserve(reachable.size());
  for (const size_t i : reachable) result.push_back(std::move(cgroups_[i]));
  return result;
}

std::vector<CgroupMount> ParseMountinfo(std::string_view contents, DiagnosticList& diagnostics) {
  MountinfoParser parser(diagnostics);
  parser.Feed(contents);
  return parser.Finish();
}

}  // namespace plimsoll::container
