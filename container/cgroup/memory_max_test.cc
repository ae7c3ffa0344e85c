#include "plimsoll/container/cgroup/memory_max.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>

namespace plimsoll::container {
namespace {

TEST(ParseMaxTest, ReadsANumberOrMax) {
  EXPECT_EQ(ParseMax("134217728\n")->value(), 134217728u);
  EXPECT_EQ(ParseMax("0\n")->value(), 0u);
  EXPECT_EQ(ParseMax("18446744073709551615\n")->value(), UINT64_MAX);
  EXPECT_EQ(*ParseMax("max\n"), std::nullopt);
}

TEST(ParseMaxTest, ShowsTheTextThatItRefuses) {
  const struct {
    std::string contents, message;
  } kCases[] = {
      {"", "is empty"},
      {"1073", "\"1073\" has no newline, so it may be cut short"},
      {"12q\n", "\"12q\" is neither a number nor \"max\""},
      {"\n", "\"\" is neither a number nor \"max\""},
      {"-1\n", "\"-1\" is neither a number nor \"max\""},
      {"1\n2\n", "\"1\\n2\" is neither a number nor \"max\""},
      {"18446744073709551616\n", "\"18446744073709551616\" is neither a number nor \"max\""},
  };
  for (const auto& c : kCases) {
    const auto got = ParseMax(c.contents);
    ASSERT_FALSE(got.ok()) << c.contents;
    EXPECT_EQ(std::string(got.status().message()), c.message);
  }
}

TEST(ParseStatLineTest, FindsItsKeyAndNoOther) {
  const char kStat[] =
      "cache 1\nxhierarchical_memory_limit 5\nhierarchical_memory_limit 7\nrss 9\n";
  EXPECT_EQ(**ParseStatLine(kStat, "hierarchical_memory_limit"), 7u);
  EXPECT_EQ(*ParseStatLine(kStat, "hierarchical"), std::nullopt);
  EXPECT_EQ(*ParseStatLine(kStat, "none"), std::nullopt);
  EXPECT_EQ(*ParseStatLine("", "rss"), std::nullopt);
  EXPECT_EQ(*ParseStatLine("rss", "rss"), std::nullopt);
}

TEST(ParseStatLineTest, RefusesABadOrTruncatedNumber) {
  for (const char* text : {"rss x\n", "rss \n", "rss 12", "rss -1\n"}) {
    EXPECT_FALSE(ParseStatLine(text, "rss").ok()) << text;
  }
}

TEST(IsUnlimitedTest, KnowsTheNumberForEachPageSize) {
  EXPECT_TRUE(IsUnlimited(9223372036854771712u, 4096));
  EXPECT_TRUE(IsUnlimited(9223372036854775807u, 4096));
  EXPECT_TRUE(IsUnlimited(UINT64_MAX, 4096));
  EXPECT_FALSE(IsUnlimited(9223372036854710272u, 4096));
  EXPECT_TRUE(IsUnlimited(9223372036854710272u, 65536));
  EXPECT_FALSE(IsUnlimited(9223372036854771712u, 1));
}

}  // namespace
}  // namespace plimsoll::container
