// A SignalForwarder passes the signals that reach this process on to its child.
//
//   sigset_t signals = SignalForwarder::Signals();
//   pthread_sigmask(SIG_BLOCK, &signals, nullptr);              // before any thread starts
//   SignalForwarder forwarder(child, SignalForwarder::To::kGroup);
//   while ((signo = sigwaitinfo(&signals, &info)) > 0) (void)forwarder.Forward(signo);
//
// Which:     every signal that can be waited for, except SIGCHLD (ours), SIGTTIN and SIGTTOU (about
//            our own use of the terminal), and the two that the C library keeps. SIGSEGV and its
//            kin are passed on when a process sent them; one that is our own fault ends us all the
//            same, for the kernel does not let a fault be blocked.
// To:        the process alone, or its group: a shell that waits for its child heeds a signal only
//            after the child has ended, so there the group must get it.
// Blocking:  never.
#ifndef PLIMSOLL_CONTAINER_INIT_SIGNAL_FORWARDER_H_
#define PLIMSOLL_CONTAINER_INIT_SIGNAL_FORWARDER_H_

#include <signal.h>

#include "absl/status/status.h"
#include "plimsoll/container/init/child.h"

namespace plimsoll::container {

class SignalForwarder {
 public:
  enum class To { kProcess, kGroup };

  // `child` outlives this.
  SignalForwarder(const Child& child, To to) : child_(child), to_(to) {}

  static bool Forwards(int signo);
  // Those for which Forwards is true.
  static sigset_t Signals();

  // OK too when the child has ended: its status is on its way.
  absl::Status Forward(int signo) const;

 private:
  const Child& child_;
  const To to_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_SIGNAL_FORWARDER_H_
