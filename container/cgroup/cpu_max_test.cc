#include "plimsoll/container/cgroup/cpu_max.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

TEST(ParseCpuMaxTest, ReadsQuotaOverPeriodInLowestTerms) {
  const struct {
    std::string contents;
    int64_t num, den;
  } kCases[] = {{"150000 100000\n", 3, 2}, {"50000 100000\n", 1, 2},
                {"250000\n", 5, 2},        {"1000 1000000\n", 1, 1000},
                {"400000 100000\n", 4, 1}, {"17592186044416 1000\n", 2199023255552, 125}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.contents);
    const absl::StatusOr<CpuMax> got = ParseCpuMax(c.contents);
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_TRUE(got->Cpus().has_value());
    EXPECT_EQ(got->Cpus()->num, c.num);
    EXPECT_EQ(got->Cpus()->den, c.den);
  }
}

TEST(ParseCpuMaxTest, TakesMaxForNoQuotaAndKeepsThePeriod) {
  const absl::StatusOr<CpuMax> got = ParseCpuMax("max 50000\n");
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(got->Cpus(), std::nullopt);
  EXPECT_EQ(got->period_us, 50000);
  EXPECT_TRUE(ParseCpuMax("max\n").ok());
}

TEST(ParseCpuMaxTest, NamesTheFieldAndTheTextOfWhatItRefuses) {
  const struct {
    std::string contents, message;
  } kCases[] = {
      {"", "is empty"},
      {"150000 1", "\"150000 1\" has no newline, so it may be cut short"},
      {"lots 100000\n", "quota \"lots\" is not a positive number of microseconds"},
      {"0 100000\n", "quota \"0\" is not a positive number of microseconds"},
      {"-1 100000\n", "quota \"-1\" is not a positive number of microseconds"},
      {"150000 0\n", "period \"0\" is not a positive number of microseconds"},
      {"150000 \n", "period \"\" is not a positive number of microseconds"},
      {"max many\n", "period \"many\" is not a positive number of microseconds"},
      {"1 2 3\n", "\"1 2 3\" has more than two fields"},
      {"9223372036854775808 1\n",
       "quota \"9223372036854775808\" is not a positive number of microseconds"},
      {"1\0 1\n"s, "quota \"1\\x00\" is not a positive number of microseconds"},
      {"\n", "quota \"\" is not a positive number of microseconds"},
  };
  for (const auto& c : kCases) {
    const absl::StatusOr<CpuMax> got = ParseCpuMax(c.contents);
    ASSERT_FALSE(got.ok()) << c.contents;
    EXPECT_EQ(std::string(got.status().message()), c.message);
  }
}

TEST(ParseCfsTest, TakesNegativeForNoQuotaAndRefusesZeroAndGarbage) {
  EXPECT_EQ(*ParseCfsQuota("-1\n"), 0);
  EXPECT_EQ(*ParseCfsQuota("150000\n"), 150000);
  EXPECT_EQ(*ParseCfsPeriod("100000\n"), 100000);
  for (const char* text : {"", "0\n", "-0\n", "-\n", "-x\n", "1 2\n", "150000", "-1"}) {
    EXPECT_FALSE(ParseCfsQuota(text).ok()) << text;
  }
  for (const char* text : {"", "0\n", "-1\n", "100000", "x\n"}) {
    EXPECT_FALSE(ParseCfsPeriod(text).ok()) << text;
  }
}

TEST(FractionTest, ComparesByValueWithoutRoundingOrOverflow) {
  EXPECT_EQ((Fraction{1, 2}), (Fraction{50000, 100000}));
  EXPECT_LT((Fraction{333333, 1000000}), (Fraction{1, 3}));
  EXPECT_GT((Fraction{INT64_MAX, 2}), (Fraction{INT64_MAX, 3}));
  EXPECT_EQ((Fraction{6, 4}.Reduced().den), 2);
}

}  // namespace
}  // namespace plimsoll::container
