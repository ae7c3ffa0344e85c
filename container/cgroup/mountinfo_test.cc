#include "plimsoll/container/cgroup/mountinfo.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

using std::string_literals::operator""s;

std::vector<std::string> Points(const std::string& text) {
  DiagnosticList list;
  std::vector<std::string> points;
  for (const CgroupMount& mount : ParseMountinfo(text, list)) {
    points.push_back(mount.mount_point + " " + mount.root);
  }
  return points;
}

TEST(ParseMountinfoTest, KeepsCgroupMountsWithTheirRootsAndControllers) {
  DiagnosticList list;
  const std::vector<CgroupMount> mounts = ParseMountinfo(
      "20 1 0:71 / / rw - overlay overlay rw\n"
      "25 20 0:4 net:[4026532281] /run/netns/ext rw shared:41 - nsfs nsfs rw\n"
      "31 20 0:31 /my\\040jobs /cg\\134v1 ro shared:9 master:1 - cgroup none rw,cpu,cpuacct\n"
      "32 20 0:32 /../.. /cg2 ro - cgroup2 cgroup rw,nsdelegate\n",
      list);
  EXPECT_TRUE(list.Take().empty());
  ASSERT_EQ(mounts.size(), 2u);
  EXPECT_FALSE(mounts[0].v2);
  EXPECT_EQ(mounts[0].root, "/my jobs");
  EXPECT_EQ(mounts[0].mount_point, "/cg\\v1");
  EXPECT_TRUE(mounts[0].HasController("cpu"));
  EXPECT_FALSE(mounts[0].HasController("cpuset"));
  EXPECT_TRUE(mounts[1].v2);
  EXPECT_EQ(mounts[1].root, "/../..");
}

TEST(ParseMountinfoTest, SkipsABadLineAndSaysWhichAndWhy) {
  const struct {
    std::string line, why;
  } kCases[] = {
      {"", "has no \" - \"; skipped"},
      {"1000 1", "has no \" - \"; skipped"},
      {"x 1 0:9 / /a rw - cgroup2 c rw", "does not start with two mount numbers; skipped"},
      {"9 1 0:9 / - cgroup2 c rw", "has fewer than six fields before \" - \"; skipped"},
      {"9 1 0:9 / a rw - cgroup2 c rw", "has fewer than six fields before \" - \"; skipped"},
      {"9 1 0:9 / /a - cgroup2 c rw", "has fewer than six fields before \" - \"; skipped"},
      {"9 1 0:9 / /a rw - cgroup2", "has fewer than three fields after \" - \"; skipped"},
      {"9 1 0:9 / /a rw - cgroup2 c", "has fewer than three fields after \" - \"; skipped"},
      {"9 1 0:9 x:[1] /a rw - cgroup2 c rw", "is a cgroup whose root is not a path; skipped"},
      {"9 1 0:9 / /a\\000b rw - cgroup2 c rw", "holds a zero byte; skipped"},
      {"9 1 0:9 / /" + std::string(5000, 'a') + " rw - cgroup2 c rw",
       "is longer than a path can be; skipped"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.line.substr(0, 60));
    DiagnosticList list;
    const std::vector<CgroupMount> mounts =
        ParseMountinfo(c.line + "\n31 20 0:31 / /good rw - cgroup2 c rw\n", list);
    ASSERT_EQ(mounts.size(), 1u);
    EXPECT_EQ(mounts[0].mount_point, "/good");
    const std::vector<Diagnostic> diagnostics = list.Take();
    ASSERT_EQ(diagnostics.size(), 1u);
    EXPECT_EQ(diagnostics[0].code, "mountinfo-line");
    EXPECT_EQ(diagnostics[0].field, "line 1");
    EXPECT_TRUE(diagnostics[0].text.ends_with(c.why)) << diagnostics[0].text;
  }
}

