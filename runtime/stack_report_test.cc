#include "plimsoll/runtime/stack_report.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/saved_registers.h"
#include "plimsoll/runtime/sched/trim.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// Goes `kib` KiB deep and a little more; *lowest is where its stack pointer was then.
__attribute__((noinline, no_sanitize("address"))) int Deep(int kib, uintptr_t* lowest) {
  volatile char room[1024];
  room[0] = static_cast<char>(kib);
  room[1023] = static_cast<char>(kib);
  if (kib > 1) return Deep(kib - 1, lowest) + room[1023];
  sched::SavedRegisters here;
  here.Save();
  *lowest = here.sp;
  return room[0];
}

template <typename F>
void Start(WaitGroup& done, F f, GoOptions options) {
  done.Add(1);
  Go(
      [&done, f] {
        f();
        done.Done();
      },
      options);
}

// Of the goroutine with this label: labels are the tests' own.
StackUsage UsageOf(const StackReport& report, const std::string& label) {
  for (const StackUsage& usage : report.kinds) {
    if (usage.label == label) return usage;
  }
  ADD_FAILURE() << "no " << label << " in\n" << ToText(report);
  return {};
}

class StackReportTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!StackHighWater().known) GTEST_SKIP() << "this kernel does not tell what is touched";
  }
};

// Each test has stacks of a size of its own: what was used before shows what it was used for.
TEST_F(StackReportTest, TellsHowDeepAStackHasBeenToAPage) {
  const uintptr_t page = StackHighWater().page.value();
  for (const int kib : {40, 100, 200, 700}) {  // each deeper than the one before on its stack
    Channel<int> deep, go_on;
    WaitGroup done;
    uintptr_t lowest = 0;
    Start(done,
          [&, kib] {
            Deep(kib, &lowest);
            deep.Send(1);
            (void)go_on.Recv();
          },
          {.stack = KiB(800), .label = "one"});
    (void)deep.Recv();
    const StackUsage usage = UsageOf(StackHighWater(), "one");
    EXPECT_EQ(usage.goroutines, 1);
    EXPECT_GE(usage.size, KiB(800));
    // The stack's upper end is a multiple of its slot.
    const uintptr_t hi = (lowest | ((uintptr_t{1} << 20) - 1)) + 1;
    const uintptr_t used = hi - lowest / page * page;
    EXPECT_GE(usage.deepest.value(), used) << kib;
    EXPECT_LE(usage.deepest.value(), used + page) << kib;
    EXPECT_EQ(usage.deepest.value() % page, 0u);
    EXPECT_LT(usage.now, KiB(16)) << "a parked one stands where it parked";
    go_on.Close();
    done.Wait();
  }
}

TEST_F(StackReportTest, WhatWasTrimmedStillCounts) {
  Channel<int> deep, go_on;
  WaitGroup done;
  uintptr_t lowest = 0;
  Start(done,
        [&] {
          Deep(1000, &lowest);
          deep.Send(1);
          (void)go_on.Recv();
        },
        {.stack = MiB(3), .label = "trimmed"});
  (void)deep.Recv();
  const StackUsage before = UsageOf(StackHighWater(), "trimmed");
  const sched::TrimStats stats = sched::GetTrimStats();
  // It may not yet be off its stack when it is seen here.
  while (sched::GetTrimStats().stacks == stats.stacks) {
    sched::TrimParkedStacks(0);
    Yield();
  }
  const StackUsage after = UsageOf(StackHighWater(), "trimmed");
  EXPECT_GE(before.deepest, KiB(1000));
  EXPECT_EQ(after.deepest, before.deepest);
  EXPECT_LT(after.now, KiB(16));
  go_on.Close();
  done.Wait();
}

TEST_F(StackReportTest, KindsAreOfOneFunctionAndLabelAndTheDeepestComeFirst) {
  Channel<int> deep, go_on;
  WaitGroup done;
  for (const int kib : {20, 500, 100}) {
    for (const char* label : {"kind a", "kind b"}) {
      const bool a = label[5] == 'a';
      Start(done,
            [&, kib, a] {
              uintptr_t lowest;
              Deep(a ? kib : kib / 10, &lowest);
              deep.Send(1);
              (void)go_on.Recv();
            },
            {.stack = MiB(6), .label = label});
      (void)deep.Recv();
    }
  }
  const StackReport report = StackHighWater(/*top=*/4);
  const StackUsage a = UsageOf(report, "kind a");
  const StackUsage b = UsageOf(report, "kind b");
  EXPECT_EQ(a.goroutines, 3);
  EXPECT_EQ(b.goroutines, 3);
  EXPECT_EQ(a.function, b.function);
  EXPECT_NE(a.function.find("KindsAreOfOneFunction"), std::string::npos) << a.function;
  EXPECT_TRUE(a.function.ends_with("::operator()")) << a.function;
  EXPECT_GE(a.deepest, KiB(500));
  EXPECT_GE(b.deepest, KiB(50));
  EXPECT_LT(b.deepest, KiB(200));
  const auto deeper = [](const StackUsage& x, const StackUsage& y) {
    return x.deepest > y.deepest;
  };
  EXPECT_TRUE(std::is_sorted(report.kinds.begin(), report.kinds.end(), deeper));
  ASSERT_EQ(report.top.size(), 4u);
  EXPECT_TRUE(std::is_sorted(report.top.begin(), report.top.end(), deeper));
  EXPECT_EQ(report.top[0].deepest, report.kinds[0].deepest);
  EXPECT_EQ(report.top[0].goroutine, report.kinds[0].goroutine);
  int64_t goroutines = 0;
  for (const StackUsage& kind : report.kinds) goroutines += kind.goroutines;
  EXPECT_EQ(goroutines, report.goroutines);
  EXPECT_GE(report.goroutines, 7);
  EXPECT_GE(report.deepest, KiB(500 + 100 + 20));
  EXPECT_GE(report.size, MiB(6 * 6));
  EXPECT_TRUE(StackHighWater(/*top=*/0).top.empty());
  go_on.Close();
  done.Wait();
}

