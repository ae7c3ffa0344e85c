#include "plimsoll/alloc/base/debug_text.h"

#include <string>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::base {
namespace {

// What `read` answers, then what it says of it.
template <typename F>
std::string Said(F read) {
  testing::internal::CaptureStderr();
  const auto answer = read();
  return std::to_string(answer) + " " + testing::internal::GetCapturedStderr();
}

TEST(DebugTextTest, TheLastOfAKeyHoldsAndOthersDoNotMatter) {
  const struct {
    std::string_view text;
    std::optional<std::string_view> gctrace;
  } kCases[] = {
      {"", std::nullopt},
      {"gctrace=1", "1"},
      {"verify=1,gctrace=0", "0"},
      {"gctrace=0,gctrace=1", "1"},
      {"gctrace=a=b,verify", "a=b"},
      {"gctrace", std::nullopt},
      {"xgctrace=1", std::nullopt},
      {"gctracex=1", std::nullopt},
      {",,gctrace=,", ""},
  };
  for (const auto& c : kCases) EXPECT_EQ(DebugText(c.text).Find("gctrace"), c.gctrace) << c.text;
}

TEST(DebugTextTest, AValueThatIsNotUnderstoodIsToldWithWhatIsTaken) {
  constexpr std::string_view kWords[] = {"on", "off"};
  const struct {
    std::string_view text;
    std::string flag, choice, number;
  } kCases[] = {
      {"", "0 ", "0 ", "7 "},
      {"verify=1,preempt=off,schedtrace=100", "1 ", "1 ", "100 "},
      {"verify=2,preempt=no,schedtrace=101",
       "0 plimsoll: PLIMSOLL_DEBUG: verify=\"2\" is not one of 0, 1; 0 is taken\n",
       "0 plimsoll: PLIMSOLL_DEBUG: preempt=\"no\" is not one of on, off; on is taken\n",
       "7 plimsoll: PLIMSOLL_DEBUG: schedtrace=\"101\" is not a number from 0 to 100; 7 is "
       "taken\n"},
      {"verify=\x1b[31m,preempt=,schedtrace=99999999999999999999",
       "0 plimsoll: PLIMSOLL_DEBUG: verify=\"\\x1b[31m\" is not one of 0, 1; 0 is taken\n",
       "0 plimsoll: PLIMSOLL_DEBUG: preempt=\"\" is not one of on, off; on is taken\n",
       "7 plimsoll: PLIMSOLL_DEBUG: schedtrace=\"99999999999999999999\" is not a number from 0 to "
       "100; 7 is taken\n"},
  };
  for (const auto& c : kCases) {
    const DebugText debug(c.text);
    EXPECT_EQ(Said([&] { return debug.Flag("verify"); }), c.flag);
    EXPECT_EQ(Said([&] { return debug.Choice("preempt", kWords); }), c.choice);
    EXPECT_EQ(Said([&] { return debug.Number("schedtrace", 100, 7); }), c.number);
  }
  for (const char* text : {"schedtrace=", "schedtrace=-1", "schedtrace=1k", "schedtrace= 1"}) {
    EXPECT_EQ(
        Said([&] { return DebugText(text).Number("schedtrace", UINT64_MAX, 7); }).substr(0, 10),
        "7 plimsoll")
        << text;
  }
  EXPECT_EQ(DebugText("schedtrace=18446744073709551615").Number("schedtrace", UINT64_MAX, 7),
            UINT64_MAX);
}

TEST(DebugTextTest, UnknownKeysAreToldInOneLineWithThoseThatThereAre) {
  const struct {
    std::string_view text, said;  // before the list of keys
  } kCases[] = {
      {"gctrase=1", "PLIMSOLL_DEBUG: \"gctrase\": not understood"},
      {"verify", "PLIMSOLL_DEBUG: \"verify\" without a value: not understood"},
      {"gctrace=1, verify=1,a\x1b[2J=b,,c",
       "PLIMSOLL_DEBUG: \" verify\", \"a\\x1b[2J\", \"c\" without a value: not understood"},
  };
  for (const auto& c : kCases) {
    RawText line;
    EXPECT_TRUE(DebugText(c.text).Unknown(line));
    EXPECT_EQ(line.view().substr(0, c.said.size()), c.said);
    EXPECT_NE(line.view().find(" ignored; there are checkmark=0|1 "), std::string_view::npos);
    EXPECT_TRUE(line.view().ends_with(" verify=0|1")) << line.view();
  }
  for (const std::string_view text : {"", "gctrace=1,heap=nonsense", ",verify=1,"}) {
    RawText line;
    EXPECT_FALSE(DebugText(text).Unknown(line)) << line.view();
  }
}

TEST(DebugTextTest, AProcessTellsOfUnknownKeysOnce) {
  testing::internal::CaptureStderr();
  DebugText("once=1").TellUnknown();
  DebugText("once=1").TellUnknown();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(said.starts_with("plimsoll: PLIMSOLL_DEBUG: \"once\": not")) << said;
  EXPECT_EQ(said.find('\n'), said.size() - 1) << said;
}

TEST(DebugTextTest, ReadsTheEnvironmentAsItIsNow) {
  setenv("PLIMSOLL_DEBUG", "verify=1", 1);
  EXPECT_TRUE(DebugText::FromEnvironment().Flag("verify"));
  unsetenv("PLIMSOLL_DEBUG");
  EXPECT_FALSE(DebugText::FromEnvironment().Flag("verify"));
}

}  // namespace
}  // namespace plimsoll::base
