#include "plimsoll/container/init/testing/fork_as_pid1.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace plimsoll::container {

absl::StatusOr<pid_t> ForkAsPid1() {
  // As root no user namespace: it would take the privilege to mount away again in some sandboxes.
  for (const unsigned long extra : {0UL, static_cast<unsigned long>(CLONE_NEWUSER)}) {
    const unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | SIGCHLD | extra;
    const long pid = syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr);
    if (pid > 0) return static_cast<pid_t>(pid);
    if (pid == 0) {
      if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
        (void)mount("proc", "/proc", "proc", 0, nullptr);
      }
      return 0;
    }
  }
  return absl::ErrnoToStatus(errno, "clone(CLONE_NEWPID)");
}

}  // namespace plimsoll::container
