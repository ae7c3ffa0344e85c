#include "plimsoll/container/limits_watcher.h"

#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/container/cgroup/memory_max.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/system.h"

namespace plimsoll::container {
namespace {

constexpr char kSelfCgroup[] = "/proc/self/cgroup";
constexpr char kMountinfo[] = "/proc/self/mountinfo";
// Large enough for memory.stat up to its hierarchical limit, and for most of /proc/self/cgroup.
constexpr size_t kBuffer = 16384;

absl::Duration MonotonicNow() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return absl::DurationFromTimespec(now);
}

// Whether `after` allows more than `before`. nullopt is no limit.
template <typename T>
bool Looser(const std::optional<Found<T>>& before, const std::optional<Found<T>>& after) {
  return before.has_value() && (!after.has_value() || after->value > before->value);
}

bool Looser(const Limits& before, const Limits& after) {
  return Looser(before.cpu.quota, after.cpu.quota) || Looser(before.memory.max, after.memory.max) ||
         Looser(before.memory.high, after.memory.high) || Looser(before.pids.max, after.pids.max);
}

// A diagnostic that says a limit may be there and could not be read.
bool HidesLimit(const Diagnostic& diagnostic) {
  return diagnostic.code != "environment" && diagnostic.code != "library" &&
         diagnostic.code != "deleted";
}

bool HasController(const Tree& tree, std::string_view name) {
  return Concat(",", tree.controllers, ",").find(Concat(",", name, ",")) != std::string::npos;
}

// What tells one set of watched files from another.
std::vector<std::string> LevelNames(const Limits& limits) {
  std::vector<std::string> names;
  for (const Tree& tree : limits.trees) {
    names.push_back(Concat(ToString(tree.version), " ", tree.controllers));
    for (const Level& level : tree.levels) names.push_back(level.dir);
  }
  return names;
}

}  // namespace

LimitsWatcher::LimitsWatcher(Options options)
    : options_(std::move(options)),
      own_files_(options_.detect.root),
      files_(options_.detect.files != nullptr ? *options_.detect.files : own_files_),
      limits_(Detect(options_.detect)) {
  buffer_.resize(kBuffer);
  // What changed between Detect and the first reading of the list would never be seen as a change.
  for (int attempt = 0; attempt < 3 && !Watches(limits_); ++attempt) {
    Watch(limits_);
    const bool used_libcgroup = limits_.used_libcgroup;
    limits_ = DetectAgain();
    limits_.used_libcgroup = used_libcgroup;
  }
  trouble_ = limits_.diagnostics;
}

LimitsWatcher::~LimitsWatcher() { CloseAll(); }

// By our own reader: the caller's stack may be small, and libcgroup opens every file afresh.
Limits LimitsWatcher::DetectAgain() const {
  DetectOptions options = options_.detect;
  options.use_libcgroup = false;
  return Detect(options);
}

void LimitsWatcher::CloseAll() {
  for (std::vector<Watched>* list : {&fast_, &slow_}) {
    for (const Watched& watched : *list) {
      if (watched.handle >= 0) files_.Close(watched.handle);
    }
    list->clear();
  }
  if (self_.handle >= 0) files_.Close(self_.handle);
  self_ = Watched();
  watching_ = false;
}

// Opens and reads what decides about `limits`. After it, limits must be detected once more.
void LimitsWatcher::Watch(const Limits& limits) {
  CloseAll();
  watched_levels_ = LevelNames(limits);
  self_.path = kSelfCgroup;
  slow_.push_back({.kind = Watched::Kind::kMountTable, .path = kMountinfo});
  if (!options_.detect.affinity.has_value()) slow_.push_back({.kind = Watched::Kind::kAffinity});
  std::vector<std::string_view> dirs;
  for (const Tree& tree : limits.trees) {
    const bool v2 = tree.version == CgroupVersion::kV2;
    const bool cpu = HasController(tree, "cpu");
    const bool memory = HasController(tree, "memory");
    const bool pids = HasController(tree, "pids");
    if (!cpu && !memory && !pids) continue;
    for (size_t i = 0; i < tree.levels.size(); ++i) {
      const std::string& dir = tree.levels[i].dir;
      if (std::find(dirs.begin(), dirs.end(), dir) == dirs.end()) dirs.push_back(dir);
      const auto watch = [&dir](std::vector<Watched>& list, std::string_view name,
                                Watched::Kind kind = Watched::Kind::kFile) {
        list.push_back({.kind = kind, .path = Concat(dir, dir.ends_with('/') ? "" : "/", name)});
      };
      if (cpu) watch(fast_, v2 ? "cpu.max" : "cpu.cfs_quota_us");
      // Who changes a period changes the quota with it, but for hands that play.
      if (cpu && !v2) watch(slow_, "cpu.cfs_period_us");
      if (memory) watch(fast_, v2 ? "memory.max" : "memory.limit_in_bytes");
      if (memory && v2) watch(fast_, "memory.high");
      if (memory && !v2 && i == 0) watch(fast_, "memory.stat", Watched::Kind::kMemoryStat);
      if (pids) watch(fast_, "pids.max");
    }
  }
  // One call is left for whoever drives us to wait between two looks.
  const size_t budget = 1 + 4 * dirs.size();
  slots_ = budget > fast_.size() ? budget - fast_.size() : 1;
  turn_ = next_slow_ = 0;
  Changed(self_);
  for (Watched& watched : fast_) Changed(watched);
  for (Watched& watched : slow_) Changed(watched);
  moved_ = stale_ = false;
  watching_ = true;
}

