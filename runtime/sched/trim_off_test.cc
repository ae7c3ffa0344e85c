// PLIMSOLL_DEBUG=stacktrim=off, as the scheduler sees it.

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/trim.h"

namespace plimsoll::sched {
namespace {

TEST(TrimOffTest, SysmonNeitherLooksNorWantsToBeWoken) {
  constexpr int64_t kHourNs = 3600 * int64_t{1'000'000'000};
  for (int hours = 0; hours < 3; ++hours) {
    EXPECT_EQ(LookForStacksToTrim(NowNanos() + hours * kHourNs, /*idle=*/hours % 2 == 0), -1);
  }
  EXPECT_EQ(GetTrimStats().rounds, 0u);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::sched::Run({.procs = 1, .trim_parked_ns = 0},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
