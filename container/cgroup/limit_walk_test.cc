#include "plimsoll/container/cgroup/limit_walk.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/fake_files.h"

namespace plimsoll::container {
namespace {

class LimitWalkTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const std::string dir : {"/cg", "/cg/pod", "/cg/pod/c"}) {
      files_.Write(dir + "/cpu.max", "max 100000\n");
      files_.Write(dir + "/memory.max", "max\n");
      files_.Write(dir + "/memory.high", "max\n");
      files_.Write(dir + "/pids.max", "max\n");
    }
    files_.Write("/cg/pod/cpu.max", "300000 100000\n");
    files_.Write("/cg/pod/c/cpu.max", "150000 100000\n");
    files_.Write("/cg/pod/c/memory.max", "134217728\n");
  }

  WalkResult Run(const std::string& path = "/pod/c") {
    DiagnosticList list;
    const std::vector<CgroupLine> lines = {{.v2 = true, .controllers = {}, .path = path}};
    const std::vector<CgroupMount> mounts = {
        {.v2 = true, .root = "/", .mount_point = "/cg", .options = {"rw"}}};
    WalkResult result = WalkLimits(files_, lines, mounts, {.mem_total = uint64_t{16} << 30}, list);
    diagnostics_ = list.Take();
    return result;
  }

  FakeFiles files_;
  std::vector<Diagnostic> diagnostics_;
};

TEST_F(LimitWalkTest, ReportsAFileThatCannotBeReadAndUsesTheOtherLevels) {
  for (const int error : {EACCES, EIO, ENODEV, ELOOP, EISDIR}) {
    SCOPED_TRACE(error);
    files_.FailRead("/cg/pod/c/cpu.max", error);
    const WalkResult got = Run();
    EXPECT_EQ(got.cpu.quota->at, "/cg/pod");
    EXPECT_EQ(got.memory.max->value, 134217728u);
    ASSERT_EQ(diagnostics_.size(), 1u);
    EXPECT_EQ(diagnostics_[0].code, "bad-value");
    EXPECT_EQ(diagnostics_[0].file, "/cg/pod/c/cpu.max");
    EXPECT_EQ(got.own_directory_vanished, error == ENODEV);
  }
}

TEST_F(LimitWalkTest, ALiveCgroupMayBeNamedAsIfItWereDeleted) {
  files_.Write("/cg/pod/c (deleted)/cpu.max", "250000 100000\n");
  const WalkResult got = Run("/pod/c (deleted)");
  EXPECT_EQ(got.cpu.quota->value, (Fraction{5, 2}));
  EXPECT_EQ(got.cpu.dir, "/cg/pod/c (deleted)");
  EXPECT_TRUE(diagnostics_.empty());
}

TEST_F(LimitWalkTest, ADeletedCgroupLeavesTheLimitsAbove) {
  const WalkResult got = Run("/pod/gone (deleted)");
  EXPECT_EQ(got.cpu.quota->at, "/cg/pod");
  EXPECT_EQ(got.cpu.dir, "/cg/pod/gone");
  ASSERT_EQ(diagnostics_.size(), 1u);
  EXPECT_EQ(diagnostics_[0].code, "deleted");
  EXPECT_EQ(diagnostics_[0].field, "cpu,memory,pids");
}

TEST_F(LimitWalkTest, EachControllerThatIsNotExposedIsTold) {
  DiagnosticList list;
  const std::vector<CgroupLine> lines = {{.v2 = false, .controllers = {"pids"}, .path = "/p"},
                                         {.v2 = false, .controllers = {"memory"}, .path = "/m"},
                                         {.v2 = true, .controllers = {}, .path = "/pod/c"}};
  const std::vector<CgroupMount> mounts = {
      {.v2 = true, .root = "/", .mount_point = "/cg", .options = {"rw"}}};
  WalkLimits(files_, lines, mounts, {}, list);
  const std::vector<Diagnostic> diagnostics = list.Take();
  ASSERT_EQ(diagnostics.size(), 2u);
  EXPECT_EQ(
      diagnostics[0].text,
      "/proc/self/cgroup: memory \"/m\" is not below any mounted cgroup directory; its limits "
      "cannot be seen");
  EXPECT_EQ(diagnostics[1].code, "not-exposed");
  EXPECT_EQ(diagnostics[1].field, "pids");
}

TEST_F(LimitWalkTest, ACpusetThatIsNoListIsNotShownAsOne) {
  files_.Write("/cg/pod/c/cpuset.cpus.effective", "0-3 (tightest)\n");
  EXPECT_FALSE(Run().cpuset.cpus.has_value());
  files_.Write("/cg/pod/cpuset.cpus.effective", "0-3,8\n");
  EXPECT_EQ(Run().cpuset.cpus->value, "0-3,8");
  EXPECT_TRUE(diagnostics_.empty()) << "the affinity mask heeds it";
}