TEST_F(StackReportTest, TellsOfWhoAsksAndOfWhoIsInABlockingCall) {
  Channel<int> in_call;
  WaitGroup done;
  std::atomic<bool> over{false};
  Start(done,
        [&] {
          BlockingCall([&] {
            in_call.Close();
            while (!over) usleep(1000);
          });
        },
        {.stack = MiB(12), .label = "in a call"});
  (void)in_call.Recv();
  StackUsage asks, calls;
  Start(done,
        [&] {
          volatile char room[100 << 10];
          for (size_t i = 0; i < sizeof(room); i += 1024) room[i] = 1;
          const StackReport report = StackHighWater();
          asks = UsageOf(report, "asks");
          calls = UsageOf(report, "in a call");
          over = true;
          room[0] = 2;
        },
        {.stack = MiB(12), .label = "asks"});
  done.Wait();
  EXPECT_GE(asks.now, KiB(100));
  EXPECT_GE(asks.deepest, asks.now);
  EXPECT_GT(calls.now, ByteCount(0));
  EXPECT_LT(calls.now, KiB(100));
}

TEST_F(StackReportTest, WhoMakesGoroutinesOnAForeignThreadMeanwhileDisturbsNothing) {
  std::atomic<bool> over{false};
  std::atomic<int> ended{0};
  int made = 0;
  std::thread maker([&] {
    for (; !over && made < 2'000; ++made) Go([&] { ended.fetch_add(1); }, {.label = "many"});
  });
  for (int i = 0; i < 10; ++i) {
    for (const StackUsage& kind : StackHighWater().kinds) {
      EXPECT_LE(kind.deepest, kind.size);
      EXPECT_LE(kind.now, kind.size);
      EXPECT_GE(kind.goroutines, 1);
    }
  }
  over = true;
  BlockingCall([&] { maker.join(); });
  while (ended != made) Yield();
}

TEST_F(StackReportTest, AForeignThreadMayAsk) {
  StackReport report;
  std::thread([&] { report = StackHighWater(); }).join();
  ASSERT_TRUE(report.known);
  EXPECT_GE(report.goroutines, 1);
  EXPECT_EQ(report.kinds.size(), static_cast<size_t>(std::count_if(
                                     report.kinds.begin(), report.kinds.end(),
                                     [](const StackUsage& k) { return k.goroutines > 0; })));
}

TEST(StackReportTextTest, IsALineForEachKindForEachOfTheTopAndForAll) {
  StackReport report;
  EXPECT_EQ(ToText(report),
            "stacks: this kernel does not tell which of their pages were touched\n");
  report.known = true;
  StackUsage usage{.function = "main::{lambda#1}::operator()",
                   .label = "a \"label\"\n",
                   .goroutine = 18,
                   .goroutines = 3,
                   .size = KiB(240),
                   .deepest = KiB(44),
                   .now = ByteCount(1025)};
  report.kinds.push_back(usage);
  report.top.push_back(usage);
  usage.function = usage.label = "";
  usage.goroutines = 1;
  report.kinds.push_back(usage);
  report.goroutines = 4;
  report.size = KiB(960);
  report.deepest = KiB(176);
  report.now = KiB(8);
  EXPECT_EQ(ToText(report),
            "44 KiB of 240 KiB, 2 KiB now, 3 goroutines: main::{lambda#1}::operator() "
            "{\"label\": \"a \\\"label\\\"\\n\"}\n"
            "44 KiB of 240 KiB, 2 KiB now, 1 goroutine: ?\n"
            "44 KiB of 240 KiB, 2 KiB now, goroutine 18: main::{lambda#1}::operator() "
            "{\"label\": \"a \\\"label\\\"\\n\"}\n"
            "176 KiB of 960 KiB, 8 KiB now, all 4 goroutines together\n");
}

}  // namespace
}  // namespace plimsoll
