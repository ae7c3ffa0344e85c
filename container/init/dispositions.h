// InstallPid1Dispositions makes signals do to PID 1 what they do to any other process.
//
//   InstallPid1Dispositions();      // early in main, before a runtime sets handlers of its own
//
// For PID 1 of a PID namespace the kernel drops each signal whose disposition is the default,
// unless it comes from an ancestor namespace and is SIGKILL or SIGSTOP. So a program that never
// heard of SIGTERM, run as a container's PID 1, does not stop when it is told to, and abort() does
// not end by SIGABRT: it falls through to a trap, and the container's exit code is 139, not 134.
//
// Does:      gives each signal that would end another process, and that still has its default
//            disposition, a handler that calls _exit(128 + signal), the code that a shell or a
//            container runtime shows for that signal.
// Leaves:    what anybody has set or ignored; faults (SIGSEGV and its kin), which end PID 1 too,
//            and with a core; SIGPIPE, since PID 1 then gets EPIPE, which a server handles better.
// Elsewhere: where getpid() is not 1 it does nothing: the default works.
// Threads:   call it before there are any. exec() undoes it: children start with the defaults.
#ifndef PLIMSOLL_CONTAINER_INIT_DISPOSITIONS_H_
#define PLIMSOLL_CONTAINER_INIT_DISPOSITIONS_H_

#include <vector>

namespace plimsoll::container {

// Returns the signals that were given a handler.
std::vector<int> InstallPid1Dispositions();

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_DISPOSITIONS_H_
