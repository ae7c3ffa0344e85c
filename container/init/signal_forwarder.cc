#include "plimsoll/container/init/signal_forwarder.h"

namespace plimsoll::container {

bool SignalForwarder::Forwards(int signo) {
  switch (signo) {
    case SIGCHLD:
    case SIGTTIN:
    case SIGTTOU:
    case SIGKILL:
    case SIGSTOP:
      return false;
    default:
      // Below SIGRTMIN the C library keeps some for itself, that sigaddset refuses.
      return (signo >= 1 && signo <= SIGSYS) || (signo >= SIGRTMIN && signo <= SIGRTMAX);
  }
}

sigset_t SignalForwarder::Signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signo = 1; signo <= SIGRTMAX; ++signo) {
    if (Forwards(signo)) sigaddset(&set, signo);
  }
  return set;
}

absl::Status SignalForwarder::Forward(int signo) const {
  if (!Forwards(signo)) {
    return absl::InvalidArgumentError(SignalName(signo) + " is not passed on");
  }
  const absl::Status sent = child_.Kill(signo, to_ == To::kGroup);
  return absl::IsNotFound(sent) ? absl::OkStatus() : sent;
}

}  // namespace plimsoll::container
