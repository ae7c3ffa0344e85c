// How a process ends: each case is a child process of its own.

#include <unistd.h>

#include <stdexcept>
#include <thread>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"

namespace plimsoll::sched {
namespace {

// Runs `fn` as the main goroutine of this (child) process.
template <typename F>
void RunAsMain(int procs, F fn) {
  static int exit_code = 0;
  auto run = [fn] { exit_code = fn(); };
  base::SetFatalHook(DumpGoroutines);
  Run({.procs = procs}, internal::kEntryOps<decltype(run)>, &run, &exit_code);
}

void ParkForEver() {
  Park(WaitReason::kChanReceive, [](G*, void*) { return true; }, nullptr);
}

class ExitDeathTest : public testing::TestWithParam<int> {
 protected:
  ExitDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_P(ExitDeathTest, TheProcessEndsWithMainsCodeWhileOthersRun) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          for (int i = 0; i < 10; ++i) Go([] { ParkForEver(); });
                          Go([] {
                            for (;;) Yield();
                          });
                          Yield();
                          return 7;
                        }),
              testing::ExitedWithCode(7), "^$");
}

TEST_P(ExitDeathTest, WhenMainLeavesByGoexitTheOthersGoOn) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          Go([] {
                            for (int i = 0; i < 100; ++i) Yield();
                            _exit(7);
                          });
                          Goexit();
                          return 1;
                        }),
              testing::ExitedWithCode(7), "^$");
}

TEST_P(ExitDeathTest, WhenMainLeftByGoexitAndTheOthersEndThatIsADeadlockOfItsOwn) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          Go([] { Yield(); });
                          Goexit();
                          return 1;
                        }),
              testing::ExitedWithCode(2),
              "^fatal error: no goroutines \\(main called runtime.Goexit\\) - deadlock!\n");
}

TEST_P(ExitDeathTest, AllAsleepIsADeadlockWithGosText) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          Go([] { ParkForEver(); }, {.label = "stuck"});
                          ParkForEver();
                          return 0;
                        }),
              testing::ExitedWithCode(2),
              "^fatal error: all goroutines are asleep - deadlock!\n"
              "\ngoroutine 1 \\[chan receive\\]:(.|\n)*stuck");
}

TEST_P(ExitDeathTest, NoDeadlockIsReportedWhileAForeignThreadMayWakeSomebody) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          static std::atomic<G*> waiter{nullptr};
                          std::thread([] {
                            while (waiter.load() == nullptr) std::this_thread::yield();
                            // Long enough for the scheduler to find nothing to do.
                            std::this_thread::sleep_for(std::chrono::milliseconds(50));
                            Ready(waiter.load());
                          }).detach();
                          Park(
                              WaitReason::kChanReceive,
                              [](G* g, void*) {
                                waiter.store(g);
                                return true;
                              },
                              nullptr);
                          return 3;
                        }),
              testing::ExitedWithCode(3), "^$");
}

TEST_P(ExitDeathTest, NoDeadlockIsReportedWhileATimerIsPending) {
  EXPECT_EXIT(RunAsMain(GetParam(),
                        [] {
                          WakeClaim claim;
                          ParkUntil(WaitReason::kSleep, NowNanos() + 30'000'000, claim, nullptr,
                                    nullptr);
                          return 4;
                        }),
              testing::ExitedWithCode(4), "^$");
}

INSTANTIATE_TEST_SUITE_P(Procs, ExitDeathTest, testing::Values(1, 2));

}  // namespace
}  // namespace plimsoll::sched
