#include "plimsoll/container/cgroup/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

TEST(TextTest, ConcatJoinsTextAndNumbers) {
  EXPECT_EQ(Concat("a", std::string("b"), 1, uint64_t{18446744073709551615u}, int64_t{-5}),
            "ab118446744073709551615-5");
}

TEST(TextTest, QuoteShowsEveryByteAndCutsLongText) {
  const struct {
    std::string text, quoted;
  } kCases[] = {
      {"", R"("")"},
      {"max 100000\n", R"("max 100000\n")"},
      {"a\"b\\c\t", R"("a\"b\\c\t")"},
      {"\0\x7f\xff"s, R"("\x00\x7f\xff")"},
      {std::string(97, 'x'), "\"" + std::string(96, 'x') + "\"... (97 bytes)"},
  };
  for (const auto& c : kCases) EXPECT_EQ(Quote(c.text), c.quoted);
}

TEST(TextTest, FormatBytesIsExactInTheLargestUnitThatDividesIt) {
  const struct {
    uint64_t bytes;
    std::string text;
  } kCases[] = {
      {0, "0 bytes"},
      {1023, "1023 bytes"},
      {1024, "1 KiB"},
      {134217728, "128 MiB"},
      {100663296, "96 MiB"},
      {1073741824, "1 GiB"},
      {1610612736, "1536 MiB"},
      {1449551462, "1449551462 bytes (1.3 GiB)"},
      {1073741823, "1073741823 bytes (1023.9 MiB)"},
      {UINT64_MAX, "18446744073709551615 bytes (16777215.9 TiB)"},
  };
  for (const auto& c : kCases) EXPECT_EQ(FormatBytes(c.bytes), c.text);
}

TEST(TextTest, FormatFractionHasAtMostThreePlaces) {
  const struct {
    int64_t num, den;
    std::string text;
  } kCases[] = {{3, 2, "1.5"},
                {7, 10, "0.7"},
                {1, 3, "0.333"},
                {4, 1, "4"},
                {1, 40, "0.025"},
                {5, 4, "1.25"},
                {INT64_MAX, 1, "9223372036854775807"},
                {1, 0, "?"}};
  for (const auto& c : kCases) EXPECT_EQ(FormatFraction(c.num, c.den), c.text);
}

TEST(TextTest, ParseDigitsTakesDigitsOnly) {
  for (const char* text :
       {"", " 5", "5 ", "+5", "-5", "5q", "0x5", "5.0", "18446744073709551616"}) {
    uint64_t value = 7;
    EXPECT_FALSE(ParseDigits(text, &value)) << text;
    EXPECT_EQ(value, 7u) << text;
  }
  uint64_t value = 0;
  EXPECT_TRUE(ParseDigits("18446744073709551615", &value));
  EXPECT_EQ(value, UINT64_MAX);
  EXPECT_TRUE(ParseDigits("007", &value));
  EXPECT_EQ(value, 7u);
}

}  // namespace
}  // namespace plimsoll::container
