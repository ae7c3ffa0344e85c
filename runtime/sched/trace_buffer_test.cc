#include "plimsoll/runtime/sched/trace_buffer.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

TEST(TraceBufferTest, KeepsTheFirstAndCountsTheRest) {
  TraceBuffer buffer(3);
  for (uint64_t i = 1; i <= 5; ++i) buffer.Trace({.g = i});
  ASSERT_EQ(buffer.events().size(), 3u);
  EXPECT_EQ(buffer.events()[2].g, 3u);
  EXPECT_EQ(buffer.lost(), 2u);
  buffer.Clear();
  EXPECT_EQ(buffer.events().size(), 0u);
  EXPECT_EQ(buffer.lost(), 0u);
}

TEST(TracePictureTest, DrawsBarsArrowsAndPoints) {
  const std::vector<TraceEvent> events = {
      {.when_ns = 5000, .g = 1, .proc = 0, .kind = TraceKind::kRun},
      {.when_ns = 6500, .g = 2, .other = 1, .proc = 0, .kind = TraceKind::kSpawn},
      {.when_ns = 7000,
       .g = 1,
       .proc = 0,
       .kind = TraceKind::kPark,
       .reason = WaitReason::kChanReceive},
      // Told by another thread, a little late.
      {.when_ns = 9000, .g = 2, .proc = 1, .kind = TraceKind::kRun},
      {.when_ns = 8000, .g = 2, .other = 0, .proc = 1, .count = 1, .kind = TraceKind::kSteal},
      {.when_ns = 9100, .g = 1, .kind = TraceKind::kReady},
      {.when_ns = 12'000, .g = 2, .proc = 1, .kind = TraceKind::kPreempt},
      {.when_ns = 12'500, .g = 1, .proc = 1, .thread = 4, .kind = TraceKind::kHandOff},
      {.when_ns = 20'007, .g = 1, .proc = 1, .kind = TraceKind::kEnd},
  };
  EXPECT_EQ(TracePicture(events), R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"i","s":"t","pid":1,"tid":0,"ts":1.500,"name":"spawn","args":{"goroutine":2}},
{"ph":"s","pid":1,"tid":0,"ts":1.500,"cat":"wake","name":"spawn","id":1},
{"ph":"X","pid":1,"tid":0,"ts":0.000,"dur":2.000,"name":"goroutine 1","args":{"left":"chan receive"}},
{"ph":"i","s":"t","pid":1,"tid":1,"ts":3.000,"name":"steal","args":{"from P":0}},
{"ph":"f","bp":"e","pid":1,"tid":1,"ts":4.000,"cat":"wake","name":"spawn","id":1},
{"ph":"i","s":"t","pid":1,"tid":100000,"ts":4.100,"name":"ready","args":{"goroutine":1}},
{"ph":"s","pid":1,"tid":100000,"ts":4.100,"cat":"wake","name":"ready","id":2},
{"ph":"X","pid":1,"tid":1,"ts":4.000,"dur":3.000,"name":"goroutine 2","args":{"left":"preempt"}},
{"ph":"i","s":"t","pid":1,"tid":1,"ts":7.500,"name":"hand-off","args":{"to thread":4}},
{"ph":"f","bp":"e","pid":1,"tid":1,"ts":7.500,"cat":"wake","name":"ready","id":2},
{"ph":"X","pid":1,"tid":1,"ts":7.500,"dur":7.507,"name":"goroutine 1","args":{"left":"end"}},
{"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"P 0"}},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"P 1"}},
{"ph":"M","pid":1,"tid":100000,"name":"thread_name","args":{"name":"no P"}}
]}
)");
}

TEST(TracePictureTest, DrawsBlockingCallsTimersAndPolls) {
  const std::vector<TraceEvent> events = {
      {.when_ns = 1000, .g = 1, .proc = 0, .kind = TraceKind::kRun},
      {.when_ns = 2000, .g = 1, .proc = 0, .kind = TraceKind::kCall},
      {.when_ns = 3000, .g = 1, .other = 0, .proc = 0, .count = 1, .kind = TraceKind::kReturn},
      {.when_ns = 4000, .g = 1, .proc = 0, .kind = TraceKind::kCall},
      {.when_ns = 5000, .proc = 0, .kind = TraceKind::kRetake},
      {.when_ns = 6000, .proc = 0, .thread = 3, .kind = TraceKind::kHandOff},
      {.when_ns = 7000, .other = 1, .proc = 0, .count = 12, .kind = TraceKind::kTimer},
      {.when_ns = 8000, .proc = 0, .thread = 3, .count = 2, .kind = TraceKind::kPoll},
      {.when_ns = 9000, .g = 1, .other = 0, .proc = -1, .kind = TraceKind::kReturn},
      {.when_ns = 10'000, .g = 1, .proc = 1, .kind = TraceKind::kRun},
      {.when_ns = 11'000, .g = 1, .proc = 1, .kind = TraceKind::kCall},
      // Nobody told that P 1 was taken.
      {.when_ns = 12'000, .g = 1, .other = 1, .proc = 0, .kind = TraceKind::kReturn},
      {.when_ns = 13'000, .g = 1, .proc = 0, .kind = TraceKind::kEnd},
  };
  EXPECT_EQ(TracePicture(events), R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"X","pid":1,"tid":0,"ts":0.000,"dur":1.000,"name":"goroutine 1","args":{"left":"blocking call"}},
{"ph":"X","pid":1,"tid":0,"ts":1.000,"dur":1.000,"name":"goroutine 1 in a blocking call","args":{"left":"return"}},
{"ph":"X","pid":1,"tid":0,"ts":2.000,"dur":1.000,"name":"goroutine 1","args":{"left":"blocking call"}},
{"ph":"X","pid":1,"tid":0,"ts":3.000,"dur":1.000,"name":"goroutine 1 in a blocking call","args":{"left":"retake"}},
{"ph":"i","s":"t","pid":1,"tid":0,"ts":4.000,"name":"retake","args":{"P":0}},
{"ph":"i","s":"t","pid":1,"tid":0,"ts":5.000,"name":"hand-off","args":{"to thread":3}},
{"ph":"i","s":"t","pid":1,"tid":0,"ts":6.000,"name":"timer","args":{"us late":12}},
{"ph":"i","s":"t","pid":1,"tid":0,"ts":7.000,"name":"poll","args":{"goroutines":2}},
{"ph":"i","s":"t","pid":1,"tid":100000,"ts":8.000,"name":"return","args":{"goroutine":1}},
{"ph":"X","pid":1,"tid":1,"ts":9.000,"dur":1.000,"name":"goroutine 1","args":{"left":"blocking call"}},
{"ph":"X","pid":1,"tid":1,"ts":10.000,"dur":1.000,"name":"goroutine 1 in a blocking call","args":{"left":"retake"}},
{"ph":"X","pid":1,"tid":0,"ts":11.000,"dur":1.000,"name":"goroutine 1","args":{"left":"end"}},
{"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"P 0"}},
{"ph":"M","pid":1,"tid":100000,"name":"thread_name","args":{"name":"no P"}},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"P 1"}}
]}
)");
}

TEST(TracePictureTest, DrawsStopsOfTheWorldAndCyclesOfTheCollector) {
  const std::vector<TraceEvent> events = {
      // The trace began in between.
      {.when_ns = 500, .proc = 0, .kind = TraceKind::kGcEnd},
      {.when_ns = 600, .proc = 0, .kind = TraceKind::kStart, .stop = StopReason::kTracing},
      {.when_ns = 1000, .other = 3, .proc = 0, .kind = TraceKind::kGcBegin},
      {.when_ns = 2000, .proc = 0, .kind = TraceKind::kStop, .stop = StopReason::kGcStart},
      {.when_ns = 2500, .proc = 0, .kind = TraceKind::kStart, .stop = StopReason::kGcStart},
      {.when_ns = 4000, .proc = 1, .kind = TraceKind::kStop, .stop = StopReason::kGcEnd},
      {.when_ns = 4200, .other = 3, .proc = 1, .kind = TraceKind::kGcMarked},
      {.when_ns = 4300, .proc = 1, .kind = TraceKind::kStart, .stop = StopReason::kGcEnd},
      {.when_ns = 5000, .other = 3, .proc = 1, .kind = TraceKind::kGcEnd},
  };
  EXPECT_EQ(TracePicture(events), R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"X","pid":1,"tid":100001,"ts":1.500,"dur":0.500,"name":"stopped: gc start"},
{"ph":"i","s":"t","pid":1,"tid":100002,"ts":3.700,"name":"gc marked","args":{"cycle":3}},
{"ph":"X","pid":1,"tid":100001,"ts":3.500,"dur":0.300,"name":"stopped: gc end"},
{"ph":"X","pid":1,"tid":100002,"ts":0.500,"dur":4.000,"name":"cycle 3"},
{"ph":"M","pid":1,"tid":100002,"name":"thread_name","args":{"name":"collector"}},
{"ph":"M","pid":1,"tid":100001,"name":"thread_name","args":{"name":"the world"}}
]}
)");
}

TEST(TracePictureTest, WhatRunsAtTheEndIsDrawnAndNothingIsEmpty) {
  EXPECT_EQ(TracePicture({}), "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n\n]}\n");
  const std::vector<TraceEvent> events = {
      {.when_ns = 100, .g = 7, .proc = 0, .kind = TraceKind::kRun},
      {.when_ns = 400, .g = 8, .other = 7, .proc = 0, .kind = TraceKind::kReady},
  };
  EXPECT_NE(TracePicture(events).find(
                R"("dur":0.300,"name":"goroutine 7","args":{"left":"end of the trace"})"),
            std::string::npos);
}

}  // namespace
}  // namespace plimsoll::sched
