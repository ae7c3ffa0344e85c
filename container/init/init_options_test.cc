#include "plimsoll/container/init/init_options.h"

#include <signal.h>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

using Words = std::vector<std::string_view>;

TEST(InitOptionsTest, SplitsItsOwnOptionsFromTheProgramsCommand) {
  const struct {
    Words args;
    std::vector<std::string> argv;
    bool group, subreaper, verbose, warn;
    int signal;
  } kCases[] = {
      {{"/app"}, {"/app"}, false, false, false, false, 0},
      {{"--", "/app"}, {"/app"}, false, false, false, false, 0},
      {{"-g", "--", "/app", "-v"}, {"/app", "-v"}, true, false, false, false, 0},
      {{"-gsv", "/app", "--help"}, {"/app", "--help"}, true, true, true, false, 0},
      {{"-w", "-p", "KILL", "--", "--odd"}, {"--odd"}, false, false, false, true, SIGKILL},
      {{"-gpTERM", "a", "--", "b"}, {"a", "--", "b"}, true, false, false, false, SIGTERM},
      {{"--", "-"}, {"-"}, false, false, false, false, 0},
      {{"-"}, {"-"}, false, false, false, false, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.args));
    const absl::StatusOr<InitOptions> options = ParseInitOptions(c.args);
    ASSERT_TRUE(options.ok()) << options.status();
    EXPECT_EQ(options->argv, c.argv);
    EXPECT_EQ(options->whole_group, c.group);
    EXPECT_EQ(options->subreaper, c.subreaper);
    EXPECT_EQ(options->verbose, c.verbose);
    EXPECT_EQ(options->warn_on_reap, c.warn);
    EXPECT_EQ(options->parent_death_signal, c.signal);
  }
}

TEST(InitOptionsTest, GathersExitCodesThatCountAsSuccess) {
  const Words args = {"-e", "143", "-e0", "-e255", "/app"};
  const absl::StatusOr<InitOptions> options = ParseInitOptions(args);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->success_codes.count(), 3);
  EXPECT_TRUE(options->success_codes[143] && options->success_codes[0] &&
              options->success_codes[255]);
}

TEST(InitOptionsTest, NamesTheWordThatIsWrong) {
  const struct {
    Words args;
    std::string text;
  } kCases[] = {
      {{}, "no program was named"},
      {{"--"}, "no program was named"},
      {{"-g"}, "no program was named"},
      {{"-x", "/app"}, "no such option: \"-x\""},
      {{"-gx", "/app"}, "no such option: \"-gx\""},
      {{"--nonsense", "/app"}, "no such option: \"--nonsense\""},
      {{"-p"}, "a value is missing after \"-p\""},
      {{"-p", "NONE", "/app"}, "-p: no such signal: \"NONE\""},
      {{"-e", "256", "/app"}, "-e: not an exit code from 0 to 255: \"256\""},
      {{"-e", "-1", "/app"}, "-e: not an exit code from 0 to 255: \"-1\""},
      {{"-e", "1\n", "/app"}, "-e: not an exit code from 0 to 255: \"1\\n\""},
      {{"-e99999999999", "/app"}, "-e: not an exit code from 0 to 255: \"99999999999\""},
  };
  for (const auto& c : kCases) {
    const absl::StatusOr<InitOptions> options = ParseInitOptions(c.args);
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(options.status().message(), c.text);
  }
}

TEST(InitOptionsTest, HelpAndVersionNeedNoProgram) {
  for (const std::string_view word : {"--help", "-h"}) {
    EXPECT_EQ(ParseInitOptions(Words{word})->act, InitOptions::Act::kHelp);
  }
  EXPECT_EQ(ParseInitOptions(Words{"--version"})->act, InitOptions::Act::kVersion);
}

TEST(InitOptionsTest, HelpNamesEveryOption) {
  for (const std::string_view option :
       {"-g ", "-s ", "-v ", "-w ", "-p SIGNAL", "-e CODE", "--help", "--version", "127", "126"}) {
    EXPECT_NE(InitHelp().find(option), std::string_view::npos) << option;
  }
}

}  // namespace
}  // namespace plimsoll::container
