// main() for tests of the runtime's rooms: RUN_ALL_TESTS() runs on the main goroutine of a
// scheduler with two Ps, or as many as PLIMSOLL_TEST_PROCS says.
//
// Death tests run in the "threadsafe" style: the child starts over, with a scheduler of its own.

#include <cstdlib>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/tests/testing/migrations.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  static int exit_code = 0;
  auto run = [] {
    exit_code = RUN_ALL_TESTS();
    plimsoll::testing::TellMigrations();
  };
  const char* procs = getenv("PLIMSOLL_TEST_PROCS");
  const auto debug = plimsoll::base::DebugText::FromEnvironment();
  plimsoll::base::SetFatalHook(plimsoll::sched::DumpGoroutines);
  plimsoll::sched::Run({.procs = procs != nullptr ? atoi(procs) : 2,
                        .migrate_always = debug.Find("migrate") == "always"},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
