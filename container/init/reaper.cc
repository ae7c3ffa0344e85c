#include "plimsoll/container/init/reaper.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

namespace plimsoll::container {
namespace {

// How often to look again while an owner leaves a zombie of ours lying: a child that ends while
// proc lists it may be missing from the list, and no further SIGCHLD would tell of it.
constexpr absl::Duration kLookAgain = absl::Seconds(1);

int64_t Monotonic() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Any zombie (`pid` 0) or this one, left in place; 0: there is none.
pid_t Peek(pid_t pid) {
  siginfo_t info{};
  const idtype_t type = pid == 0 ? P_ALL : P_PID;
  if (waitid(type, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) != 0) return 0;
  return info.si_pid;
}

// Nullopt: another wait took it first.
std::optional<ExitStatus> Take(pid_t pid) {
  siginfo_t info{};
  if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG) != 0 || info.si_pid != pid) {
    return std::nullopt;
  }
  return ExitStatus::From(info);
}

bool ReadWhole(const std::string& path, std::string* text) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) text->append(buffer, static_cast<size_t>(n));
  close(fd);
  return n == 0;
}

}  // namespace

bool ListChildren(const std::string& proc, std::vector<pid_t>* children) {
  // /proc of another PID namespace would give numbers that mean other processes here.
  char self[32];
  const ssize_t length = readlink((proc + "/self").c_str(), self, sizeof self);
  if (length <= 0 || std::string(self, static_cast<size_t>(length)) != std::to_string(getpid())) {
    return false;
  }
  const std::string tasks = proc + "/self/task/";
  DIR* dir = opendir(tasks.c_str());
  if (dir == nullptr) return false;
  bool any = false;
  while (const dirent* entry = readdir(dir)) {
    std::string text;
    if (entry->d_name[0] == '.' || !ReadWhole(tasks + entry->d_name + "/children", &text)) continue;
    any = true;
    for (const char *at = text.data(), *end = at + text.size(); at < end;) {
      pid_t pid = 0;
      const auto [next, error] = std::from_chars(at, end, pid);
      if (error == std::errc() && pid > 0) children->push_back(pid);
      at = error == std::errc() ? next : at + 1;
    }
  }
  closedir(dir);
  return any;  // a kernel without CONFIG_PROC_CHILDREN has no such file
}

bool BecomeSubreaper() { return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0; }

Reaper::Reaper(ReaperOptions options)
    : options_([&] {
        if (!options.now_ns) options.now_ns = &Monotonic;
        return std::move(options);
      }()) {}

void Reaper::Own(pid_t pid) {
  std::lock_guard hold(mu_);
  owned_.insert(pid);
}

void Reaper::Disown(pid_t pid) {
  std::lock_guard hold(mu_);
  owned_.erase(pid);
}

bool Reaper::IsOwned(pid_t pid) {
  std::lock_guard hold(mu_);
  return owned_.contains(pid);
}

Reaper::Verdict Reaper::Judge(pid_t zombie, int64_t now_ns, ReapReport& report) {
  if (IsOwned(zombie)) {
    report.again_in = std::min(report.again_in, kLookAgain);
    return Verdict::kKept;
  }
  const int64_t since_ns = first_seen_ns_.try_emplace(zombie, now_ns).first->second;
  const absl::Duration left = options_.grace - absl::Nanoseconds(now_ns - since_ns);
  if (left > absl::ZeroDuration()) {
    report.again_in = std::min(report.again_in, left);
    return Verdict::kKept;
  }
  first_seen_ns_.erase(zombie);
  if (const std::optional<ExitStatus> status = Take(zombie)) {
    ++report.reaped;
    if (options_.on_reaped) options_.on_reaped(zombie, *status);
  }
  return Verdict::kTaken;
}

ReapReport Reaper::Reap() {
  std::unique_lock alone(spawning_);
  const int64_t now_ns = options_.now_ns();
  ReapReport report;

  // The kernel shows the oldest zombie first, and the same one again until somebody takes it. As
  // long as that one is an orphan there is no need to ask /proc.
  pid_t zombie;
  do {
    zombie = Peek(0);
    if (zombie == 0) {
      first_seen_ns_.clear();
      return report;
    }
  } while (Judge(zombie, now_ns, report) == Verdict::kTaken);

  // One that stays hides those behind it. A pass that took something is repeated: what it took may
  // have shifted the list while it was read.
  std::unordered_map<pid_t, int64_t> still_there;
  for (bool took = true; took;) {
    took = false;
    still_there.clear();
    std::vector<pid_t> children;
    if (!ListChildren(options_.proc, &children)) {
      report.blind = true;
      return report;
    }
    for (const pid_t child : children) {
      if (Peek(child) != child) continue;  // runs, or another wait took it
      if (Judge(child, now_ns, report) == Verdict::kTaken) {
        took = true;
      } else if (const auto seen = first_seen_ns_.find(child); seen != first_seen_ns_.end()) {
        still_there.insert(*seen);
      }
    }
  }
  // Forget zombies that their waiter took: their PIDs may come back as other processes.
  first_seen_ns_ = std::move(still_there);
  return report;
}

}  // namespace plimsoll::container
