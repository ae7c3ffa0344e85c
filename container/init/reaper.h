// A Reaper takes the statuses of orphans that fell to this process, and leaves its own children's.
//
//   Reaper reaper;                                    // this process is PID 1, or a subreaper
//   { Reaper::SpawnHold hold(reaper); pid = fork(); ...; hold.Own(pid); }
//   for (;;) { WaitForSigchld(report.again_in); report = reaper.Reap(); }
//   waitpid(pid, &status, 0); reaper.Disown(pid);     // the owner's wait, whenever it likes
//
// A process that has ended stays as a zombie, and holds its PID, until its parent waits. Orphans
// get PID 1 (or the nearest subreaper) for a parent. `waitpid(-1)` would reap them and steal the
// statuses of our own children with them; so this looks first (WNOWAIT) and takes by PID.
//
//   a zombie that is    is taken
//   owned               never: its owner waits
//   not owned           once it has been a zombie for `grace`, so that a library that forks and
//                       waits for itself (system(), popen()) gets its status
//
// Blocking:  never waits for a process. Reap keeps SpawnHolds out for as long as it runs.
// Threads:   any. A SpawnHold is held from before fork() until Own(): without it a child that ends
//            at once could be taken for an orphan (with a grace, only if the owner is slower than
//            that).
// Kernel:    with an unwaited zombie of our own in the way, the rest are found through
//            /proc/self/task/*/children; where that is missing they wait for that owner (`blind`).
// Misuse:    SIGCHLD ignored, or SA_NOCLDWAIT, makes the kernel drop every status, ours too.
#ifndef PLIMSOLL_CONTAINER_INIT_REAPER_H_
#define PLIMSOLL_CONTAINER_INIT_REAPER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "absl/time/time.h"
#include "plimsoll/container/init/exit_status.h"

namespace plimsoll::container {

struct ReaperOptions {
  // How long a zombie that nobody owns is left to whoever may be about to wait for it.
  absl::Duration grace = absl::Seconds(1);
  // Called for each orphan taken, from within Reap; must not call the Reaper.
  std::function<void(pid_t, ExitStatus)> on_reaped = {};
  // For tests: where proc is mounted, and the clock in nanoseconds (null: CLOCK_MONOTONIC).
  std::string proc = "/proc";
  std::function<int64_t()> now_ns = {};
};

struct ReapReport {
  int reaped = 0;
  // Call Reap again after this long, even without a SIGCHLD; infinite when nothing is pending.
  absl::Duration again_in = absl::InfiniteDuration();
  // There may be orphans that could not be seen: no usable /proc, and an owner who has not waited.
  bool blind = false;
};

class Reaper {
 public:
  explicit Reaper(ReaperOptions options = {});
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Keeps Reap out between a fork and the Own() of its child.
  class SpawnHold {
   public:
    explicit SpawnHold(Reaper& reaper) : reaper_(reaper), hold_(reaper.spawning_) {}
    void Own(pid_t pid) { reaper_.Own(pid); }

   private:
    Reaper& reaper_;
    std::shared_lock<std::shared_mutex> hold_;
  };

  // The status of `pid` is for somebody else to take, until Disown.
  void Own(pid_t pid);
  // Its owner has waited for `pid`, or never will. Idempotent.
  void Disown(pid_t pid);

  // Takes what may be taken now.
  ReapReport Reap();

 private:
  enum class Verdict { kTaken, kKept };

  Verdict Judge(pid_t zombie, int64_t now_ns, ReapReport& report);
  bool IsOwned(pid_t pid);

  const ReaperOptions options_;
  // Shared by those who fork, exclusive in Reap. Ranks before mu_.
  std::shared_mutex spawning_;
  std::mutex mu_;  // guards owned_
  std::unordered_set<pid_t> owned_;
  // Zombies that nobody owns, and when each was first seen. Touched by Reap alone.
  std::unordered_map<pid_t, int64_t> first_seen_ns_;
};

// The children of all threads of this process as `proc` lists them; empty and false where it cannot
// be read or shows another PID namespace. A child that ends meanwhile may be missing (proc(5)).
bool ListChildren(const std::string& proc, std::vector<pid_t>* children);

// Makes orphans among our descendants fall to us although we are not PID 1. False: errno tells.
bool BecomeSubreaper();

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_REAPER_H_
