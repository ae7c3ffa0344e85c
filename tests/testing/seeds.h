// ForEachSeed runs a program once for every seed: each time its goroutines interleave another way.
//
//   TEST(ChannelSeedsTest, NothingIsLost) {
//     ForEachSeed(2000, [] { ...start goroutines, wait for them, EXPECT... });
//   }
//
// Needs:   //tests/testing:seeded_main. The program ends with all its goroutines, main aside.
// Failure: names the seed and stops. PLIMSOLL_DEBUG=seed=N runs that seed alone, the same way
//          again.
#ifndef PLIMSOLL_TESTS_TESTING_SEEDS_H_
#define PLIMSOLL_TESTS_TESTING_SEEDS_H_

#include <cstdint>
#include <optional>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"

namespace plimsoll::testing {

// The N of PLIMSOLL_DEBUG=…,seed=N,…
inline std::optional<uint64_t> SeedAskedFor() {
  const auto debug = base::DebugText::FromEnvironment();
  if (!debug.Find("seed").has_value()) return std::nullopt;
  return debug.Number("seed", UINT64_MAX, 1);
}

// Runs `program` from one seed. What it chose is then told by sched::ChoicesMade().
template <typename Program>
void RunSeed(uint64_t seed, Program&& program) {
  sched::Reseed(seed);
  program();
  for (int i = 0; sched::GetStats().goroutines > 1; ++i) {
    ASSERT_LT(i, 100000) << "seed " << seed << ": the program left goroutines behind";
    sched::Yield();
  }
}

template <typename Program>
void ForEachSeed(uint64_t seeds, Program&& program) {
  const std::optional<uint64_t> only = SeedAskedFor();
  const uint64_t first = only.value_or(1);
  const uint64_t last = only.value_or(seeds);
  for (uint64_t seed = first; seed <= last; ++seed) {
    RunSeed(seed, program);
    if (!::testing::Test::HasFailure()) continue;
    ADD_FAILURE() << "seed " << seed << "; run it alone with PLIMSOLL_DEBUG=seed=" << seed;
    return;
  }
}

}  // namespace plimsoll::testing

#endif  // PLIMSOLL_TESTS_TESTING_SEEDS_H_
