// ForkAsPid1 forks, like fork(), but its child is PID 1 of a new PID namespace with its own /proc.
//
//   absl::StatusOr<pid_t> pid = ForkAsPid1();
//   if (!pid.ok()) GTEST_SKIP() << "new PID namespace: " << pid.status();
//   if (*pid == 0) { ...; _exit(0); }
//
// Privilege: CAP_SYS_ADMIN, or unprivileged user namespaces. Otherwise a Status, and nothing
// forked. Process:   call it with one thread. The child's /proc may be the parent's, where mounting
// is refused.
#ifndef PLIMSOLL_CONTAINER_INIT_TESTING_FORK_AS_PID1_H_
#define PLIMSOLL_CONTAINER_INIT_TESTING_FORK_AS_PID1_H_

#include <sys/types.h>

#include "absl/status/statusor.h"

namespace plimsoll::container {

absl::StatusOr<pid_t> ForkAsPid1();

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_TESTING_FORK_AS_PID1_H_
