// TellMigrations: how many parks of this process ended on another thread, for --config=migrate.
//
//   exit_code = RUN_ALL_TESTS();
//   testing::TellMigrations();
//
//   migrate=always: 5120 parks, 3 of them stayed on their thread
//
// tools/report/migrate_report.py adds these lines up over a suite.
#ifndef PLIMSOLL_TESTS_TESTING_MIGRATIONS_H_
#define PLIMSOLL_TESTS_TESTING_MIGRATIONS_H_

#include <cinttypes>
#include <cstdio>

#include "plimsoll/runtime/sched/scheduler.h"

namespace plimsoll::testing {

// Writes the line to stdout. Nothing where the mode is off, or nobody parked.
inline void TellMigrations() {
  const sched::Stats s = sched::GetStats();
  if (s.resumed == 0) return;
  std::printf("migrate=always: %" PRIu64 " parks, %" PRIu64 " of them stayed on their thread\n",
              s.resumed, s.resumed_here);
}

}  // namespace plimsoll::testing

#endif  // PLIMSOLL_TESTS_TESTING_MIGRATIONS_H_
