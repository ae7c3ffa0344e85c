// Time where no scheduler runs: a thread can sleep; what would call a function later says what it
// needs.

#include <functional>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/time/sleep.h"
#include "plimsoll/runtime/time/ticker.h"
#include "plimsoll/runtime/time/timer.h"

namespace plimsoll {
namespace {

TEST(TimeAloneTest, AThreadSleeps) {
  const absl::Time before = absl::Now();
  Sleep(absl::Milliseconds(20));
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(20));
}

TEST(TimeAloneTest, AContextThatEndsOnlyWhenItIsToldNeedsNoTimer) {
  auto [context, cancel] = WithCancel(Background());
  cancel();
  EXPECT_TRUE(absl::IsCancelled(context.Err())) << context.Err();
}

TEST(TimeAloneDeathTest, WhatNeedsATimerSaysWhatItNeeds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const struct {
    const char* name;
    std::function<void()> arm;
  } kCases[] = {
      {"Timer", [] { Timer timer(absl::Hours(1)); }},
      {"Ticker", [] { Ticker ticker(absl::Hours(1)); }},
      {"AfterFunc", [] { (void)AfterFunc(absl::Hours(1), [] {}); }},
      {"WithTimeout", [] { (void)WithTimeout(Background(), absl::Hours(1)); }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EXIT(c.arm(), testing::ExitedWithCode(2),
                "fatal error: runtime: a timer needs a running plimsoll::Main");
  }
}

}  // namespace
}  // namespace plimsoll