TEST(ParseMountinfoTest, LeavesOutWhatNoPathCanReach) {
  const struct {
    const char* what;
    const char* text;
    std::vector<std::string> points;
  } kCases[] = {
      {"the later of two on one point",
       "30 20 0:1 /a /cg rw - cgroup2 c rw\n31 20 0:2 /b /cg rw - cgroup2 c rw\n",
       {"/cg /b"}},
      {"a tmpfs on top of it",
       "30 20 0:1 /a /cg rw - cgroup2 c rw\n31 30 0:2 / /cg rw - tmpfs t rw\n",
       {}},
      {"an earlier line that is mounted on a later one is on top",
       "31 30 0:2 /b /cg rw - cgroup2 c rw\n30 20 0:1 /a /cg rw - cgroup2 c rw\n",
       {"/cg /b"}},
      {"a later mount on a directory above",
       "24 20 0:9 / /sys rw - sysfs s rw\n30 24 0:1 / /sys/cg rw - cgroup2 c rw\n"
       "31 24 0:2 / /sys rw - tmpfs t rw\n",
       {}},
      {"the same on top of another that covers already",
       "24 20 0:9 / /sys rw - sysfs s rw\n30 24 0:1 / /sys/cg rw - cgroup2 c rw\n"
       "31 24 0:2 / /sys rw - tmpfs t rw\n32 31 0:3 / /sys rw - tmpfs t rw\n",
       {}},
      {"mounted in what covers it",
       "24 20 0:9 / /sys rw - sysfs s rw\n31 24 0:2 / /sys rw - tmpfs t rw\n"
       "32 31 0:1 / /sys/cg rw - cgroup2 c rw\n",
       {"/sys/cg /"}},
      {"a root that is listed last, with what was moved below it",
       "22 27 0:9 / /sys rw - sysfs s rw\n30 22 0:1 / /sys/cg rw - cgroup2 c rw\n"
       "27 1 8:1 / / rw - ext4 e rw\n",
       {"/sys/cg /"}},
      {"a neighbour whose name starts alike",
       "30 20 0:1 / /cg rw - cgroup2 c rw\n31 20 0:2 / /c rw - tmpfs t rw\n"
       "32 20 0:2 / /cg-more rw - tmpfs t rw\n",
       {"/cg /"}},
      {"a mount inside it",
       "30 20 0:1 / /cg rw - cgroup2 c rw\n31 30 0:2 / /cg/x rw - tmpfs t rw\n",
       {"/cg /"}},
      {"mounts that are their own parents",
       "30 31 0:1 / /cg rw - cgroup2 c rw\n31 30 0:2 / /cg/x rw - cgroup2 c rw\n"
       "32 32 0:3 / /o rw - cgroup2 c rw\n",
       {"/cg /", "/cg/x /", "/o /"}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    EXPECT_EQ(Points(c.text), c.points);
  }
}

TEST(ParseMountinfoTest, FindsOneMountAmongAHundredThousandLinesAtOnce) {
  std::string text;
  for (int i = 0; i < 50000; ++i) text += Concat(100 + i, " 20 0:1 / /m/", i, " rw - tmpfs t rw\n");
  text += "30 20 0:1 / /m rw - cgroup2 c rw\n";
  // A stack of mounts on one point, and cgroups deep below it: the worst for the search of covers.
  for (int i = 0; i < 40000; ++i)
    text += Concat(60000 + i, " ", 59999 + i, " 0:1 / /x rw - tmpfs t rw\n");
  for (int i = 0; i < 10000; ++i)
    text += Concat(200000 + i, " 1 0:1 / /x/y", i, " rw - cgroup2 c rw\n");
  const auto start = std::chrono::steady_clock::now();
  DiagnosticList list;
  const std::vector<CgroupMount> mounts = ParseMountinfo(text, list);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  ASSERT_FALSE(mounts.empty());
  EXPECT_EQ(mounts[0].mount_point, "/m");
  EXPECT_EQ(mounts.size(), 4096u) << "more are reported, not searched";
  EXPECT_FALSE(list.Take().empty());
}

TEST(UnescapeOctalTest, TurnsThreeOctalDigitsIntoAByteAndKeepsTheRest) {
  const struct {
    std::string text, unescaped;
  } kCases[] = {{"/a\\040b\\011\\012\\134", "/a b\t\n\\"},
                {"\\377", "\xff"},
                {"\\000", "\0"s},
                {"\\400", "\\400"},
                {"\\08", "\\08"},
                {"\\", "\\"},
                {"\\04", "\\04"},
                {"\\\\040", "\\ "}};
  for (const auto& c : kCases) EXPECT_EQ(UnescapeOctal(c.text), c.unescaped) << c.text;
}

}  // namespace
}  // namespace plimsoll::container
