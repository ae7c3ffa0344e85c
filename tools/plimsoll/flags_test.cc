#include "plimsoll/tools/plimsoll/flags.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plimsoll::tools {
namespace {

TEST(FlagReaderTest, ReadsBothFormsOfAValueAndStopsAtTheFirstWord) {
  const std::vector<std::string> words = {"--root", "/a", "--n=5", "--json", "sh", "--json"};
  FlagReader flags(words);
  ASSERT_TRUE(flags.Next());
  EXPECT_TRUE(flags.Is("--root"));
  EXPECT_EQ(flags.Value(), "/a");
  ASSERT_TRUE(flags.Next());
  EXPECT_TRUE(flags.Is("--n"));
  EXPECT_EQ(flags.Number(1, 9), 5u);
  ASSERT_TRUE(flags.Next());
  flags.NoValue();
  EXPECT_FALSE(flags.Next());
  EXPECT_EQ(flags.error(), "");
  ASSERT_EQ(flags.rest().size(), 2u);
  EXPECT_EQ(flags.rest()[0], "sh");
}

TEST(FlagReaderTest, LeavesWhatFollowsTwoDashes) {
  const std::vector<std::string> words = {"--", "--json"};
  FlagReader flags(words);
  EXPECT_FALSE(flags.Next());
  ASSERT_EQ(flags.rest().size(), 1u);
}

TEST(FlagReaderTest, NamesTheFlagAndTheText) {
  const struct {
    std::vector<std::string> words;
    std::string error;
  } kCases[] = {
      {{"--n"}, "--n needs a value"},
      {{"--n=x"}, "--n: \"x\" is not a number from 1 to 9"},
      {{"--n", "10"}, "--n: \"10\" is not a number from 1 to 9"},
      {{"--n", "0"}, "--n: \"0\" is not a number from 1 to 9"},
      {{"--n", "-1"}, "--n: \"-1\" is not a number from 1 to 9"},
  };
  for (const auto& c : kCases) {
    FlagReader flags(c.words);
    ASSERT_TRUE(flags.Next());
    flags.Number(1, 9);
    EXPECT_EQ(flags.error(), c.error);
    EXPECT_FALSE(flags.Next()) << "the first error ends it";
  }
}

TEST(FlagReaderTest, RefusesAValueWhereNoneIsTaken) {
  const std::vector<std::string> words = {"--json=1"};
  FlagReader flags(words);
  ASSERT_TRUE(flags.Next());
  flags.NoValue();
  EXPECT_EQ(flags.error(), "--json: \"1\" is a value, and the flag takes none");
}

}  // namespace
}  // namespace plimsoll::tools
