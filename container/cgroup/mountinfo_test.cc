#include "plimsoll/container/cgroup/mountinfo.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
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
      {"9 1 0:9 / /a\\000b rw - tmpfs t rw", "holds a zero byte; skipped"},
      {"9 1 0:9 / /" + std::string(5000, 'a') + " rw - cgroup2 c rw",
       "is longer than a path can be; skipped"},
      {std::string(70000, '9') + " 1 0:9 / /a rw - tmpfs t rw",
       "is longer than a line can be; skipped"},
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
      {"the later of two where the later is out of sight",
       "24 20 0:9 / /sys rw - sysfs s rw\n31 24 0:1 /old /sys/cg rw - cgroup2 c rw\n"
       "25 24 0:2 / /sys rw - sysfs s rw\n30 25 0:1 / /sys/cg rw - cgroup2 c rw\n",
       {"/sys/cg /"}},
      {"the same in the order of their numbers, which are used again",
       "24 20 0:9 / /sys rw - sysfs s rw\n25 24 0:2 / /sys rw - sysfs s rw\n"
       "30 25 0:1 / /sys/cg rw - cgroup2 c rw\n",
       {"/sys/cg /"}},
      {"all of them listed as lying in the root, as a careless copy has them",
       "20 1 0:1 / / rw - overlay o rw\n24 20 0:9 / /sys rw - sysfs s rw\n"
       "30 20 0:1 / /sys/cg rw - cgroup2 c rw\n",
       {"/sys/cg /"}},
      {"names between a directory and what is below it in the order of bytes",
       "30 20 0:1 / /c rw - cgroup2 c rw\n31 20 0:2 / /c! rw - cgroup2 c rw\n"
       "32 30 0:3 / /c/x rw - cgroup2 c rw\n33 20 0:4 / /c rw - tmpfs t rw\n",
       {"/c! /"}},
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
  DiagnosticList list;
  const std::vector<CgroupMount> mounts = ParseMountinfo(text, list);
  ASSERT_FALSE(mounts.empty());
  EXPECT_EQ(mounts[0].mount_point, "/m");
  EXPECT_EQ(mounts.size(), 4096u) << "more are reported, not searched";
  EXPECT_FALSE(list.Take().empty());
}

// What took 12 to 43 s when each look at a mount walked all that lie above it.
std::string ForgedTower() {
  std::string text, point;
  int id = 100;
  for (int depth = 0; depth < 1000; ++depth) {
    point += "/d";
    for (int i = 0; i < 16; ++i, ++id)
      text += Concat(id + 1, " ", id, " 0:1 / ", point, " rw - tmpfs t rw\n");
  }
  for (int i = 0; i < 4000; ++i)
    text += Concat(20000 + i, " ", id, " 0:1 / ", point, "/c", i, " rw - cgroup2 c rw\n");
  return text;
}

TEST(ParseMountinfoTest, GivesUpOnMountsThatLieInTooManyAndTellsOfEach) {
  DiagnosticList list;
  const std::vector<CgroupMount> mounts = ParseMountinfo(ForgedTower(), list);
  EXPECT_FALSE(mounts.empty());
  const std::vector<Diagnostic> diagnostics = list.Take();
  ASSERT_FALSE(diagnostics.empty());
  EXPECT_NE(diagnostics[0].text.find("lies in so many mounts"), std::string::npos);
  EXPECT_EQ(diagnostics.back().text, Concat("and ", 4000 - mounts.size() - DiagnosticList::kKept,
                                            " more of mountinfo-line"));
}

TEST(ParseMountinfoTest, KeepsNoMoreThanItsShareOfMemory) {
  DiagnosticList list;
  MountinfoParser parser(list);
  parser.Feed("30 20 0:1 / /cg rw - cgroup2 c rw\n");
  const std::string deep(3000, 'd');
  for (int i = 0; i < 20000; ++i) {
    parser.Feed(Concat(100 + i, " 20 0:1 / /", deep));
    parser.Feed(" rw - tmpfs t rw\n");
  }
  EXPECT_EQ(parser.Finish().size(), 1u);
  const std::vector<Diagnostic> diagnostics = list.Take();
  ASSERT_FALSE(diagnostics.empty());
  EXPECT_TRUE(diagnostics[0].text.ends_with("is one mount too many; skipped"));
}

TEST(MountinfoParserTest, FindsTheSameWhereverTheFileIsCut) {
  const std::string text =
      "24 20 0:9 / /sys rw - sysfs s rw\nbad line\n\n30 24 0:1 /a\\040b /sys/cg rw - cgroup2 c rw\n"
      "31 24 0:1 / /sys/x rw - cgroup c rw,cpu";
  DiagnosticList whole_list;
  const std::vector<CgroupMount> whole = ParseMountinfo(text, whole_list);
  const std::vector<Diagnostic> told = whole_list.Take();
  ASSERT_EQ(whole.size(), 2u);
  ASSERT_EQ(told.size(), 2u);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    SCOPED_TRACE(cut);
    DiagnosticList list;
    MountinfoParser parser(list);
    parser.Feed(std::string_view(text).substr(0, cut));
    parser.Feed(std::string_view(text).substr(cut));
    const std::vector<CgroupMount> mounts = parser.Finish();
    ASSERT_EQ(mounts.size(), 2u);
    EXPECT_EQ(mounts[0].root, "/a b");
    EXPECT_EQ(mounts[1].options, whole[1].options);
    EXPECT_EQ(list.Take(), told);
  }
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
