#include "plimsoll/container/cgroup/pressure_formats.h"

#include <cstdint>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

TEST(FlatKeyedTest, FindsTheNumberOfAWholeLineOfThatKey) {
  const struct {
    std::string_view text;
    std::optional<uint64_t> value;
  } kCases[] = {
      {"max 5\n", 5},
      {"low 1\nmax 18446744073709551615\n", UINT64_MAX},
      {"maximum 1\nmax 7\n", 7},
      {"max  9\n", 9},
      {"", std::nullopt},
      {"max 5", std::nullopt},  // cut: it may be the head of 50
      {"max\n", std::nullopt},
      {"max -1\n", std::nullopt},
      {"max 1.5\n", std::nullopt},
      {"max 18446744073709551616\n", std::nullopt},
      {"max 5 6\n", std::nullopt},
      {"low 5\n", std::nullopt},
  };
  for (const auto& c : kCases) EXPECT_EQ(FlatKeyed(c.text, "max"), c.value) << c.text;
}

TEST(ParseCpuStatTest, ReadsBothVersionsInNanoseconds) {
  const struct {
    std::string_view text;
    std::optional<CpuStat> stat;
  } kCases[] = {
      {"nr_periods 12\nnr_throttled 3\nthrottled_time 91000\n", CpuStat{12, 3, 91000}},
      {"usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 12\nnr_throttled 3\n"
       "throttled_usec 91\nnr_bursts 0\nburst_usec 0\n",
       CpuStat{12, 3, 91000}},
      // The root of v2, and a group without the cpu controller.
      {"usage_usec 7\nuser_usec 4\nsystem_usec 3\n", std::nullopt},
      {"nr_periods 12\nnr_throttled 3\nthrottled_usec 9", std::nullopt},
      {"nr_periods 12\nnr_throttled 3\nthrottled_usec 18446744073709551615\n", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& c : kCases) EXPECT_EQ(ParseCpuStat(c.text), c.stat) << c.text;
}

TEST(ParsePsiTest, ReadsTotalsInNanoseconds) {
  const struct {
    std::string_view text;
    std::optional<Psi> psi;
  } kCases[] = {
      {"some avg10=1.00 avg60=0.10 avg300=0.00 total=250\n"
       "full avg10=0.50 avg60=0.00 avg300=0.00 total=120\n",
       Psi{250000, 120000}},
      {"some avg10=0.00 avg60=0.00 avg300=0.00 total=250\n", Psi{250000, 0}},
      {"full avg10=0.00 avg60=0.00 avg300=0.00 total=250\n", std::nullopt},
      {"some avg10=0.00 total=12", std::nullopt},
      {"some avg10=0.00\n", std::nullopt},
      {"some total=x\n", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& c : kCases) EXPECT_EQ(ParsePsi(c.text), c.psi) << c.text;
}

TEST(ParseMemoryEventsTest, TakesMissingLinesOfOldKernelsAsZero) {
  EXPECT_EQ(ParseMemoryEvents("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n"),
            (MemoryEvents{2, 3, 4, 5}));
  EXPECT_EQ(ParseMemoryEvents("high 2\nmax 3\n"), (MemoryEvents{2, 3, 0, 0}));
  EXPECT_EQ(ParseMemoryEvents("high 2\n"), std::nullopt);
}

TEST(ParseSchedStatTest, ReadsRunAndWaitTime) {
  EXPECT_EQ(ParseSchedStat("123 456 7\n"), (SchedStat{123, 456}));
  EXPECT_EQ(ParseSchedStat("123 456\n"), (SchedStat{123, 456}));
  for (const std::string_view bad : {"", "\n", "123\n", "123 456 7", "a b c\n"}) {
    EXPECT_EQ(ParseSchedStat(bad), std::nullopt) << bad;
  }
}

TEST(ParseIdleTicksTest, SumsIdleAndIowaitOfTheCpusAskedFor) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  CPU_SET(2, &cpus);
  EXPECT_EQ(ParseIdleTicks("cpu  9 9 9 999 99 0\ncpu0 1 2 3 40 5 0\ncpu1 1 2 3 400 5 0\n"
                           "cpu2 1 2 3 4000 5 0\nintr 1 2 3\n",
                           cpus),
            4050);
  EXPECT_EQ(ParseIdleTicks("cpu0 1 2 3 40 5\ncpu2 1 2 3 4", cpus), 45) << "the last line is cut";
  EXPECT_EQ(ParseIdleTicks("cpu0 1 2 3 x 5\ncpu1 1 2 3 40 5\n", cpus), std::nullopt);
  EXPECT_EQ(ParseIdleTicks("cpu99999999999 1 2 3 4 5\n", cpus), std::nullopt);
  EXPECT_EQ(ParseIdleTicks("", cpus), std::nullopt);
}

// The shape of each file, with bytes changed at random: no parser may read out of bounds (ASan) or
// hang.
TEST(PressureFormatsTest, SurviveAnyBytes) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string kSeeds[] = {
      "nr_periods 12\nnr_throttled 3\nthrottled_usec 91000\n",
      "some avg10=1.00 avg60=0.10 avg300=0.00 total=250\nfull avg10=0 total=120\n",
      "low 0\nhigh 3\nmax 0\noom 0\noom_kill 0\n",
      "123 456 7\n",
      "cpu  9 9 9 999 99 0\ncpu0 1 2 3 40 5 0\ncpu1 1 2 3 400 5 0\nintr 5\n",
  };
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(0, &cpus);
  for (int i = 0; i < 20'000; ++i) {
    std::string text = kSeeds[random() % std::size(kSeeds)];
    for (uint32_t changes = random() % 6; changes > 0; --changes) {
      const size_t at = random() % text.size();
      if (random() % 3 == 0) text.erase(at, random() % 8);
      if (text.empty()) text = " ";
      text[random() % text.size()] = static_cast<char>(random());
    }
    (void)ParseCpuStat(text);
    (void)ParsePsi(text);
    (void)ParseMemoryEvents(text);
    (void)ParseSchedStat(text);
    (void)ParseIdleTicks(text, cpus);
  }
}

}  // namespace
}  // namespace plimsoll::container
