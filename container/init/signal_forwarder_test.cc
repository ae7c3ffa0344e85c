#include "plimsoll/container/init/signal_forwarder.h"

#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

absl::StatusOr<Child> SpawnShell(Reaper& reaper, const std::string& script) {
  return Child::Spawn(reaper, {.argv = {"/bin/sh", "-c", script}, .own_group = true});
}

TEST(SignalForwarderTest, ForwardsEverySignalButOurOwnAndThoseThatCannotBeWaitedFor) {
  for (int signo = -1; signo <= SIGRTMAX + 1; ++signo) {
    const bool ours = signo == SIGCHLD || signo == SIGTTIN || signo == SIGTTOU;
    const bool impossible = signo == SIGKILL || signo == SIGSTOP;
    const bool exists = signo >= 1 && signo <= SIGRTMAX && signo != 32 && signo != 33;
    EXPECT_EQ(SignalForwarder::Forwards(signo), exists && !ours && !impossible) << signo;
  }
  const sigset_t set = SignalForwarder::Signals();
  for (int signo = 1; signo <= SIGRTMAX; ++signo) {
    EXPECT_EQ(sigismember(&set, signo) == 1, SignalForwarder::Forwards(signo)) << signo;
  }
}

TEST(SignalForwarderTest, ChildEndsByTheSignalThatWasForwarded) {
  for (const int signo : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGABRT, SIGRTMIN + 5}) {
    SCOPED_TRACE(SignalName(signo));
    Reaper reaper;
    absl::StatusOr<Child> child =
        Child::Spawn(reaper, {.argv = {"/bin/sleep", "1000"}, .own_group = true});
    ASSERT_TRUE(child.ok()) << child.status();
    ASSERT_TRUE(SignalForwarder(*child, SignalForwarder::To::kProcess).Forward(signo).ok());
    EXPECT_EQ(child->Wait()->signal, signo);
  }
}

// A shell that runs `sleep` in the foreground traps TERM only after sleep has ended.
TEST(SignalForwarderTest, GroupGetsTheSignalThatItsLeaderWouldSitOn) {
  Reaper reaper;
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  absl::StatusOr<Child> child =
      SpawnShell(reaper, "trap 'exit 7' TERM; (trap - TERM; echo >&" + std::to_string(ready[1]) +
                             "; exec sleep 1000); exit 1");
  ASSERT_TRUE(child.ok()) << child.status();
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  ASSERT_TRUE(SignalForwarder(*child, SignalForwarder::To::kGroup).Forward(SIGTERM).ok());
  EXPECT_EQ(child->Wait()->Code(), 7);
  close(ready[0]);
  close(ready[1]);
}

TEST(SignalForwarderTest, IsAtEaseWithAChildThatHasEnded) {
  Reaper reaper;
  absl::StatusOr<Child> child = SpawnShell(reaper, "exit 0");
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(child->Wait().ok());
  EXPECT_TRUE(SignalForwarder(*child, SignalForwarder::To::kProcess).Forward(SIGTERM).ok());
}

TEST(SignalForwarderTest, RefusesWhatItDoesNotForward) {
  Reaper reaper;
  absl::StatusOr<Child> child = SpawnShell(reaper, "exit 0");
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(SignalForwarder(*child, SignalForwarder::To::kProcess).Forward(SIGCHLD).code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(child->Wait().ok());
}

}  // namespace
}  // namespace plimsoll::container