TEST_F(LimitWalkTest, ReportsAFileThatCannotBeOpened) {
  files_.FailOpen("/cg/pod/c/memory.max", EACCES);
  const WalkResult got = Run();
  EXPECT_FALSE(got.memory.max.has_value());
  ASSERT_EQ(diagnostics_.size(), 1u);
  EXPECT_EQ(diagnostics_[0].text,
            "/cg/pod/c/memory.max: cannot be read: Permission denied; its limit is unknown");
}

TEST_F(LimitWalkTest, TakesAMissingFileForNoLimitInSilence) {
  files_.Remove("/cg/pod/c/cpu.max");
  EXPECT_EQ(Run().cpu.quota->at, "/cg/pod");
  EXPECT_TRUE(diagnostics_.empty());
}

TEST_F(LimitWalkTest, ReportsAValueThatIsTooLong) {
  files_.Write("/cg/pod/c/cpu.max", "150000 " + std::string(5000, '1') + "\n");
  EXPECT_EQ(Run().cpu.quota->at, "/cg/pod");
  ASSERT_EQ(diagnostics_.size(), 1u);
  EXPECT_EQ(diagnostics_[0].code, "bad-value");
}

TEST_F(LimitWalkTest, SaysThatItsOwnDirectoryIsNotThere) {
  const WalkResult got = Run("/pod/gone");
  EXPECT_EQ(got.cpu.quota->at, "/cg/pod");
  EXPECT_TRUE(got.own_directory_vanished);
  ASSERT_FALSE(diagnostics_.empty());
  EXPECT_EQ(diagnostics_[0].code, "own-path-unknown");
  EXPECT_EQ(diagnostics_[0].file, "/cg/pod/gone");
}

TEST_F(LimitWalkTest, ReadsTheOtherFactsOfItsOwnLevel) {
  files_.Write("/cg/pod/c/cpu.max.burst", "20000\n");
  files_.Write("/cg/pod/c/cpu.weight", "79\n");
  files_.Write("/cg/pod/memory.swap.max", "0\n");
  files_.Write("/cg/pod/cpuset.cpus.effective", "0-3,8\n");
  const WalkResult got = Run();
  EXPECT_EQ(got.cpu.burst_us->value, 20000u);
  EXPECT_EQ(got.cpu.weight->value, 79u);
  EXPECT_EQ(got.memory.swap_max->value, 0u);
  EXPECT_EQ(got.memory.swap_max->at, "/cg/pod");
  EXPECT_EQ(got.cpuset.cpus->value, "0-3,8");
  EXPECT_EQ(got.cpu.period_us->value, 100000);
  EXPECT_TRUE(diagnostics_.empty());
}

TEST_F(LimitWalkTest, MarksTheTightestOfEachKindInTheTree) {
  const WalkResult got = Run();
  ASSERT_EQ(got.trees.size(), 1u);
  EXPECT_EQ(got.trees[0].controllers, "cpu,memory,pids,cpuset");
  ASSERT_EQ(got.trees[0].levels.size(), 3u);
  std::string marked;
  for (const Level& level : got.trees[0].levels) {
    for (const Reading& reading : level.readings) {
      if (reading.tightest) marked += level.dir + "/" + reading.name + " ";
    }
  }
  EXPECT_EQ(marked, "/cg/pod/c/cpu.max /cg/pod/c/memory.max ");
}

TEST_F(LimitWalkTest, WalksADeepPathWithoutComplaint) {
  std::string path;
  while (path.size() < 4000) path += "/d";
  files_.Write("/cg/d/cpu.max", "50000 100000\n");
  const WalkResult got = Run(path);
  EXPECT_EQ(got.cpu.quota->at, "/cg/d");
}

TEST(MemoryLimitsTest, TightestIsTheSmallerOfMaxAndHigh) {
  MemoryLimits limits;
  EXPECT_FALSE(limits.Tightest().has_value());
  limits.high = Found<uint64_t>{.value = 5, .at = "/h", .file = "/h/memory.high"};
  EXPECT_EQ(limits.Tightest()->at, "/h");
  limits.max = Found<uint64_t>{.value = 4, .at = "/m", .file = "/m/memory.max"};
  EXPECT_EQ(limits.Tightest()->at, "/m");
  limits.max->value = 6;
  EXPECT_EQ(limits.Tightest()->at, "/h");
}

}  // namespace
}  // namespace plimsoll::container
