#include "plimsoll/alloc/base/check.h"

#include <errno.h>

#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace plimsoll::base {
namespace {

TEST(RawTextTest, WritesNumbersAsPeopleReadThem) {
  RawText text;
  text.Add(std::numeric_limits<int64_t>::min());
  text.Add(" ");
  text.Add(std::numeric_limits<uint64_t>::max());
  text.Add(" ");
  text.Add(Hex(uint64_t{0xdeadbeef}));
  text.Add(" ");
  text.Add(0);
  EXPECT_EQ(text.view(), "-9223372036854775808 18446744073709551615 0xdeadbeef 0");
}

TEST(RawTextTest, CutsALongLineAndSaysSo) {
  RawText text;
  text.Add(std::string(600, 'a'));
  text.Add(std::string(600, 'b'));
  text.Add("never seen");
  EXPECT_LE(text.view().size(), 1000u);
  EXPECT_EQ(text.view().substr(text.view().size() - 3), "...");
}

TEST(ErrnoNameTest, NamesWhatItKnowsAndSaysSoOtherwise) {
  EXPECT_EQ(ErrnoName(EAGAIN), "EAGAIN");
  EXPECT_EQ(ErrnoName(99999), "unknown errno");
}

TEST(CheckDeathTest, PrintsTheFalseFactAndExits2) {
  const int answer = 41;
  EXPECT_EXIT(PLIMSOLL_CHECK(answer == 42, "answer is ", answer), testing::ExitedWithCode(2),
              "fatal error: .*check_test.cc:[0-9]+: CHECK failed: answer == 42 answer is 41");
}

TEST(FatalDeathTest, RunsTheHookOnceAfterItsLine) {
  EXPECT_EXIT(
      {
        SetFatalHook([] { RawLog("hook ran"); });
        Fatal("all is lost");
      },
      testing::ExitedWithCode(2), "^fatal error: all is lost\nhook ran\n$");
}

TEST(FatalDeathTest, EndsWhenTheHookItselfFails) {
  EXPECT_EXIT(
      {
        SetFatalHook([] { Fatal("again"); });
        Fatal("first");
      },
      testing::ExitedWithCode(2), "^fatal error: first\n$");
}

}  // namespace
}  // namespace plimsoll::base
