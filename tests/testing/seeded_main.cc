// main() for tests that run in seeded mode: RUN_ALL_TESTS() runs on the main goroutine of a
// scheduler with one P and one thread, all of whose choices come from a seed (sched/chooser.h).

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/scheduler.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::base::SetFatalHook(plimsoll::sched::DumpGoroutines);
  plimsoll::sched::Run({.procs = 1, .seeded = true}, plimsoll::internal::kEntryOps<decltype(run)>,
                       &run, &exit_code);
}
