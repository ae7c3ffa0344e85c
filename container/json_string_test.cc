#include "plimsoll/container/json_string.h"

#include <string>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

const struct {
  std::string bytes;
  std::string json;
  std::string line;
} kCases[] = {
    {"", R"("")", ""},
    {"plain", R"("plain")", "plain"},
    {R"(say "hi" \ )", R"("say \"hi\" \\ ")", R"(say "hi" \ )"},
    {"a\nb\tc\rd", R"("a\nb\tc\rd")", R"(a\nb\tc\rd)"},
    {std::string("nul\0", 4), R"("nul\u0000")", R"(nul\x00)"},
    {"\x1f\x7f", R"("\u001f\u007f")", R"(\x1f\x7f)"},
    // UTF-8 that commands a terminal: C1's CSI, a line separator, a bidirectional mark.
    {"\xc2\x9b"
     "31m",
     R"("\u009b31m")", R"(\xc2\x9b31m)"},
    {"\xe2\x80\xa8\xe2\x80\xae", R"("\u2028\u202e")", R"(\xe2\x80\xa8\xe2\x80\xae)"},
    {"caf\xc3\xa9", "\"caf\xc3\xa9\"", "caf\xc3\xa9"},
    {"\xe2\x82\xac \xf0\x9f\x9a\xa2", "\"\xe2\x82\xac \xf0\x9f\x9a\xa2\"",
     "\xe2\x82\xac \xf0\x9f\x9a\xa2"},
    // Not UTF-8: a lone tail, a cut character, overlong forms, a surrogate, past the last.
    {"\x80z", R"("\ufffdz")", R"(\x80z)"},
    {"\xe2\x82", R"("\ufffd\ufffd")", R"(\xe2\x82)"},
    {"\xc0\xaf", R"("\ufffd\ufffd")", R"(\xc0\xaf)"},
    {"\xe0\x80\xaf", R"("\ufffd\ufffd\ufffd")", R"(\xe0\x80\xaf)"},
    {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")", R"(\xed\xa0\x80)"},
    {"\xf0\x80\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")", R"(\xf0\x80\x80\x80)"},
    {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")", R"(\xf4\x90\x80\x80)"},
    {"\xff", R"("\ufffd")", R"(\xff)"},
};

TEST(AppendJsonStringTest, WritesAnyBytesAsAValidJsonString) {
  for (const auto& c : kCases) {
    std::string out = "x:";
    AppendJsonString(c.bytes, &out);
    EXPECT_EQ(out, "x:" + c.json);
  }
}

TEST(OneLineTest, LeavesNothingThatCouldBreakALine) {
  for (const auto& c : kCases) EXPECT_EQ(OneLine(c.bytes), c.line);
}

}  // namespace
}  // namespace plimsoll::container
