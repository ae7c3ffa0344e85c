#include "plimsoll/container/init/init.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/init/child.h"
#include "plimsoll/container/init/reaper.h"
#include "plimsoll/container/init/signal_forwarder.h"

namespace plimsoll::container {
namespace {

// The signals as they were: for the program, and to put back.
class SignalSetup {
 public:
  SignalSetup() {
    waited_for_ = SignalForwarder::Signals();
    sigaddset(&waited_for_, SIGCHLD);
    sigprocmask(SIG_SETMASK, &waited_for_, &mask_);
    // An inherited "ignore" for SIGCHLD would make the kernel drop every status. The terminal's two
    // would stop us when we are in the background, and nobody could wake us.
    Set(SIGCHLD, SIG_DFL);
    Set(SIGTTIN, SIG_IGN);
    Set(SIGTTOU, SIG_IGN);
  }
  ~SignalSetup() {
    for (const auto& [signo, action] : actions_) sigaction(signo, &action, nullptr);
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
  }
  SignalSetup(const SignalSetup&) = delete;
  SignalSetup& operator=(const SignalSetup&) = delete;

  const sigset_t& waited_for() const { return waited_for_; }
  const sigset_t& mask() const { return mask_; }
  const std::vector<std::pair<int, struct sigaction>>& actions() const { return actions_; }

 private:
  void Set(int signo, sighandler_t handler) {
    struct sigaction ours{}, theirs;
    ours.sa_handler = handler;
    if (sigaction(signo, &ours, &theirs) == 0) actions_.emplace_back(signo, theirs);
  }

  sigset_t waited_for_, mask_;
  std::vector<std::pair<int, struct sigaction>> actions_;
};

// The next signal, or 0 when `limit` has passed or the wait was cut short.
int NextSignal(const sigset_t& signals, absl::Duration limit) {
  siginfo_t info;
  int signo;
  if (limit == absl::InfiniteDuration()) {
    signo = sigwaitinfo(&signals, &info);
  } else {
    const timespec timeout = absl::ToTimespec(limit);
    signo = sigtimedwait(&signals, &info, &timeout);
  }
  return signo < 0 ? 0 : signo;
}

int CodeForSpawnError(const absl::Status& status) {
  if (absl::IsNotFound(status)) return 127;
  if (absl::IsPermissionDenied(status)) return 126;
  return 1;
}

}  // namespace

int RunInit(const InitOptions& options, const std::function<void(std::string_view)>& log) {
  const auto say = [&](const auto&... parts) { log(absl::StrCat(parts...)); };

  if (options.parent_death_signal != 0 &&
      prctl(PR_SET_PDEATHSIG, options.parent_death_signal, 0, 0, 0) != 0) {
    say("-p: prctl(PR_SET_PDEATHSIG): ", strerror(errno));
    return 1;
  }
  if (options.subreaper && !BecomeSubreaper()) {
    say("-s: prctl(PR_SET_CHILD_SUBREAPER): ", strerror(errno));
    return 1;
  }
  if (getpid() != 1 && !options.subreaper) {
    say("warning: this is PID ", getpid(),
        " and no subreaper: orphans go to somebody else. Use -s, ", "or make this PID 1");
  }

  const SignalSetup signals;
  Reaper reaper({.grace = absl::ZeroDuration(),  // nobody in this process waits but us
                 .on_reaped =
                     [&](pid_t pid, ExitStatus status) {
                       if (options.verbose || options.warn_on_reap) {
                         say("reaped orphan ", pid, ": ", status.Describe());
                       }
                     },
                 .proc = "/proc",
                 .now_ns = nullptr});
  absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = options.argv,
                                                      .own_group = true,
                                                      .signal_mask = signals.mask(),
                                                      .actions = signals.actions()});
  if (!child.ok()) {
    say(absl::string_view(child.status().message()));
    return CodeForSpawnError(child.status());
  }
  if (options.verbose) say("started ", Shown(options.argv[0]), " as PID ", child->pid());

  const SignalForwarder forwarder(
      *child, options.whole_group ? SignalForwarder::To::kGroup : SignalForwarder::To::kProcess);
  absl::Duration look_again = absl::InfiniteDuration();
  std::optional<ExitStatus> end;
  while (!end) {
    const int signo = NextSignal(signals.waited_for(), look_again);
    if (signo != 0 && signo != SIGCHLD) {
      const absl::Status sent = forwarder.Forward(signo);
      if (!sent.ok() || options.verbose) {
        say("passed on ", SignalName(signo), ": ", sent.ok() ? "sent" : sent.ToString());
      }
    }
    absl::StatusOr<std::optional<ExitStatus>> ended = child->TryWait();
    if (!ended.ok()) {  // cannot be while we are the only thread; better than to wait for ever
      say(absl::string_view(ended.status().message()));
      return 1;
    }
    end = *ended;
    look_again = reaper.Reap().again_in;
  }

  const int code = end->Code();
  const bool success = code < 256 && options.success_codes[static_cast<size_t>(code)];
  if (options.verbose) {
    say(Shown(options.argv[0]), " ", end->Describe(), success ? "; counts as 0" : "");
  }
  return success ? 0 : code;
}

}  // namespace plimsoll::container
