// A Child is a process that this one started and whose status it alone takes.
//
//   Reaper reaper;
//   absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/app", "--flag"}});
//   if (!child.ok()) return child.status();        // NOT_FOUND: exec "/app": No such file or
//   directory absl::StatusOr<ExitStatus> end = child->Wait();
//
// Handle:    moves, does not copy. Destroyed before its status was taken, it leaves the process
//            running and its status to the Reaper, which must outlive it.
// Blocking:  Spawn waits until the new process has called exec or failed to; Wait blocks its
//            thread. A runtime polls pidfd(), which becomes readable at the end, and then calls
//            TryWait.
// Threads:   one at a time for each Child; Spawn from any.
// Identity:  a signal cannot reach a stranger: the PID is ours until the status has been taken.
// Kernel:    without pidfd_open (Linux 5.3; some seccomp profiles) pidfd() is -1 and the rest
//            works.
#ifndef PLIMSOLL_CONTAINER_INIT_CHILD_H_
#define PLIMSOLL_CONTAINER_INIT_CHILD_H_

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/init/exit_status.h"
#include "plimsoll/container/init/reaper.h"

namespace plimsoll::container {

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH unless it holds a slash
  // The child leads a process group of its own, and has the terminal of stdin, if that is one.
  bool own_group = false;
  // What the child starts with; absent: what the caller has.
  std::optional<sigset_t> signal_mask = {};
  std::vector<std::pair<int, struct sigaction>> actions = {};
};

class Child {
 public:
  // The code tells a caller what to report: kNotFound (no such program), kPermissionDenied, others.
  static absl::StatusOr<Child> Spawn(Reaper& reaper, const SpawnOptions& options);

  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }

  // Nullopt while it runs. kNotFound: somebody else took the status.
  absl::StatusOr<std::optional<ExitStatus>> TryWait();
  absl::StatusOr<ExitStatus> Wait();

  // To the process, or to all of its group. kNotFound: it has ended.
  absl::Status Kill(int signo, bool whole_group = false) const;

 private:
  Child(Reaper& reaper, pid_t pid, int pidfd) : reaper_(&reaper), pid_(pid), pidfd_(pidfd) {}
  absl::StatusOr<std::optional<ExitStatus>> WaitWith(int flags);
  void Release();

  Reaper* reaper_;  // null: moved from
  pid_t pid_;
  int pidfd_;
  std::optional<ExitStatus> end_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_CHILD_H_
