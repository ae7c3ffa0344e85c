#include "plimsoll/runtime/sched/spin_budget.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kStart = 1'000'000 * kMs;

TEST(SpinBudgetTest, WithoutAQuotaAnEpisodeIsAllThatIsBounded) {
  SpinBudget budget;
  budget.SetQuota(std::numeric_limits<double>::infinity());
  for (int64_t now = kStart; now < kStart + 10 * kMs; now += SpinBudget::kEpisodeNs) {
    EXPECT_EQ(budget.Until(now), now + SpinBudget::kEpisodeNs);
    budget.Charge(SpinBudget::kEpisodeNs, now + SpinBudget::kEpisodeNs);
    EXPECT_TRUE(budget.open());
  }
  EXPECT_FALSE(budget.counts());
}

TEST(SpinBudgetTest, AtOneCpuOrLessNobodySpins) {
  for (const double cpus : {0.05, 0.5, 1.0}) {
    SpinBudget budget;
    budget.SetQuota(cpus);
    EXPECT_EQ(budget.Until(kStart), kStart) << cpus;
    EXPECT_FALSE(budget.open()) << cpus;
    EXPECT_FALSE(budget.counts()) << cpus;
    budget.Hold(false);
    EXPECT_FALSE(budget.open()) << cpus;
    // A resize upwards is followed.
    budget.SetQuota(2);
    EXPECT_GT(budget.Until(kStart), kStart) << cpus;
    EXPECT_TRUE(budget.open()) << cpus;
  }
}

TEST(SpinBudgetTest, WhileHeldNobodySpins) {
  SpinBudget budget;
  budget.SetQuota(4);
  budget.Hold(true);
  EXPECT_EQ(budget.Until(kStart), kStart);
  EXPECT_FALSE(budget.open());
  budget.Refresh(kStart);
  EXPECT_FALSE(budget.open());
  budget.SetQuota(8);
  EXPECT_FALSE(budget.open());
  budget.Hold(false);
  EXPECT_EQ(budget.Until(kStart), kStart + SpinBudget::kEpisodeNs);
  EXPECT_TRUE(budget.open());
}

TEST(SpinBudgetTest, WhatWasSpentIsEarnedAgainAtATwentiethOfTheQuota) {
  SpinBudget budget;
  budget.SetQuota(2);  // 1 ns of spinning in 10
  // All that 100 ms have earned, and no more.
  budget.Charge(10 * kMs, kStart);
  EXPECT_GT(budget.Until(kStart), kStart);
  budget.Charge(1, kStart);
  EXPECT_EQ(budget.Until(kStart), kStart);
  EXPECT_FALSE(budget.open());
  EXPECT_EQ(budget.Until(kStart + 9), kStart + 9);
  EXPECT_GT(budget.Until(kStart + 10), kStart + 10);
  budget.Refresh(kStart + 10);
  EXPECT_TRUE(budget.open());
  // A long pause earns no more than 100 ms.
  const int64_t later = kStart + 10'000 * kMs;
  budget.Charge(10 * kMs + 1, later);
  EXPECT_EQ(budget.Until(later), later);
}

TEST(SpinBudgetTest, NoChargeKeepsItShutForMoreThanASecond) {
  SpinBudget budget;
  budget.SetQuota(2);
  budget.Charge(3'600'000 * kMs, kStart);
  EXPECT_FALSE(budget.open());
  EXPECT_EQ(budget.Until(kStart + 999 * kMs), kStart + 999 * kMs);
  EXPECT_GT(budget.Until(kStart + 1000 * kMs), kStart + 1000 * kMs);
}

// As many as P look whenever they may, each as long as it may: over every window.
TEST(SpinBudgetTest, OverAnyTimeAllSpinAtMostATwentiethOfTheQuotaAndOfABurst) {
  std::mt19937_64 random(20261127);
  for (const double cpus : {1.01, 1.5, 2.0, 7.25, 64.0}) {
    SCOPED_TRACE(cpus);
    SpinBudget budget;
    budget.SetQuota(cpus);
    const auto procs = static_cast<int64_t>(cpus) + 1;
    std::vector<std::pair<int64_t, int64_t>> spun;  // (end, ns)
    int64_t now = kStart;
    while (now < kStart + 2000 * kMs) {
      now += static_cast<int64_t>(random() % 40'000);
      if (random() % 512 == 0) now += 150 * kMs;
      int64_t ns = 0;
      for (int64_t p = 0; p < procs; ++p) ns += budget.Until(now) - now;  // all begin at once
      now += SpinBudget::kEpisodeNs;
      if (ns == 0) continue;
      for (int64_t left = ns; left > 0; left -= SpinBudget::kEpisodeNs) {
        budget.Charge(SpinBudget::kEpisodeNs, now);
      }
      spun.emplace_back(now, ns);
    }
    ASSERT_GT(spun.size(), 100u);
    // Windows from each beginning: sum - share x time must stay below the burst.
    const double share = 0.05 * cpus;
    const double most = share * static_cast<double>(SpinBudget::kBurstNs) +
                        static_cast<double>(2 * procs * SpinBudget::kEpisodeNs);
    double over = 0;  // the most that any window which ends here is above its share
    int64_t last = spun.front().first;
    double worst = 0;
    for (const auto& [end, ns] : spun) {
      over =
          std::max(0.0, over - share * static_cast<double>(end - last)) + static_cast<double>(ns);
      worst = std::max(worst, over);
      last = end;
    }
    EXPECT_LE(worst, most);
    EXPECT_GT(worst, most / 4) << "the budget is used where it is wanted";
  }
}

}  // namespace
}  // namespace plimsoll::sched
