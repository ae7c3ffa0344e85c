// plimsoll-init as a program: the same table for it and for tini, as a subreaper and as PID 1.
#include "plimsoll/container/init/init.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/container/init/exit_status.h"
#include "plimsoll/container/init/testing/fork_as_pid1.h"

namespace plimsoll::container {
namespace {

using Args = std::vector<std::string>;

const std::string kInit = "container/init/plimsoll-init";
const std::string kOrphanMaker = "container/init/testing/orphan_maker";
const std::string kTini = "/usr/bin/tini";

struct Outcome {
  ExitStatus end;
  std::string err;  // what it wrote to stderr
};

// Runs `command` in the process that `fork_one` makes. Once it has written a byte to its descriptor
// 9, each of `signals` is sent to it.
absl::StatusOr<Outcome> RunProgram(const std::function<absl::StatusOr<pid_t>()>& fork_one,
                                   const Args& command, const std::vector<int>& signals) {
  int ready[2], err[2];
  EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
  const absl::StatusOr<pid_t> pid = fork_one();
  if (!pid.ok()) return pid.status();
  if (*pid == 0) {
    dup2(ready[1], 9);
    dup2(err[1], STDERR_FILENO);
    const int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    std::vector<char*> argv;
    for (const std::string& arg : command) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(99);
  }
  close(ready[1]);
  close(err[1]);
  char byte;
  if (!signals.empty()) {
    EXPECT_EQ(read(ready[0], &byte, 1), 1) << "it never was ready";
  }
  for (const int signo : signals) kill(*pid, signo);
  Outcome outcome;
  char buffer[4096];
  for (ssize_t n; (n = read(err[0], buffer, sizeof buffer)) > 0;) {
    outcome.err.append(buffer, static_cast<size_t>(n));
  }
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(*pid), &info, WEXITED), 0);
  outcome.end = ExitStatus::From(info);
  close(ready[0]);
  close(err[0]);
  return outcome;
}

absl::StatusOr<pid_t> PlainFork() { return fork(); }

struct Case {
  std::string name;
  Args options;
  Args program;
  std::vector<int> signals;
  int code;
};

Args Sh(const std::string& script) { return {"/bin/sh", "-c", script}; }

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"success", {}, Sh("exit 0"), {}, 0},
      {"failure", {}, Sh("exit 3"), {}, 3},
      {"highest code", {}, Sh("exit 255"), {}, 255},
      {"killed by TERM", {}, Sh("kill -TERM $$"), {}, 143},
      {"killed by KILL", {}, Sh("kill -KILL $$"), {}, 137},
      {"killed by SEGV", {}, Sh("ulimit -c 0; kill -SEGV $$"), {}, 139},
      {"not found", {}, {"/no/such/program"}, {}, 127},
      {"not in PATH", {}, {"no-such-program-anywhere"}, {}, 127},
      {"not executable", {}, {"/etc/passwd"}, {}, 126},
      {"a directory", {}, {"/etc"}, {}, 126},
      {"TERM", {}, Sh("echo >&9; exec sleep 1000"), {SIGTERM}, 143},
      {"INT", {}, Sh("echo >&9; exec sleep 1000"), {SIGINT}, 130},
      {"HUP", {}, Sh("echo >&9; exec sleep 1000"), {SIGHUP}, 129},
      {"QUIT", {}, Sh("ulimit -c 0; echo >&9; exec sleep 1000"), {SIGQUIT}, 131},
      {"USR1", {}, Sh("echo >&9; exec sleep 1000"), {SIGUSR1}, 138},
      {"real-time", {}, Sh("echo >&9; exec sleep 1000"), {SIGRTMIN + 2}, 128 + SIGRTMIN + 2},
      {"TERM handled", {}, Sh("trap 'exit 9' TERM; echo >&9; while :; do :; done"), {SIGTERM}, 9},
      {"WINCH ignored, then TERM",
       {},
       Sh("trap 'exit 9' TERM; echo >&9; while :; do :; done"),
       {SIGWINCH, SIGTERM},
       9},
      {"group",
       {"-g"},
       Sh("trap 'exit 5' TERM; (trap - TERM; echo >&9; exec sleep 1000); exit 1"),
       {SIGTERM},
       5},
      {"code that counts as success", {"-e", "3"}, Sh("exit 3"), {}, 0},
      {"other code beside it", {"-e", "3"}, Sh("exit 4"), {}, 4},
      {"signal that counts as success",
       {"-e", "143"},
       Sh("echo >&9; exec sleep 1000"),
       {SIGTERM},
       0},
      {"child behind it that goes on", {}, Sh("sleep 1000 >&- 2>&- & exit 6"), {}, 6},
  };
  return *cases;
}

