#include "plimsoll/container/init/dispositions.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "gtest/gtest.h"
#include "plimsoll/container/init/exit_status.h"
#include "plimsoll/container/init/testing/fork_as_pid1.h"

namespace plimsoll::container {
namespace {

// Runs `body` as PID 1 and gives its end; 77, when body returned.
template <typename Body>
ExitStatus EndOfPid1(pid_t pid, Body body) {
  if (pid == 0) {
    body();
    _exit(77);
  }
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED), 0);
  return ExitStatus::From(info);
}

#define FORK_AS_PID1(pid)                         \
  const absl::StatusOr<pid_t> pid = ForkAsPid1(); \
  if (!(pid).ok()) GTEST_SKIP() << "new PID namespace: " << (pid).status()

TEST(DispositionsTest, DoesNothingWhereTheDefaultsWork) {
  EXPECT_NE(getpid(), 1);
  EXPECT_TRUE(InstallPid1Dispositions().empty());
}

TEST(DispositionsTest, KernelDropsSigtermForPid1WithoutUs) {
  FORK_AS_PID1(pid);
  EXPECT_EQ(EndOfPid1(*pid, [] { kill(getpid(), SIGTERM); }), ExitStatus::Exited(77));
}

TEST(DispositionsTest, Pid1EndsByEachSignalThatEndsOthers) {
  for (const int signo : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGABRT}) {
    SCOPED_TRACE(SignalName(signo));
    FORK_AS_PID1(pid);
    EXPECT_EQ(EndOfPid1(*pid,
                        [signo] {
                          InstallPid1Dispositions();
                          kill(getpid(), signo);
                        }),
              ExitStatus::Exited(128 + signo));
  }
}

TEST(DispositionsTest, AbortOfPid1LooksLikeAnAbort) {
  FORK_AS_PID1(pid);
  EXPECT_EQ(EndOfPid1(*pid,
                      [] {
                        InstallPid1Dispositions();
                        abort();
                      })
                .Code(),
            134);
}

TEST(DispositionsTest, LeavesHandlersAndIgnoredSignalsAlone) {
  FORK_AS_PID1(pid);
  EXPECT_EQ(EndOfPid1(*pid,
                      [] {
                        signal(SIGUSR1, SIG_IGN);
                        signal(SIGUSR2, [](int) { _exit(55); });
                        const std::vector<int> installed = InstallPid1Dispositions();
                        if (std::ranges::count(installed, SIGUSR1) != 0) _exit(1);
                        if (std::ranges::count(installed, SIGUSR2) != 0) _exit(2);
                        if (std::ranges::count(installed, SIGPIPE) != 0) _exit(3);
                        kill(getpid(), SIGUSR1);
                        kill(getpid(), SIGUSR2);
                      }),
            ExitStatus::Exited(55));
}

}  // namespace
}  // namespace plimsoll::container
