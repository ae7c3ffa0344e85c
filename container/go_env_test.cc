#include "plimsoll/container/go_env.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace plimsoll::container {
namespace {

TEST(GoEnvTest, ReadsMemoryLimitsInGosUnits) {
  const struct {
    const char* text;
    int64_t bytes;
  } kCases[] = {{"0", 0},
                {"100", 100},
                {"100B", 100},
                {"4KiB", 4096},
                {"400MiB", 419430400},
                {"2GiB", int64_t{2} << 30},
                {"1TiB", int64_t{1} << 40},
                {"off", kNoMemLimit},
                {"9223372036854775807", INT64_MAX}};
  for (const auto& c : kCases) {
    const absl::StatusOr<int64_t> got = ParseGoMemLimit(c.text);
    ASSERT_TRUE(got.ok()) << c.text << got.status();
    EXPECT_EQ(*got, c.bytes) << c.text;
  }
}

TEST(GoEnvTest, RefusesWhatGoRefuses) {
  for (const char* text : {"", "KiB", "-1", "1.5GiB", "1 GiB", "1KB", "1K", "OFF", "1GiBB",
                           "9223372036854775808", "8388608TiB", "1e9"}) {
    EXPECT_FALSE(ParseGoMemLimit(text).ok()) << text;
  }
  EXPECT_EQ(std::string(ParseGoMemLimit("1KB").status().message()),
            "\"1KB\" is not a number of bytes, KiB, MiB, GiB or TiB, nor \"off\"");
}

TEST(GoEnvTest, ReadsAPositiveNumberOfProcs) {
  EXPECT_EQ(*ParseGoMaxProcs("1"), 1);
  EXPECT_EQ(*ParseGoMaxProcs("2147483647"), INT32_MAX);
  for (const char* text : {"", "0", "-1", "+1", "2147483648", "1.95c", "four"}) {
    EXPECT_FALSE(ParseGoMaxProcs(text).ok()) << text;
  }
}

}  // namespace
}  // namespace plimsoll::container
