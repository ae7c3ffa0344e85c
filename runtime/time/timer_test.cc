#include "plimsoll/runtime/time/timer.h"

#include <atomic>
#include <limits>
#include <memory>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/time/sleep.h"

namespace plimsoll {
namespace {

TEST(TimerTest, SendsTheTimeOnceAndNotEarly) {
  const absl::Time start = absl::Now();
  Timer timer(absl::Milliseconds(5));
  const std::optional<absl::Time> fired = timer.C().Recv();
  ASSERT_TRUE(fired.has_value());
  EXPECT_GE(*fired - start, absl::Milliseconds(4));  // two clocks, one of which may be slewed
  EXPECT_EQ(timer.C().TryRecvFor(absl::Milliseconds(10)).status, RecvStatus::kEmpty);
}

TEST(TimerTest, StopTellsWhetherItPreventedTheFiring) {
  Timer pending(absl::Hours(1));
  EXPECT_TRUE(pending.Stop());
  EXPECT_FALSE(pending.Stop());
  Timer fired(absl::Nanoseconds(1));
  fired.C().Recv();
  EXPECT_FALSE(fired.Stop());
}

TEST(TimerTest, AfterResetNoStaleTimeIsReceived) {
  Timer timer(absl::Nanoseconds(1));
  for (int i = 0; i < 20'000; ++i) {
    // Short enough to fire on either side of the Reset.
    timer.Reset(absl::Nanoseconds(i % 2000));
    timer.Reset(absl::Hours(1));
    ASSERT_EQ(timer.C().TryRecv().status, RecvStatus::kEmpty) << i;
  }
  timer.Reset(absl::Milliseconds(1));
  EXPECT_TRUE(timer.C().Recv().has_value());
}

TEST(TimerTest, ItsChannelKeepsItGoing) {
  RecvChannel<absl::Time> channel = nullptr;
  {
    Timer timer(absl::Milliseconds(2));
    channel = timer.C();
  }
  EXPECT_TRUE(channel.Recv().has_value());
}

TEST(AfterTest, AManyOfThemLeaveNothingBehindWhenTheirChannelsGo) {
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_EQ(After(absl::Hours(1)).TryRecv().status, RecvStatus::kEmpty);
  }
  EXPECT_TRUE(After(absl::Milliseconds(1)).Recv().has_value());
  EXPECT_TRUE(After(absl::Milliseconds(-1)).Recv().has_value());
}

TEST(AfterTest, AnInfiniteDurationNeverComes) {
  auto never = After(absl::InfiniteDuration());
  EXPECT_EQ(never.TryRecvFor(absl::Milliseconds(5)).status, RecvStatus::kEmpty);
}

TEST(AfterFuncTest, RunsOnAGoroutineThatMayPark) {
  Channel<int> done;
  AfterFunc(absl::Milliseconds(1), [=] {
    Sleep(absl::Milliseconds(1));
    done.Send(1);
  });
  EXPECT_EQ(done.Recv(), 1);
}

TEST(AfterFuncTest, StopPreventsTheRunOrAnswersFalse) {
  std::atomic<int> runs{0};
  int prevented = 0;
  constexpr int kTimers = 2000;
  for (int i = 0; i < kTimers; ++i) {
    Timer timer = AfterFunc(absl::Nanoseconds(i % 1000), [&] { runs.fetch_add(1); });
    prevented += timer.Stop();
  }
  while (runs.load() + prevented < kTimers) Sleep(absl::Microseconds(100));
  Sleep(absl::Milliseconds(5));
  EXPECT_EQ(runs.load() + prevented, kTimers);
}

TEST(AfterFuncTest, ResetRunsItAgain) {
  Channel<int> ran(2);
  Timer timer = AfterFunc(absl::Microseconds(1), [=] { ran.Send(1); });
  ran.Recv();
  EXPECT_FALSE(timer.Reset(absl::Microseconds(1)));
  ran.Recv();
  EXPECT_TRUE(timer.C() == nullptr);
}

TEST(AfterFuncTest, WhatItsFunctionHoldsIsFreed) {
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> watch = held;
  {
    Timer stopped = AfterFunc(absl::Hours(1), [held = std::move(held)] { (void)*held; });
    EXPECT_TRUE(stopped.Stop());
  }
  EXPECT_TRUE(watch.expired());
}

TEST(TimerTest, JoinsASelect) {
  Channel<int> never;
  Timer timer(absl::Milliseconds(1));
  EXPECT_EQ(Select(OnRecv(never), OnRecv(timer.C())), 1);
}

}  // namespace
}  // namespace plimsoll