void RunTable(const std::string& init, const Args& always,
              const std::function<absl::StatusOr<pid_t>()>& fork_one, bool* could) {
  for (const Case& c : Cases()) {
    SCOPED_TRACE(init + ": " + c.name);
    Args command = {init};
    command.insert(command.end(), always.begin(), always.end());
    command.insert(command.end(), c.options.begin(), c.options.end());
    command.push_back("--");
    command.insert(command.end(), c.program.begin(), c.program.end());
    const absl::StatusOr<Outcome> outcome = RunProgram(fork_one, command, c.signals);
    *could = outcome.ok();
    if (!outcome.ok()) return;
    EXPECT_EQ(outcome->end, ExitStatus::Exited(c.code)) << outcome->end.Describe() << outcome->err;
  }
}

TEST(InitTest, ExitsAsItsProgramDoesAsASubreaper) {
  bool could;
  RunTable(kInit, {"-s"}, &PlainFork, &could);
  ASSERT_TRUE(could);
}

TEST(InitTest, ExitsAsItsProgramDoesAsPid1) {
  bool could;
  RunTable(kInit, {}, &ForkAsPid1, &could);
  if (!could) GTEST_SKIP() << "no new PID namespace here (CAP_SYS_ADMIN or user namespaces)";
}

TEST(InitTest, TiniGivesTheSameTable) {
  if (access(kTini.c_str(), X_OK) != 0) GTEST_SKIP() << "tini: not installed";
  bool could;
  RunTable(kTini, {"-s"}, &PlainFork, &could);
  ASSERT_TRUE(could);
}

TEST(InitTest, TiniGivesTheSameTableAsPid1) {
  if (access(kTini.c_str(), X_OK) != 0) GTEST_SKIP() << "tini: not installed";
  bool could;
  RunTable(kTini, {}, &ForkAsPid1, &could);
  if (!could) GTEST_SKIP() << "no new PID namespace here (CAP_SYS_ADMIN or user namespaces)";
}

int Lines(const std::string& text, const std::string& holding) {
  int lines = 0;
  for (size_t at = 0; (at = text.find(holding, at)) != std::string::npos; ++at) ++lines;
  return lines;
}

TEST(InitTest, ReapsAThousandOrphansWhileItsProgramRuns) {
  const absl::StatusOr<Outcome> outcome =
      RunProgram(&PlainFork, {kInit, "-sw", "--", kOrphanMaker, "1000"}, {});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->end, ExitStatus::Exited(0)) << outcome->err;
  EXPECT_EQ(Lines(outcome->err, "reaped orphan"), 1000);
}

TEST(InitTest, ReapsAThousandOrphansAsPid1) {
  const absl::StatusOr<Outcome> outcome =
      RunProgram(&ForkAsPid1, {kInit, "-w", "--", kOrphanMaker, "1000"}, {});
  if (!outcome.ok()) GTEST_SKIP() << "new PID namespace: " << outcome.status();
  if (outcome->err.find("children of") != std::string::npos) {
    GTEST_SKIP() << "no /proc of its own could be mounted: " << outcome->err;
  }
  EXPECT_EQ(outcome->end, ExitStatus::Exited(0)) << outcome->err;
  EXPECT_EQ(Lines(outcome->err, "reaped orphan"), 1000);
}

// tini, as any process, ends by a SIGABRT that is sent to it, and leaves its program behind; we
// pass it on.
TEST(InitTest, PassesOnEvenTheSignalsThatTiniKeeps) {
  for (const int signo : {SIGABRT, SIGSEGV, SIGSYS}) {
    SCOPED_TRACE(SignalName(signo));
    const absl::StatusOr<Outcome> outcome = RunProgram(
        &PlainFork, {kInit, "-s", "--", "/bin/sh", "-c", "ulimit -c 0; echo >&9; exec sleep 1000"},
        {signo});
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(outcome->end, ExitStatus::Exited(128 + signo)) << outcome->err;
  }
}

