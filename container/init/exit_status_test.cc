#include "plimsoll/container/init/exit_status.h"

#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

TEST(ExitStatusTest, GivesOneNumberForExitAndSignalAsAShellDoes) {
  const struct {
    ExitStatus status;
    int code;
    std::string text;
  } kCases[] = {
      {ExitStatus::Exited(0), 0, "exited with 0"},
      {ExitStatus::Exited(255), 255, "exited with 255"},
      {ExitStatus::Signaled(SIGTERM), 143, "killed by SIGTERM"},
      {ExitStatus::Signaled(SIGKILL), 137, "killed by SIGKILL"},
      {ExitStatus::Signaled(SIGSEGV, true), 139, "killed by SIGSEGV (core dumped)"},
      {ExitStatus::Signaled(SIGRTMIN + 3), 128 + SIGRTMIN + 3, "killed by SIGRTMIN+3"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    EXPECT_EQ(c.status.Code(), c.code);
    EXPECT_EQ(c.status.Describe(), c.text);
  }
}

TEST(ExitStatusTest, ReadsWhatTheKernelSaysOfARealChild) {
  const struct {
    int exit_code;
    int signal;
  } kCases[] = {{0, 0}, {7, 0}, {0, SIGKILL}, {0, SIGTERM}};
  for (const auto& c : kCases) {
    const pid_t pid = fork();
    if (pid == 0) {
      if (c.signal != 0) {
        signal(c.signal, SIG_DFL);
        kill(getpid(), c.signal);
      }
      _exit(c.exit_code);
    }
    siginfo_t info{};
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED), 0);
    const ExitStatus status = ExitStatus::From(info);
    EXPECT_EQ(status.exit_code, c.exit_code);
    EXPECT_EQ(status.signal, c.signal);
  }
}

TEST(SignalNumberTest, TakesNamesWithAndWithoutSigAndNumbers) {
  const struct {
    std::string_view text;
    int number;
  } kCases[] = {
      {"TERM", SIGTERM},
      {"SIGTERM", SIGTERM},
      {"15", 15},
      {"SIGRTMIN+1", SIGRTMIN + 1},
      {"", 0},
      {"0", 0},
      {"-1", 0},
      {"65", 0},
      {"99999999999", 0},
      {"TERMX", 0},
      {"SIG", 0},
      {"15x", 0},
      {"term", 0},
      {"SIGSIGTERM", 0},
  };
  for (const auto& c : kCases) EXPECT_EQ(SignalNumber(c.text), c.number) << c.text;
}

TEST(SignalNameTest, ComesBackThroughSignalNumberForEverySignal) {
  for (int signo = 1; signo <= SIGRTMAX; ++signo) {
    if (signo == 32 || signo == 33) continue;  // the C library's own
    EXPECT_EQ(SignalNumber(SignalName(signo)), signo) << SignalName(signo);
  }
  EXPECT_EQ(SignalName(99), "signal 99");
}

}  // namespace
}  // namespace plimsoll::container
