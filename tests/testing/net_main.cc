// main() for tests that use the network: as goroutine_main.cc, with the poller where idle Ps look.

#include <cstdlib>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/netpoll/netpoll.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/scheduler.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  const char* procs = getenv("PLIMSOLL_TEST_PROCS");
  plimsoll::base::SetFatalHook(plimsoll::sched::DumpGoroutines);
  const auto source = plimsoll::netpoll::Start();
  PLIMSOLL_CHECK(source.ok(), "no poller");
  plimsoll::sched::SetIdleSource(*source);
  plimsoll::sched::Run({.procs = procs != nullptr ? atoi(procs) : 2},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
