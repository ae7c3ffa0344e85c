#include "plimsoll/container/health/probe.h"

#include <stdexcept>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

TEST(RunProbeTest, GivesTheFunctionsAnswerUnderTheProbesName) {
  const ProbeResult good = RunProbe({"disk", [] { return absl::OkStatus(); }});
  EXPECT_EQ(good.name, "disk");
  EXPECT_TRUE(good.status.ok());
  const ProbeResult bad = RunProbe({"db", [] { return absl::UnavailableError("refused"); }});
  EXPECT_EQ(bad.status, absl::UnavailableError("refused"));
}

TEST(RunProbeTest, TurnsAStandardExceptionIntoAFailure) {
  const ProbeResult result =
      RunProbe({"db", []() -> absl::Status { throw std::runtime_error("pool is gone"); }});
  EXPECT_EQ(result.status, absl::InternalError("threw: pool is gone"));
}

TEST(RunProbeTest, TurnsAnUnsetFunctionIntoAFailure) {
  EXPECT_EQ(RunProbe({"unset", nullptr}).status.code(), absl::StatusCode::kInternal);
}

TEST(RunProbeTest, LetsOtherExceptionsPass) {
  struct GoroutineExit {};
  EXPECT_THROW(RunProbe({"x", []() -> absl::Status { throw GoroutineExit{}; }}), GoroutineExit);
}

TEST(CheckProbeNameTest, TakesWhatReadsWellInAUrl) {
  const struct {
    std::string name;
    bool ok;
  } kCases[] = {
      {"db", true},
      {"cache-warm_2.x", true},
      {std::string(63, 'a'), true},
      {std::string(64, 'a'), false},
      {"", false},
      {"two words", false},
      {"a/b", false},
      {"line\nbreak", false},
      {std::string("nul\0", 4), false},
      {"caf\xc3\xa9", false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(CheckProbeName(c.name).ok(), c.ok);
  }
}

TEST(CheckProbeNameTest, ShowsTheNameThatItRefuses) {
  const absl::Status status = CheckProbeName("line\nbreak");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "probe name \"line\\nbreak\" is not 1 to 63 of a-z A-Z 0-9 . _ -");
}

}  // namespace
}  // namespace plimsoll::container
