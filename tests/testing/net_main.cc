// main() for tests that use the network: as goroutine_main.cc, with the poller where idle Ps look.

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/netpoll/netpoll.h"
#include "plimsoll/runtime/sched/idle_source.h"
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
  plimsoll::base::SetFatalHook(plimsoll::sched::DumpGoroutines);
  // --poller=io_uring: the other engine, for the test targets that say so.
  const bool io_uring = argc > 1 && std::string_view(argv[1]) == "--poller=io_uring";
  const auto wanted =
      io_uring ? plimsoll::netpoll::Engine::kIoUring : plimsoll::netpoll::Engine::kEpoll;
  const auto poller = plimsoll::netpoll::Start(wanted);
  PLIMSOLL_CHECK(poller.ok(), "no poller");
  if (!poller->refusal.empty()) printf("epoll is used: %s\n", poller->refusal.c_str());
  plimsoll::sched::SetIdleSource(poller->source);
  const auto debug = plimsoll::base::DebugText::FromEnvironment();
  plimsoll::sched::Run({.procs = procs != nullptr ? atoi(procs) : 2,
                        .migrate_always = debug.Find("migrate") == "always"},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
