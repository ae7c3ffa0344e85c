#include "plimsoll/container/init/dispositions.h"

#include <signal.h>
#include <unistd.h>

namespace plimsoll::container {
namespace {

// signal(7): those whose default is to end the process, without the faults and SIGPIPE.
constexpr int kEnding[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGABRT, SIGALRM,
                           SIGTERM, SIGUSR1, SIGUSR2, SIGPROF, SIGVTALRM,
                           SIGXCPU, SIGXFSZ, SIGIO,   SIGPWR,  SIGSTKFLT};

void ExitAsIfKilled(int signo) { _exit(128 + signo); }

}  // namespace

std::vector<int> InstallPid1Dispositions() {
  std::vector<int> installed;
  if (getpid() != 1) return installed;
  for (const int signo : kEnding) {
    struct sigaction now;
    if (sigaction(signo, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) continue;
    struct sigaction ours{};
    ours.sa_handler = &ExitAsIfKilled;
    sigfillset(&ours.sa_mask);
    if (sigaction(signo, &ours, nullptr) == 0) installed.push_back(signo);
  }
  return installed;
}

}  // namespace plimsoll::container