bool LimitsWatcher::Watches(const Limits& limits) const {
  return watching_ && !stale_ && watched_levels_ == LevelNames(limits);
}

// A number that differs, but for a chance of 2^-64, when the file does (FNV-1a); never 0.
uint64_t LimitsWatcher::Fingerprint(int handle) {
  uint64_t hash = 14695981039346656037u;
  int64_t got = 0;
  for (int64_t offset = 0;; offset += got) {
    got = files_.ReadAt(handle, buffer_.data(), buffer_.size(), offset);
    if (got <= 0) break;
    for (int64_t i = 0; i < got; ++i) {
      hash = (hash ^ static_cast<unsigned char>(buffer_[static_cast<size_t>(i)])) * 1099511628211u;
    }
  }
  return hash | 1;
}

// Reads one file and remembers what it holds. True: that is new.
bool LimitsWatcher::Changed(Watched& watched) {
  if (watched.kind == Watched::Kind::kAffinity) {
    return std::exchange(watched.number, static_cast<uint64_t>(AffinityCount())) != watched.number;
  }
  // A missing file is tried again each time: it appears when a controller is enabled.
  if (watched.handle < 0) {
    watched.handle = files_.Open(watched.path.c_str());
    if (watched.handle < 0) {
      return std::exchange(watched.error, -watched.handle) != watched.error;
    }
  }
  if (watched.kind == Watched::Kind::kMountTable) {
    if (watched.number != 0 && !files_.MountsChanged(watched.handle)) return false;
    // Where others mount and unmount all day, most of it leaves the table as it was.
    const uint64_t before = std::exchange(watched.number, Fingerprint(watched.handle));
    if (watched.number == before) return false;
    return moved_ = stale_ = true;
  }
  const int64_t got = files_.ReadAt(watched.handle, buffer_.data(), buffer_.size(), 0);
  if (got < 0) {
    // ENODEV: the cgroup is gone. One of the same name may be there by the next look.
    files_.Close(watched.handle);
    watched.handle = -1;
    stale_ = true;
    return std::exchange(watched.error, static_cast<int>(-got)) != watched.error;
  }
  bool changed = std::exchange(watched.error, 0) != 0;
  const std::string_view text(buffer_.data(), static_cast<size_t>(got));
  if (watched.kind == Watched::Kind::kMemoryStat) {
    // All else in it changes all the time.
    const absl::StatusOr<std::optional<uint64_t>> limit =
        ParseStatLine(text, "hierarchical_memory_limit");
    const uint64_t number = limit.ok() ? limit->value_or(UINT64_MAX) : UINT64_MAX - 1;
    return (std::exchange(watched.number, number) != number) || changed;
  }
  if (text != watched.text) {
    watched.text = text;
    changed = true;
  }
  if (text.size() == buffer_.size()) buffer_.resize(2 * buffer_.size());
  return changed;
}

bool LimitsWatcher::Poll() {
  const absl::Duration now = options_.clock ? options_.clock() : MonotonicNow();
  if (last_look_.has_value() && now - *last_look_ < options_.interval) return false;
  last_look_ = now;
  ++stats_.looks;
  if (!Look() && !holding_) return false;
  return Adopt();
}

bool LimitsWatcher::Look() {
  bool changed = false;
  moved_ = false;
  for (Watched& watched : fast_) {
    if (Changed(watched)) changed = true;
  }
  // With one slot, /proc/self/cgroup has it at every other look.
  const bool look_at_self = slots_ > 1 || turn_ % 2 == 0;
  if (look_at_self && Changed(self_)) changed = moved_ = true;
  const size_t slots = std::min(slots_ - (look_at_self ? 1 : 0), slow_.size());
  for (size_t i = 0; i < slots; ++i) {
    if (Changed(slow_[next_slow_])) changed = true;
    next_slow_ = (next_slow_ + 1) % slow_.size();
  }
  ++turn_;
  return changed;
}

bool LimitsWatcher::Adopt() {
  ++stats_.detections;
  const bool moved = moved_;
  Limits now = DetectAgain();
  for (int attempt = 0; attempt < 3 && !Watches(now); ++attempt) {
    Watch(now);
    now = DetectAgain();
  }
  trouble_ = now.diagnostics;
  const bool hides = std::any_of(
      now.diagnostics.begin(), now.diagnostics.end(), [this](const Diagnostic& diagnostic) {
        return HidesLimit(diagnostic) &&
               std::find(limits_.diagnostics.begin(), limits_.diagnostics.end(), diagnostic) ==
                   limits_.diagnostics.end();
      });
  // A move is no reason to hold: the old limits are then those of a cgroup we have left.
  holding_ = hides && !moved && Looser(limits_, now);
  if (holding_) return false;
  now.used_libcgroup = limits_.used_libcgroup;
  const Limits before = std::exchange(limits_, std::move(now));
  if (limits_.SameLimits(before)) return false;
  if (options_.on_change) options_.on_change(before, limits_);
  return true;
}

}  // namespace plimsoll::container
