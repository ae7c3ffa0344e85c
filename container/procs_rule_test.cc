#include "plimsoll/container/procs_rule.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace plimsoll::container {
namespace {

TEST(ProcsRuleTest, RoundsTheQuotaByTheRuleAndNeverAboveTheAffinityMask) {
  const struct {
    int64_t num, den;
    int affinity, ceil, floor, nearest;
  } kCases[] = {
      {1, 4, 8, 2, 1, 1},         {1, 1, 8, 2, 1, 1},
      {3, 2, 8, 2, 1, 2},         {5, 2, 8, 3, 2, 3},
      {12, 5, 8, 3, 2, 2},        {7, 2, 8, 4, 3, 4},
      {4, 1, 8, 4, 4, 4},         {16, 1, 8, 8, 8, 8},
      {3, 2, 1, 1, 1, 1},         {1999999, 1000000, 8, 2, 1, 2},
      {INT64_MAX, 1, 8, 8, 8, 8}, {1, INT64_MAX, 8, 2, 1, 1},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(std::to_string(c.num) + "/" + std::to_string(c.den));
    const Fraction quota{c.num, c.den};
    EXPECT_EQ(kGoRule.Procs(quota, c.affinity), c.ceil);
    EXPECT_EQ(kAutomaxprocsRule.Procs(quota, c.affinity), c.floor);
    EXPECT_EQ((ProcsRule{.rounding = Rounding::kNearest, .min = 1}.Procs(quota, c.affinity)),
              c.nearest);
  }
}

TEST(ProcsRuleTest, TakesTheAffinityMaskWithoutAQuota) {
  EXPECT_EQ(kGoRule.Procs(std::nullopt, 6), 6);
  EXPECT_EQ(kGoRule.Procs(std::nullopt, 1), 1) << "the floor of 2 is one of quotas";
  EXPECT_EQ(kGoRule.Procs(std::nullopt, 0), 1);
}

TEST(ProcsRuleTest, HeedsMinMaxAndReserve) {
  const Fraction quota{7, 2};
  EXPECT_EQ((ProcsRule{.min = 6}.Procs(quota, 8)), 6);
  EXPECT_EQ((ProcsRule{.min = 20}.Procs(quota, 8)), 8);
  EXPECT_EQ((ProcsRule{.max = 3}.Procs(quota, 8)), 3);
  EXPECT_EQ((ProcsRule{.min = 6, .max = 3}.Procs(quota, 8)), 3);
  EXPECT_EQ((ProcsRule{.max = 3}.Procs(std::nullopt, 8)), 3);
  EXPECT_EQ((ProcsRule{.reserve_millicpus = 500}.Procs(quota, 8)), 3);
  EXPECT_EQ((ProcsRule{.reserve_millicpus = 501}.Procs(quota, 8)), 3);
  EXPECT_EQ(
      (ProcsRule{.rounding = Rounding::kFloor, .min = 1, .reserve_millicpus = 501}.Procs(quota, 8)),
      2);
  EXPECT_EQ((ProcsRule{.reserve_millicpus = 9000}.Procs(quota, 8)), 2);
  EXPECT_EQ((ProcsRule{.reserve_millicpus = 1500}.Procs(std::nullopt, 8)), 7);
}

TEST(ProcsRuleTest, DescribesItself) {
  EXPECT_EQ(kGoRule.Describe(), "rounded up, at least 2");
  EXPECT_EQ(kAutomaxprocsRule.Describe(), "rounded down");
  EXPECT_EQ((ProcsRule{.rounding = Rounding::kNearest, .min = 3, .max = 5, .reserve_millicpus = 250}
                 .Describe()),
            "less 0.25 CPUs in reserve, rounded to the nearest, at least 3, at most 5");
}

}  // namespace
}  // namespace plimsoll::container
