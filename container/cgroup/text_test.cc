#include "plimsoll/container/cgroup/text.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

TEST(ShownTest, QuotesWhatCouldBeTakenForOurWordsOrATerminalsCommand) {
  const struct {
    std::string_view name, shown;
  } kCases[] = {
      {"/sys/fs/cgroup/system.slice/dev\\x2dhugepages.mount",
       "/sys/fs/cgroup/system.slice/dev\\x2dhugepages.mount"},
      {"/kubepods/pod7,c:1=+@%~", "/kubepods/pod7,c:1=+@%~"},
      {"", "\"\""},
      {"/a b", "\"/a b\""},
      {"/a (cpu.max)", "\"/a (cpu.max)\""},
      {"/a\nP", "\"/a\\nP\""},
      {"/a\x1b[2J", "\"/a\\x1b[2J\""},
      {"/a\xc2\x9b"
       "2J",
       "\"/a\\xc2\\x9b2J\""},
      {"/a\"b\\", "\"/a\\\"b\\\\\""},
      {"*", "\"*\""},
  };
  for (const auto& c : kCases) EXPECT_EQ(Shown(c.name), c.shown);
  EXPECT_EQ(Shown("/" + std::string(300, ' ')).size(), 303u) << "a name is not cut";
}

TEST(ShownValueTest, LeavesSpacesAndQuotesTheRest) {
  EXPECT_EQ(ShownValue("150000 100000"), "150000 100000");
  EXPECT_EQ(ShownValue("max\x1b[2J"), "\"max\\x1b[2J\"");
}

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
      {1, "1 byte"},
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
