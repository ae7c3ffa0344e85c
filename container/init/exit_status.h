// An ExitStatus is how a process ended: by its own exit, or by a signal.
//
//   ExitStatus::Exited(3).Code()           // 3
//   ExitStatus::Signaled(SIGTERM).Code()   // 143, what a shell and tini report
#ifndef PLIMSOLL_CONTAINER_INIT_EXIT_STATUS_H_
#define PLIMSOLL_CONTAINER_INIT_EXIT_STATUS_H_

#include <signal.h>

#include <string>
#include <string_view>

namespace plimsoll::container {

// "SIGTERM", "SIGRTMIN+3", or "signal 99" for what is none.
std::string SignalName(int signo);

// The number for "TERM", "SIGTERM" or "15"; 0 for anything else.
int SignalNumber(std::string_view name);

struct ExitStatus {
  int exit_code = 0;  // meaningful while signal is 0
  int signal = 0;     // the one that ended it; 0: it exited
  bool dumped_core = false;

  static ExitStatus Exited(int code) { return {code, 0, false}; }
  static ExitStatus Signaled(int signo, bool core = false) { return {0, signo, core}; }
  // From what waitid() filled in for a child that ended.
  static ExitStatus From(const siginfo_t& info);

  // One number for both kinds: the exit code, or 128 + signal.
  int Code() const { return signal != 0 ? 128 + signal : exit_code; }
  // "exited with 3", "killed by SIGSEGV (core dumped)".
  std::string Describe() const;

  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_EXIT_STATUS_H_
