// Main as a user sees it: each case is a child process of its own.

#include "plimsoll/runtime/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"

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

TEST_F(MainDeathTest, ReportsNonsenseInTheEnvironmentAndGoesOn) {
  setenv("GOMAXPROCS", "abc", 1);
  EXPECT_EXIT(RunMain([] { return GoMaxProcs() == StartLimits().procs.value ? 0 : 1; }),
              testing::ExitedWithCode(0), "plimsoll: .*GOMAXPROCS.*abc");
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
              testing::ExitedWithCode(2), "^panic: boom\n\ngoroutine 1 \\[running\\]:\n$");
  EXPECT_EXIT(RunMain([] {
                Go([] { throw 42; });
                for (;;) {
                }
                return 0;
              }),
              testing::ExitedWithCode(2), "^panic: an exception of type i\n");
}

}  // namespace
}  // namespace plimsoll
