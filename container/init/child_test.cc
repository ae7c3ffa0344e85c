#include "plimsoll/container/init/child.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

TEST(ChildTest, ReportsHowItsProgramEnded) {
  const struct {
    std::string script;
    ExitStatus end;
  } kCases[] = {
      {"exit 0", ExitStatus::Exited(0)},
      {"exit 42", ExitStatus::Exited(42)},
      {"kill -TERM $$", ExitStatus::Signaled(SIGTERM)},
      {"kill -KILL $$", ExitStatus::Signaled(SIGKILL)},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.script);
    Reaper reaper;
    absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/bin/sh", "-c", c.script}});
    ASSERT_TRUE(child.ok()) << child.status();
    const absl::StatusOr<ExitStatus> end = child->Wait();
    ASSERT_TRUE(end.ok()) << end.status();
    EXPECT_EQ(*end, c.end) << end->Describe();
    EXPECT_EQ(*child->Wait(), c.end) << "a second wait gives the same answer";
  }
}

TEST(ChildTest, SaysWhyAProgramCouldNotBeRun) {
  const struct {
    std::vector<std::string> argv;
    absl::StatusCode code;
    std::string text;
  } kCases[] = {
      {{"/no/such/program"}, absl::StatusCode::kNotFound, "exec \"/no/such/program\""},
      {{"no-such-program-anywhere"}, absl::StatusCode::kNotFound, "no-such-program-anywhere"},
      {{"/no/\x1b[2J\x07"}, absl::StatusCode::kNotFound, "exec \"/no/\\x1b[2J\\x07\""},
      {{"/"}, absl::StatusCode::kPermissionDenied, "exec \"/\""},
      {{}, absl::StatusCode::kInvalidArgument, "no program was named"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    Reaper reaper;
    const absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = c.argv});
    EXPECT_EQ(child.status().code(), c.code);
    EXPECT_NE(child.status().ToString().find(c.text), std::string::npos) << child.status();
    EXPECT_LT(waitpid(-1, nullptr, WNOHANG), 0) << "a failed spawn leaves no zombie";
  }
}

TEST(ChildTest, TryWaitTellsRunningFromEndedAndPidfdWakesAtTheEnd) {
  Reaper reaper;
  absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/bin/sleep", "1000"}});
  ASSERT_TRUE(child.ok()) << child.status();
  absl::StatusOr<std::optional<ExitStatus>> end = child->TryWait();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
  ASSERT_TRUE(child->Kill(SIGKILL).ok());
  if (child->pidfd() < 0) GTEST_SKIP() << "pidfd_open: this kernel or its seccomp filter has none";
  pollfd waiter{child->pidfd(), POLLIN, 0};
  ASSERT_EQ(poll(&waiter, 1, 10'000), 1);
  end = child->TryWait();
  ASSERT_TRUE(end.ok());
  EXPECT_TRUE(end->has_value());
}

TEST(ChildTest, KillAfterTheEndReachesNobody) {
  Reaper reaper;
  absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/bin/true"}});
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(child->Wait().ok());
  EXPECT_EQ(child->Kill(SIGTERM).code(), absl::StatusCode::kNotFound);
}

TEST(ChildTest, StatusThatSomebodyElseTookIsNotFound) {
  Reaper reaper;
  absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/bin/true"}});
  ASSERT_TRUE(child.ok());
  ASSERT_EQ(waitpid(child->pid(), nullptr, 0), child->pid());
  EXPECT_FALSE(child->Wait().ok());
}

TEST(ChildTest, StatusIsLeftToTheReaperWhenTheHandleGoesAway) {
  Reaper reaper({.grace = absl::ZeroDuration()});
  pid_t pid;
  {
    absl::StatusOr<Child> child = Child::Spawn(reaper, {.argv = {"/bin/true"}});
    ASSERT_TRUE(child.ok());
    pid = child->pid();
    siginfo_t info{};  // wait until it is a zombie, and leave it one
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(reaper.Reap().reaped, 0) << "owned";
  }
  EXPECT_EQ(reaper.Reap().reaped, 1);
  EXPECT_LT(waitpid(pid, nullptr, WNOHANG), 0);
}

TEST(ChildTest, MovesWithItsProcess) {
  Reaper reaper;
  absl::StatusOr<Child> a = Child::Spawn(reaper, {.argv = {"/bin/sh", "-c", "exit 1"}});
  absl::StatusOr<Child> b = Child::Spawn(reaper, {.argv = {"/bin/sh", "-c", "exit 2"}});
  ASSERT_TRUE(a.ok() && b.ok());
  Child first = *std::move(a);
  EXPECT_EQ(first.Wait()->Code(), 1);
  first = *std::move(b);
  EXPECT_EQ(first.Wait()->Code(), 2);
}

TEST(ChildTest, StartsWithTheMaskAndGroupThatItWasGiven) {
  Reaper reaper;
  SpawnOptions options;
  // The script ends by SIGUSR1 only if that is not blocked in it, and says 9 if it leads no group.
  options.argv = {"/bin/sh", "-c",
                  "[ \"$(cut -d' ' -f5 /proc/$$/stat)\" = $$ ] || exit 9; kill -USR1 $$; exit 8"};
  options.own_group = true;
  sigset_t block, empty, before;
  sigemptyset(&empty);
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  options.signal_mask = empty;
  absl::StatusOr<Child> child = Child::Spawn(reaper, options);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ(child->Wait()->signal, SIGUSR1);
}

}  // namespace
}  // namespace plimsoll::container
