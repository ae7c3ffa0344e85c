#include "plimsoll/examples/service/options.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace example {
namespace {

absl::StatusOr<Options> Parse(std::vector<std::string> arguments,
                              const std::map<std::string, std::string>& environment = {}) {
  std::vector<char*> pointers;
  for (std::string& a : arguments) pointers.push_back(a.data());
  return ParseOptions(pointers, [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(OptionsTest, AFlagGoesBeforeTheEnvironmentAndThatBeforeTheDefault) {
  const struct {
    std::vector<std::string> arguments;
    std::map<std::string, std::string> environment;
    std::string_view address;
  } kCases[] = {
      {{}, {}, ":8080"},
      {{}, {{"PORT", "0"}}, ":0"},
      {{}, {{"PORT", ""}}, ":8080"},
      {{"--port", "81"}, {{"PORT", "nonsense"}}, ":81"},
      {{"--port=82", "--host", "127.0.0.1"}, {}, "127.0.0.1:82"},
      {{"--host=::1", "--port", "1"}, {}, "[::1]:1"},
      {{"--host=[::1]"}, {}, "[::1]:8080"},
      {{}, {{"HOST", "10.0.0.1"}}, "10.0.0.1:8080"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.arguments));
    const absl::StatusOr<Options> options = Parse(c.arguments, c.environment);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->address.ToString(), c.address);
    EXPECT_EQ(options->grace, absl::ZeroDuration());
    EXPECT_EQ(options->drain, absl::Seconds(20));
    EXPECT_FALSE(options->help);
  }
  EXPECT_TRUE(Parse({"--help"})->help);
  EXPECT_EQ(Parse({"--grace", "1.5", "--drain=0.25"})->grace, absl::Milliseconds(1500));
  EXPECT_EQ(Parse({"--grace", "1.5", "--drain=0.25"})->drain, absl::Milliseconds(250));
}

TEST(OptionsTest, NamesTheFlagAndTheTextThatMakeNoSense) {
  const struct {
    std::vector<std::string> arguments;
    std::map<std::string, std::string> environment;
    std::string_view message;
  } kCases[] = {
      {{"--prot", "1"}, {}, "\"--prot\" is not a flag; see --help"},
      {{"8080"}, {}, "\"8080\" is not a flag; see --help"},
      {{"--port"}, {}, "--port wants a value"},
      {{"--port", "http"}, {}, "--port: \"http\" is not a port from 0 to 65535"},
      {{"--port=65536"}, {}, "--port: \"65536\" is not a port from 0 to 65535"},
      {{}, {{"PORT", "-1"}}, "PORT in the environment: \"-1\" is not a port from 0 to 65535"},
      {{"--host", "example.org"}, {}, "--host: \"example.org\" is not an IP address"},
      {{"--drain=long"}, {}, "--drain: \"long\" is not a number of seconds from 0 to 3600"},
      {{"--drain=nan"}, {}, "--drain: \"nan\" is not a number of seconds from 0 to 3600"},
      {{"--grace=-1"}, {}, "--grace: \"-1\" is not a number of seconds from 0 to 3600"},
  };
  for (const auto& c : kCases) {
    const absl::StatusOr<Options> options = Parse(c.arguments, c.environment);
    ASSERT_FALSE(options.ok()) << c.message;
    EXPECT_EQ(std::string(options.status().message()), c.message);
  }
}

}  // namespace
}  // namespace example
