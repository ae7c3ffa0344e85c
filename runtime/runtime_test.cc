// Main as a user sees it: each case is a child process of its own.

#include "plimsoll/runtime/runtime.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/time/sleep.h"

namespace plimsoll {
namespace {

template <typename F>
void RunMain(F fn) {
  char name[] = "service";
  char* argv[] = {name, nullptr};
  exit(Main(1, argv, fn));
}

class MainDeathTest : public testing::Test {
 protected:
  MainDeathTest() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    unsetenv("PLIMSOLL_LOG");
    unsetenv("GOMAXPROCS");
    unsetenv("PLIMSOLL_POLLER");
  }
};

TEST_F(MainDeathTest, ExitsWithWhatTheFunctionReturnsAndRunsExitHandlers) {
  EXPECT_EXIT(
      {
        atexit([] { fputs("handler ran\n", stderr); });
        RunMain([] { return 5; });
      },
      testing::ExitedWithCode(5), "handler ran\n$");
  EXPECT_EXIT(RunMain([] {}), testing::ExitedWithCode(0), "");
}

TEST_F(MainDeathTest, ReportsWhatItChoseAndWhy) {
  setenv("GOMAXPROCS", "3", 1);
  EXPECT_EXIT(RunMain([] { return GoMaxProcs() == 3 ? 0 : 1; }), testing::ExitedWithCode(0),
              "plimsoll: P = 3 .*GOMAXPROCS");
}

TEST_F(MainDeathTest, GoMaxProcsSetsTheNumberOfPsAndReturnsTheOldOne) {
  setenv("PLIMSOLL_LOG", "off", 1);
  setenv("GOMAXPROCS", "3", 1);
  EXPECT_EXIT(RunMain([] {
                if (GoMaxProcs(0) != 3 || GoMaxProcs(7) != 3 || GoMaxProcs() != 7) return 1;
                return GoMaxProcs(-5) == 7 && GoMaxProcs(1) == 7 && GoMaxProcs() == 1 ? 0 : 1;
              }),
              testing::ExitedWithCode(0), "^$");
}

// A goroutine that makes no call, on the only P there is, until main has run.
int MainRunsBesideALoop(int64_t at_most_ms) {
  static std::atomic<bool> stop{false}, ended{false};
  Go([at_most_ms] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(at_most_ms);
    while (!stop.load(std::memory_order_relaxed) && std::chrono::steady_clock::now() < end) {
    }
    ended.store(true);
  });
  Yield();
  const bool beside = !ended.load();
  stop.store(true);
  return beside ? 0 : 3;
}

