#include "plimsoll/container/init/exit_status.h"

#include <string.h>

#include <charconv>

#include "absl/strings/str_cat.h"

namespace plimsoll::container {

std::string SignalName(int signo) {
  if (const char* name = sigabbrev_np(signo); name != nullptr) return absl::StrCat("SIG", name);
  if (signo >= SIGRTMIN && signo <= SIGRTMAX) return absl::StrCat("SIGRTMIN+", signo - SIGRTMIN);
  return absl::StrCat("signal ", signo);
}

int SignalNumber(std::string_view name) {
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc() && end == name.data() + name.size()) {
    return number > 0 && number <= SIGRTMAX ? number : 0;
  }
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (int signo = 1; signo <= SIGRTMAX; ++signo) {
    if (SignalName(signo).substr(3) == name) return signo;
  }
  return 0;
}

ExitStatus ExitStatus::From(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return Exited(info.si_status);
  return Signaled(info.si_status, info.si_code == CLD_DUMPED);
}

std::string ExitStatus::Describe() const {
  if (signal == 0) return absl::StrCat("exited with ", exit_code);
  return absl::StrCat("killed by ", SignalName(signal), dumped_core ? " (core dumped)" : "");
}

}  // namespace plimsoll::container