TEST(InitTest, SurvivesAnInheritedIgnoreOfSigchldAndHandsItToItsProgram) {
  const auto fork_ignoring = []() -> absl::StatusOr<pid_t> {
    const pid_t pid = fork();
    if (pid == 0) signal(SIGCHLD, SIG_IGN);
    return pid;
  };
  // SIGCHLD is bit 16, the lowest of the fifth hexadecimal digit. (A shell would not do: some take
  // SIGCHLD for themselves.)
  const absl::StatusOr<Outcome> outcome = RunProgram(
      fork_ignoring,
      {kInit, "-s", "--", "/bin/grep", "-q", "^SigIgn:.*[13579bdf]....$", "/proc/self/status"}, {});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->end, ExitStatus::Exited(0)) << outcome->err;
}

TEST(InitTest, WarnsWhenItCannotAdoptAnybody) {
  const absl::StatusOr<Outcome> outcome = RunProgram(&PlainFork, {kInit, "/bin/true"}, {});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->end, ExitStatus::Exited(0));
  EXPECT_NE(outcome->err.find("no subreaper"), std::string::npos) << outcome->err;
}

TEST(InitTest, TellsWhatItDoesWhenAsked) {
  const absl::StatusOr<Outcome> outcome = RunProgram(
      &PlainFork, {kInit, "-sv", "--", "/bin/sh", "-c", "echo >&9; exec sleep 1000"}, {SIGTERM});
  ASSERT_TRUE(outcome.ok());
  for (const char* part :
       {"started /bin/sh as PID", "passed on SIGTERM: sent", "killed by SIGTERM"}) {
    EXPECT_NE(outcome->err.find(part), std::string::npos) << outcome->err;
  }
}

TEST(InitTest, TellsWrongUseFromAFailingProgram) {
  const absl::StatusOr<Outcome> outcome = RunProgram(&PlainFork, {kInit, "-x", "/bin/true"}, {});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->end, ExitStatus::Exited(1));
  EXPECT_EQ(outcome->err,
            "plimsoll-init: no such option: \"-x\"\nplimsoll-init: try plimsoll-init --help\n");
}

TEST(InitTest, ANameFromOutsideCommandsNoTerminal) {
  const absl::StatusOr<Outcome> outcome =
      RunProgram(&PlainFork, {kInit, "-sv", "--", "/no/\x1b[31m"}, {});
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->err.find('\x1b'), std::string::npos);
  EXPECT_NE(outcome->err.find("exec \"/no/\\x1b[31m\""), std::string::npos) << outcome->err;
}

TEST(InitTest, StartedWithoutStandardDescriptorsItAndItsProgramHaveThem) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int fd : {0, 1, 2}) close(fd);
    execl(kInit.c_str(), kInit.c_str(), "-s", "--", "/bin/sh", "-c",
          "for fd in 0 1 2; do [ /proc/self/fd/$fd -ef /dev/null ] || exit $fd; done; exit 21",
          nullptr);
    _exit(99);
  }
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED), 0);
  EXPECT_EQ(ExitStatus::From(info), ExitStatus::Exited(21));
}

TEST(InitTest, DiesWithItsParentWhenAskedTo) {
  // A parent in between starts init, and ends once the program runs.
  int ready[2], gone[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(gone), 0);
  const pid_t between = fork();
  if (between == 0) {
    if (fork() == 0) {
      dup2(ready[1], 9);
      close(gone[0]);
      execl(kInit.c_str(), kInit.c_str(), "-sp", "TERM", "--", "/bin/sh", "-c",
            "echo >&9; exec sleep 1000", nullptr);
      _exit(99);
    }
    char byte;
    (void)!read(ready[0], &byte, 1);
    _exit(0);
  }
  close(gone[1]);
  close(ready[1]);
  ASSERT_EQ(waitpid(between, nullptr, 0), between);
  char byte;
  EXPECT_EQ(read(gone[0], &byte, 1), 0) << "end of file: init and its program have both ended";
  close(gone[0]);
  close(ready[0]);
}

TEST(RunInitTest, PutsMaskAndDispositionsBack) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  signal(SIGTTIN, SIG_DFL);
  InitOptions options;
  options.argv = Sh("exit 21");
  options.subreaper = true;
  EXPECT_EQ(RunInit(options, [](std::string_view) {}), 21);
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signo = 1; signo < 32; ++signo) {
    EXPECT_EQ(sigismember(&before, signo), sigismember(&after, signo)) << signo;
  }
  struct sigaction action;
  sigaction(SIGTTIN, nullptr, &action);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace plimsoll::container
