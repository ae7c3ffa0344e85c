// A LimitsWatcher follows the limits while the container runs: in-place resize, migration to
// another cgroup, remounts, a changed affinity mask.
//
//   LimitsWatcher watcher({.on_change = [](const Limits& before, const Limits& after) {
//     Resize(after.procs.value);
//   }});
//   for (;;) { watcher.Poll(); ... }          // as often as you like; it reads once a second
//
// Driving:  its caller's: Poll() does all the work, on the caller's thread, and never blocks but
//           for reading. limits_watcher_thread.h is a thread for those who have no loop.
// Cost:     at most 1 system call and 4 for each visible cgroup level in an interval (waiting for
//           the next is one more, the driver's), and no allocation, as long as nothing changes. A
//           change costs one Detect.
// Delay:    a value is seen at the next look. So is a move to another cgroup, or at the one after
//           where every level has all four files; a remount or a new affinity mask within four.
// Means:    descriptors kept open and pread(2), since opening a file costs four times reading it;
//           poll(2) on the mount table. No inotify: limits are changed from outside our namespace.
// Holding:  a limit that becomes unreadable is not lifted: the old limits hold, trouble() says why,
//           and the next Poll tries again. A process moved to another cgroup takes what is there.
// Callback: on the thread of Poll, after limits() shows the new ones. It must not call Poll.
// Stack:    making one calls Detect, see limits.h. Poll does not use libcgroup; 16 KiB are plenty.
// Threads:  one at a time. Descriptors: up to 4 a level and 2.
#ifndef PLIMSOLL_CONTAINER_LIMITS_WATCHER_H_
#define PLIMSOLL_CONTAINER_LIMITS_WATCHER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/limits.h"

namespace plimsoll::container {

class LimitsWatcher {
 public:
  struct Options {
    DetectOptions detect = {};
    std::function<void(const Limits& before, const Limits& after)> on_change = {};
    absl::Duration interval = absl::Seconds(1);
    // Monotonic time; null: CLOCK_MONOTONIC.
    std::function<absl::Duration()> clock = {};
  };

  explicit LimitsWatcher(Options options);
  ~LimitsWatcher();
  LimitsWatcher(const LimitsWatcher&) = delete;
  LimitsWatcher& operator=(const LimitsWatcher&) = delete;

  // Looks again if the interval has passed since it last did. True: the limits changed, and
  // on_change was called.
  bool Poll();

  const Limits& limits() const { return limits_; }

  // What the last look could not read or understand; empty when all is well.
  const std::vector<Diagnostic>& trouble() const { return trouble_; }

  absl::Duration interval() const { return options_.interval; }

  // For tests and metrics.
  struct Stats {
    uint64_t looks = 0;       // Polls that read
    uint64_t detections = 0;  // of these, those that found a byte changed
  };
  const Stats& stats() const { return stats_; }

 private:
  // One file, and what it held.
  struct Watched {
    enum class Kind { kFile, kMemoryStat, kMountTable, kAffinity };

    Kind kind = Kind::kFile;
    std::string path = {};
    int handle = -1;
    int error = 0;          // the errno of the last attempt
    std::string text = {};  // kFile: what it held
    uint64_t number = 0;    // kMemoryStat: the limit; kAffinity: the count; kMountTable: a hash
  };

  Limits DetectAgain() const;
  void Watch(const Limits& limits);
  bool Watches(const Limits& limits) const;
  void CloseAll();
  bool Look();
  bool Changed(Watched& watched);
  uint64_t Fingerprint(int handle);
  bool Adopt();

  Options options_;
  SystemFiles own_files_;
  Files& files_;
  Limits limits_;
  std::vector<Diagnostic> trouble_;
  Stats stats_;
  std::optional<absl::Duration> last_look_;

  std::vector<Watched> fast_;  // read at each look
  Watched self_;               // /proc/self/cgroup: at each, or at every other
  std::vector<Watched> slow_;  // read in turn, as the budget of system calls allows
  std::vector<std::string> watched_levels_;
  bool watching_ = false;
  size_t slots_ = 1;  // of a look, for self_ and slow_
  size_t turn_ = 0;
  size_t next_slow_ = 0;
  std::string buffer_;    // for reading, so that a look allocates nothing
  bool moved_ = false;    // this look saw another /proc/self/cgroup or mount table
  bool stale_ = false;    // a kept descriptor no longer reads the file at its path
  bool holding_ = false;  // limits_ is older than what the files say
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_LIMITS_WATCHER_H_
