#include "plimsoll/runtime/sched/steal_order.h"

#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

TEST(StealOrderTest, EachIsVisitedOnceFromAnyStartByAnyStep) {
  for (uint64_t n = 1; n <= 64; ++n) {
    for (uint64_t start = 0; start < n; ++start) {
      for (uint64_t step = 0; step < n; ++step) {
        StealOrder order(static_cast<int>(n), start << 32 | step);
        EXPECT_EQ(order.at(), static_cast<int>(start));
        std::vector<bool> seen(n);
        for (uint64_t i = 0; i < n; ++i, order.Next()) {
          const auto at = static_cast<size_t>(order.at());
          ASSERT_LT(at, n) << n << " " << start << " " << step;
          ASSERT_FALSE(seen[at]) << at << " twice of " << n << ", from " << start << ", step "
                                 << step;
          seen[at] = true;
        }
        EXPECT_EQ(order.at(), static_cast<int>(start));
      }
    }
  }
}

TEST(StealOrderTest, ThreeAndMoreAreVisitedInMoreThanOneOrder) {
  for (uint64_t n = 3; n <= 64; ++n) {
    std::set<int> seconds;
    for (uint64_t step = 0; step < n; ++step) {
      StealOrder order(static_cast<int>(n), step);
      order.Next();
      seconds.insert(order.at());
    }
    EXPECT_GE(seconds.size(), 2u) << n;
  }
}

}  // namespace
}  // namespace plimsoll::sched
