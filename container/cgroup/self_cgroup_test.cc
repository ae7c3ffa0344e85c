#include "plimsoll/container/cgroup/self_cgroup.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

TEST(ParseSelfCgroupTest, ReadsV1V2AndNamedLines) {
  DiagnosticList diagnostics;
  const std::vector<CgroupLine> lines = ParseSelfCgroup(
      "12:cpu,cpuacct:/a b:c/d\n1:name=systemd:/x\n0::/kubepods/p (deleted)\n", diagnostics);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].controllers, (std::vector<std::string>{"cpu", "cpuacct"}));
  EXPECT_EQ(lines[0].path, "/a b:c/d");
  EXPECT_FALSE(lines[0].v2);
  EXPECT_EQ(lines[1].controllers, std::vector<std::string>{"name=systemd"});
  EXPECT_TRUE(lines[2].v2);
  EXPECT_EQ(lines[2].path, "/kubepods/p (deleted)");
  EXPECT_TRUE(diagnostics.Take().empty());
}

TEST(PathBeforeDeletionTest, TakesTheKernelsWordOffAndNoOther) {
  EXPECT_EQ(PathBeforeDeletion("/a/b (deleted)"), "/a/b");
  EXPECT_EQ(PathBeforeDeletion("/a (deleted) (deleted)"), "/a (deleted)");
  for (const char* path :
       {"/", "/a", "/a(deleted)", "/a (deleted)/b", " (deleted)", "/ (deleted)"}) {
    EXPECT_EQ(PathBeforeDeletion(path), std::nullopt) << path;
  }
}

TEST(ParseSelfCgroupTest, SkipsABadLineAndSaysWhichAndWhy) {
  const struct {
    std::string line, why;
  } kCases[] = {
      {"garbage", "has no colon; skipped"},
      {"0:/x", "has one colon, not two; skipped"},
      {"x::/a", "does not start with a hierarchy number; skipped"},
      {"0::", "has no path that starts with '/'; skipped"},
      {"0::a", "has no path that starts with '/'; skipped"},
      {"0::/a\0b"s, "holds a zero byte; skipped"},
      {"0::/" + std::string(5000, 'a'), "is longer than a path can be; skipped"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.why);
    DiagnosticList list;
    const std::vector<CgroupLine> lines = ParseSelfCgroup(c.line + "\n0::/good\n", list);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0].path, "/good");
    const std::vector<Diagnostic> diagnostics = list.Take();
    ASSERT_EQ(diagnostics.size(), 1u);
    EXPECT_EQ(diagnostics[0].code, "cgroup-line");
    EXPECT_EQ(diagnostics[0].file, "/proc/self/cgroup");
    EXPECT_EQ(diagnostics[0].field, "line 1");
    EXPECT_TRUE(diagnostics[0].text.ends_with(c.why)) << diagnostics[0].text;
  }
}

TEST(ParseSelfCgroupTest, UsesALastLineWithoutNewlineAndTellsSo) {
  DiagnosticList list;
  const std::vector<CgroupLine> lines = ParseSelfCgroup("0::/kube", list);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].path, "/kube");
  EXPECT_EQ(list.Take().size(), 1u);
}

TEST(ParseSelfCgroupTest, CountsWhatItNoLongerLists) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "bad\n";
  DiagnosticList list;
  EXPECT_TRUE(ParseSelfCgroup(text, list).empty());
  const std::vector<Diagnostic> diagnostics = list.Take();
  ASSERT_EQ(diagnostics.size(), DiagnosticList::kKept + 1);
  EXPECT_EQ(diagnostics.back().text, "and 99992 more of cgroup-line");
}

}  // namespace
}  // namespace plimsoll::container
