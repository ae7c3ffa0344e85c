#include "plimsoll/alloc/base/environment.h"

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace plimsoll::base {
namespace {

TEST(EnvironmentTest, ASecureProcessHeedsNothingAndNamesMatchWhole) {
  const char* const environment[] = {"NAMES=longer", "NAME",   "XNAME=other", "NAME=value=with",
                                     "NAME=second",  "EMPTY=", nullptr};
  const struct {
    const char* const* environment;
    bool secure;
    const char* name;
    const char* found;
  } kCases[] = {
      {environment, false, "NAME", "value=with"}, {environment, false, "EMPTY", ""},
      {environment, true, "NAME", nullptr},       {environment, true, "EMPTY", nullptr},
      {nullptr, false, "NAME", nullptr},          {nullptr, true, "NAME", nullptr},
  };
  for (const auto& c : kCases) {
    EXPECT_STREQ(FindHeeded(c.environment, c.secure, c.name), c.found)
        << c.name << " secure " << c.secure;
  }
}

TEST(EnvironmentTest, ReadsTheEnvironmentAsItIsNow) {
  setenv("PLIMSOLL_ENVIRONMENT_TEST", "here", 1);
  EXPECT_STREQ(FromEnvironment("PLIMSOLL_ENVIRONMENT_TEST"), "here");
  unsetenv("PLIMSOLL_ENVIRONMENT_TEST");
  EXPECT_EQ(FromEnvironment("PLIMSOLL_ENVIRONMENT_TEST"), nullptr);
}

}  // namespace
}  // namespace plimsoll::base
