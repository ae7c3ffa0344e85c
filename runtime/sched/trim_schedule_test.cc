#include "plimsoll/runtime/sched/trim_schedule.h"

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kPeriod = 60'000;
constexpr int64_t kPause = 1'000;

// Looks wherever it may within [from, to), each round of `looks` looks; returns how many there
// were.
int LooksBetween(TrimSchedule& s, int64_t from, int64_t to, int looks, bool again = false) {
  int all = 0;
  int in_round = 0;
  for (int64_t now = from; now < to; now += kPause) {
    bool begins;
    if (!s.Look(now, &begins)) continue;
    EXPECT_EQ(begins, in_round == 0) << now;
    in_round = in_round + 1 == looks ? 0 : in_round + 1;
    s.Looked(now, /*over=*/in_round == 0, again);
    ++all;
  }
  return all;
}

TEST(TrimScheduleTest, NothingIsLookedForBeforeSomethingRan) {
  TrimSchedule s(kPeriod, kPause);
  EXPECT_EQ(s.Wait(5), -1);
  EXPECT_EQ(LooksBetween(s, 0, 10 * kPeriod, 1), 0);
}

TEST(TrimScheduleTest, TheFirstRoundIsAPeriodAfterTheFirstRun) {
  TrimSchedule s(kPeriod, kPause);
  s.Ran(7);
  s.Ran(20);
  EXPECT_EQ(s.Wait(7), kPeriod);
  bool begins = false;
  EXPECT_FALSE(s.Look(6 + kPeriod, &begins));
  EXPECT_TRUE(s.Look(7 + kPeriod, &begins));
  EXPECT_TRUE(begins);
}

TEST(TrimScheduleTest, ARoundGoesOnInPausesToItsEndAlsoWhereNothingRuns) {
  TrimSchedule s(kPeriod, kPause);
  s.Ran(0);
  EXPECT_EQ(LooksBetween(s, 0, 100 * kPeriod, 7), 7);
  EXPECT_EQ(s.Wait(100 * kPeriod), -1) << "and then it rests";
}

TEST(TrimScheduleTest, WhatRanDuringARoundIsLookedAtInAnother) {
  TrimSchedule s(kPeriod, kPause);
  s.Ran(0);
  bool begins;
  ASSERT_TRUE(s.Look(kPeriod, &begins));
  s.Looked(kPeriod, /*over=*/false, /*again=*/false);
  EXPECT_EQ(s.Wait(kPeriod), kPause);
  s.Ran(kPeriod + 1);
  ASSERT_TRUE(s.Look(kPeriod + kPause, &begins));
  EXPECT_FALSE(begins);
  s.Looked(kPeriod + kPause, /*over=*/true, /*again=*/false);
  EXPECT_EQ(s.Wait(kPeriod + kPause), kPeriod);
  EXPECT_EQ(LooksBetween(s, kPeriod + kPause, 100 * kPeriod, 3), 3);
  EXPECT_EQ(s.Wait(100 * kPeriod), -1);
}

TEST(TrimScheduleTest, WhatARoundLeftBehindIsLookedAtInAnother) {
  TrimSchedule s(kPeriod, kPause);
  s.Ran(0);
  bool begins;
  ASSERT_TRUE(s.Look(kPeriod, &begins));
  s.Looked(kPeriod, /*over=*/true, /*again=*/true);
  EXPECT_EQ(s.Wait(kPeriod), kPeriod);
  EXPECT_EQ(LooksBetween(s, kPeriod, 100 * kPeriod, 1), 1);
}

TEST(TrimScheduleTest, WhoAlwaysRunsIsLookedAtOnceAPeriodAndNoMore) {
  TrimSchedule s(kPeriod, kPause);
  int looks = 0;
  for (int64_t now = 0; now < 100 * kPeriod; now += 100) {
    s.Ran(now);
    bool begins;
    if (!s.Look(now, &begins)) continue;
    ++looks;
    s.Looked(now, /*over=*/true, /*again=*/true);
  }
  EXPECT_EQ(looks, 99);
}

}  // namespace
}  // namespace plimsoll::sched