TEST_F(MainDeathTest, ALoopWithoutCallsIsPreemptedUnlessThatIsTurnedOff) {
  setenv("PLIMSOLL_LOG", "off", 1);
  setenv("GOMAXPROCS", "1", 1);
  EXPECT_EXIT(RunMain([] { return MainRunsBesideALoop(60'000); }), testing::ExitedWithCode(0),
              "^$");
  setenv("PLIMSOLL_PREEMPT_SIGNAL", "40", 1);
  EXPECT_EXIT(RunMain([] { return MainRunsBesideALoop(60'000); }), testing::ExitedWithCode(0),
              "^$");
  setenv("PLIMSOLL_PREEMPT_SIGNAL", "9", 1);
  EXPECT_EXIT(RunMain([] { return MainRunsBesideALoop(60'000); }), testing::ExitedWithCode(0),
              "PLIMSOLL_PREEMPT_SIGNAL=\"9\" is no signal that can be taken");
  unsetenv("PLIMSOLL_PREEMPT_SIGNAL");
  setenv("PLIMSOLL_DEBUG", "preempt=maybe", 1);
  EXPECT_EXIT(RunMain([] { return MainRunsBesideALoop(60'000); }), testing::ExitedWithCode(0),
              "preempt=\"maybe\" is not one of on, off; on is taken");
  setenv("PLIMSOLL_DEBUG", "migrate=allways", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
              "migrate=\"allways\" is not one of default, always; default is taken");
  setenv("PLIMSOLL_DEBUG", "preempt=off", 1);
  EXPECT_EXIT(RunMain([] { return MainRunsBesideALoop(100); }), testing::ExitedWithCode(3), "^$");
  unsetenv("PLIMSOLL_DEBUG");
}

TEST_F(MainDeathTest, ReportsNonsenseInTheEnvironmentAndGoesOn) {
  setenv("GOMAXPROCS", "abc", 1);
  EXPECT_EXIT(RunMain([] { return GoMaxProcs() == StartLimits().procs.value ? 0 : 1; }),
              testing::ExitedWithCode(0), "plimsoll: .*GOMAXPROCS.*abc");
}

TEST_F(MainDeathTest, TellsWhatItDoesNotUnderstandInTheEnvironmentAlsoWhenSilent) {
  setenv("PLIMSOLL_LOG", "off", 1);
  const struct {
    const char *name, *said;
  } kCases[] = {
      {"GOMEMLIMIT", "plimsoll: ignored \\[environment\\] GOMEMLIMIT: \"40Mb\" [^\n]*\n$"},
      {"GOMAXPROCS", "^plimsoll: ignored \\[environment\\] GOMAXPROCS: \"40Mb\" [^\n]*\n$"},
      {"GOGC", "^plimsoll: GOGC=\"40Mb\" is neither [^\n]*\n$"},
  };
  for (const auto& c : kCases) {
    setenv(c.name, "40Mb", 1);
    EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0), c.said) << c.name;
    unsetenv(c.name);
  }
}

// Of all threads: the runtime looks from any of them.
void SetAffinity(const cpu_set_t& cpus) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    sched_setaffinity(std::stoi(task.path().filename()), sizeof cpus, &cpus);
  }
}

// How often the process has said on stderr that what is live does not fit into its limit, after P
// went from all CPUs to one and back.
int TellsOfMemory() {
  std::FILE* said = tmpfile();
  dup2(fileno(said), STDERR_FILENO);
  const auto told = [said] {
    std::string text(1 << 16, '\0');
    text.resize(static_cast<size_t>(
        std::max<ssize_t>(0, pread(fileno(said), text.data(), text.size(), 0))));
    int n = 0;
    for (size_t at = 0; (at = text.find("MiB live", at)) != std::string::npos; ++at) ++n;
    return n;
  };
  const gc::Root<char> live = gc::make_noscan<char>(16 << 20);
  gc::Collect();
  while (told() == 0) Sleep(absl::Milliseconds(10));
  cpu_set_t all, one;
  sched_getaffinity(0, sizeof all, &all);
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  while (GoMaxProcs() != 1) {
    SetAffinity(one);
    Sleep(absl::Milliseconds(10));
  }
  // When P is seen to be more again the second in which it became one is over.
  while (GoMaxProcs() == 1) {
    SetAffinity(all);
    Sleep(absl::Milliseconds(10));
  }
  return told();
}

TEST_F(MainDeathTest, AMemoryLimitThatIsTooSmallIsToldOnceWhateverElseChanges) {
  cpu_set_t cpus;
  ASSERT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
  if (CPU_COUNT(&cpus) < 2) GTEST_SKIP() << "P can only be one here";
  setenv("GOMEMLIMIT", "8MiB", 1);
  EXPECT_EXIT(RunMain([] { return TellsOfMemory(); }), testing::ExitedWithCode(1), "");
  unsetenv("GOMEMLIMIT");
}

TEST_F(MainDeathTest, UsesThePollerThatItIsAskedForAndSaysSo) {
  setenv("PLIMSOLL_POLLER", "io_uring", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
              "plimsoll: io_uring: used|PLIMSOLL_POLLER=io_uring: refused .*; epoll is used");
  for (const char* text : {"auto", "epoll", ""}) {
    setenv("PLIMSOLL_POLLER", text, 1);
    EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
                "plimsoll: io_uring: .*epoll is used");
  }
  setenv("PLIMSOLL_POLLER", "kqueue", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
              "PLIMSOLL_POLLER=\"kqueue\" is none of epoll, io_uring, auto; taken as epoll");
}

TEST_F(MainDeathTest, WhatTheEnvironmentHoldsCommandsNoTerminal) {
  const struct {
    const char *name, *value, *said;
  } kCases[] = {
      {"PLIMSOLL_POLLER", "\x1b[31mkqueue", "PLIMSOLL_POLLER=\"\\\\x1b\\[31mkqueue\" is none of"},
      {"PLIMSOLL_LOG", "\x1b[2J", "PLIMSOLL_LOG=\"\\\\x1b\\[2J\" is none of text, off"},
      {"PLIMSOLL_DEBUG", "schedtrace=\x1b[2J\x9b", "schedtrace=\"\\\\x1b\\[2J\\\\x9b\" is not a"},
      {"PLIMSOLL_PREEMPT_SIGNAL", "\x07", "PLIMSOLL_PREEMPT_SIGNAL=\"\\\\x07\" is no signal"},
      {"GOTRACEBACK", "\x1b", "GOTRACEBACK=\"\\\\x1b\" is none of"},
      {"GOGC", "\x1b", "GOGC=\"\\\\x1b\" is neither"},
  };
  for (const auto& c : kCases) {
    setenv(c.name, c.value, 1);
    EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0), c.said) << c.name;
    unsetenv(c.name);
  }
}

TEST_F(MainDeathTest, AnUnknownDebugKeyIsToldOnceWithThoseThatThereAre) {
  setenv("PLIMSOLL_LOG", "off", 1);
  setenv("PLIMSOLL_DEBUG", "gctrase=1,verify=0", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
              "^plimsoll: PLIMSOLL_DEBUG: \"gctrase\": not understood and ignored; there are "
              "checkmark=0\\|1 [^\n]* verify=0\\|1\n$");
  unsetenv("PLIMSOLL_DEBUG");
}

TEST_F(MainDeathTest, IsSilentWhenTold) {
  setenv("PLIMSOLL_LOG", "off", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0), "^$");
  setenv("PLIMSOLL_LOG", "loud", 1);
  EXPECT_EXIT(RunMain([] { return 0; }), testing::ExitedWithCode(0),
              "PLIMSOLL_LOG=\"loud\" is none of text, off");
}

TEST_F(MainDeathTest, CountsMainAsAGoroutine) {
  setenv("PLIMSOLL_LOG", "off", 1);
  EXPECT_EXIT(RunMain([] { return NumGoroutine() == 1 ? 0 : 1; }), testing::ExitedWithCode(0),
              "^$");
}

TEST_F(MainDeathTest, AnUncaughtExceptionIsAPanicWithItsWords) {
  setenv("PLIMSOLL_LOG", "off", 1);
  EXPECT_EXIT(RunMain([]() -> int { throw std::runtime_error("boom"); }),
              testing::ExitedWithCode(2), "^panic: boom\n\ngoroutine 1 \\[running\\]:\n");
  EXPECT_EXIT(RunMain([] {
                Go([] { throw 42; });
                for (;;) {
                }
                return 0;
              }),
              testing::ExitedWithCode(2), "^panic: an exception of type int\n");
}

bool IsNull(int fd) {
  struct stat null, it;
  return stat("/dev/null", &null) == 0 && fstat(fd, &it) == 0 && it.st_rdev == null.st_rdev;
}

TEST(MainTest, ClosedStandardDescriptorsAreTakenBeforeASocketIsMade) {
  EXPECT_EXIT(
      {
        for (const int fd : {0, 1, 2}) close(fd);
        RunMain([] { return IsNull(0) && IsNull(1) && IsNull(2) ? 0 : 1; });
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace plimsoll
