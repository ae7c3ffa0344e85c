#include "plimsoll/container/limits.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "plimsoll/container/cgroup/fake_files.h"
#include "plimsoll/container/go_env.h"

namespace plimsoll::container {
namespace {

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override {
    files_.Write("/proc/self/cgroup", "0::/app\n");
    files_.Write("/proc/self/mountinfo", "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n");
    files_.Write("/cg/app/cpu.max", "350000 100000\n");
    files_.Write("/cg/app/memory.max", "1073741824\n");
    files_.Write("/cg/app/memory.high", "max\n");
  }

  Limits Run(DetectOptions options = {}) {
    options.files = &files_;
    if (!options.affinity.has_value()) options.affinity = 8;
    options.mem_total = uint64_t{16} << 30;
    options.page_size = 4096;
    options.environment = [this](const char* name) -> std::optional<std::string> {
      const auto found = environment_.find(name);
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    };
    return Detect(options);
  }

  FakeFiles files_;
  std::map<std::string, std::string> environment_;
};

TEST_F(LimitsTest, AnExplicitValueWinsOverTheEnvironmentOverTheCgroupOverTheAffinityMask) {
  Limits limits = Run();
  EXPECT_EQ(limits.procs.value, 4);
  EXPECT_EQ(limits.procs.source, Source::kCgroup);
  EXPECT_EQ(limits.procs.reason, "quota 3.5 CPUs rounded up, at least 2; affinity mask of 8 CPUs");
  EXPECT_EQ(limits.mem_limit.value, 1073741824u);
  EXPECT_EQ(limits.mem_limit.source, Source::kCgroup);

  environment_ = {{"GOMAXPROCS", "11"}, {"GOMEMLIMIT", "400MiB"}};
  limits = Run();
  EXPECT_EQ(limits.procs.value, 11) << "more than the affinity mask: whoever sets it knows";
  EXPECT_EQ(limits.procs.source, Source::kEnvironment);
  EXPECT_EQ(limits.mem_limit.value, 419430400u);
  EXPECT_EQ(limits.memory.max->value, 1073741824u) << "the fact stays what it is";

  limits = Run({.procs = 3, .mem_limit = 5000});
  EXPECT_EQ(limits.procs.value, 3);
  EXPECT_EQ(limits.procs.source, Source::kExplicit);
  EXPECT_EQ(limits.mem_limit.value, 5000u);

  environment_.clear();
  files_.Write("/cg/app/cpu.max", "max 100000\n");
  limits = Run({.affinity = 1});
  EXPECT_EQ(limits.procs.value, 1);
  EXPECT_EQ(limits.procs.source, Source::kAffinity);
  EXPECT_EQ(limits.procs.reason, "no quota; affinity mask of 1 CPU");
}

TEST_F(LimitsTest, ReportsNonsenseInTheEnvironmentAndGoesOn) {
  for (const char* text : {"abc", "0", "-1", "1.5", " 4", "4 ", "99999999999"}) {
    SCOPED_TRACE(text);
    environment_ = {{"GOMAXPROCS", text}};
    const Limits limits = Run();
    EXPECT_EQ(limits.procs.value, 4);
    ASSERT_EQ(limits.diagnostics.size(), 1u);
    EXPECT_EQ(limits.diagnostics[0].code, "environment");
    EXPECT_EQ(limits.diagnostics[0].text,
              "GOMAXPROCS: \"" + std::string(text) + "\" is not a positive number; ignored");
  }
  for (const char* text : {"much", "-1", "1.5GiB", "5KB", "MiB", "9999999999TiB"}) {
    SCOPED_TRACE(text);
    environment_ = {{"GOMEMLIMIT", text}};
    const Limits limits = Run();
    EXPECT_EQ(limits.mem_limit.source, Source::kCgroup);
    ASSERT_EQ(limits.diagnostics.size(), 1u);
    EXPECT_EQ(limits.diagnostics[0].file, "GOMEMLIMIT");
  }
}

TEST_F(LimitsTest, TakesAnEmptyVariableForNone) {
  environment_ = {{"GOMAXPROCS", ""}, {"GOMEMLIMIT", ""}};
  const Limits limits = Run();
  EXPECT_EQ(limits.procs.source, Source::kCgroup);
  EXPECT_EQ(limits.mem_limit.source, Source::kCgroup);
  EXPECT_TRUE(limits.diagnostics.empty());
}

TEST_F(LimitsTest, ReportsNonsenseInTheOptions) {
  const Limits limits = Run({.procs = 0, .mem_limit = -5});
  EXPECT_EQ(limits.procs.value, 4);
  EXPECT_EQ(limits.mem_limit.value, 1073741824u);
  EXPECT_EQ(limits.diagnostics.size(), 2u);
}

TEST_F(LimitsTest, OffMeansNoLimit) {
  environment_ = {{"GOMEMLIMIT", "off"}};
  EXPECT_EQ(Run().mem_limit.value, std::nullopt);
  EXPECT_EQ(Run().mem_limit.source, Source::kEnvironment);
  EXPECT_EQ(Run({.mem_limit = kNoMemLimit}).mem_limit.source, Source::kExplicit);
}

TEST_F(LimitsTest, AHeapStaysBelowTheSmallerOfMaxAndHigh) {
  files_.Write("/cg/app/memory.high", "805306368\n");
  const Limits limits = Run();
  EXPECT_EQ(limits.mem_limit.value, 805306368u);
  EXPECT_EQ(limits.mem_limit.reason, "/cg/app/memory.high");
  EXPECT_EQ(limits.heap_90pct, 966367641u) << "of memory.max, for comparison";
}

TEST_F(LimitsTest, ReadsAgainWhenTheProcessIsMovedMeanwhile) {
  // It is moved after /proc/self/cgroup was read, and its old cgroup is removed.
  bool moved = false;
  files_.Write("/cg/new/cpu.max", "600000 100000\n");
  files_.Write("/cg/new/memory.max", "max\n");
  files_.set_on_open([&](const std::string& path) {
    if (moved || !path.starts_with("/cg/app/")) return;
    moved = true;
    files_.RemoveBelow("/cg/app");
    files_.Write("/proc/self/cgroup", "0::/new\n");
  });
  const Limits limits = Run();
  EXPECT_TRUE(moved);
  EXPECT_EQ(limits.cpu.dir, "/cg/new");
  EXPECT_EQ(limits.procs.value, 6);
  EXPECT_TRUE(limits.diagnostics.empty());
}

TEST_F(LimitsTest, EndsWhenTheProcessIsMovedAgainAndAgain) {
  int moves = 0;
  files_.set_on_open([&](const std::string& path) {
    if (path == "/proc/self/cgroup") {
      files_.Write("/proc/self/cgroup", "0::/gone-" + std::to_string(++moves) + "\n");
    }
  });
  const Limits limits = Run();
  EXPECT_LE(moves, 6);
  EXPECT_FALSE(limits.diagnostics.empty());
}

TEST_F(LimitsTest, SaysThatAFileOfProcCannotBeRead) {
  for (const char* path : {"/proc/self/cgroup", "/proc/self/mountinfo"}) {
    for (const int error : {EACCES, EIO}) {
      SCOPED_TRACE(path);
      SetUp();
      files_.FailRead(path, error);
      const Limits limits = Run();
      EXPECT_EQ(limits.procs.value, 8);
      ASSERT_FALSE(limits.diagnostics.empty());
      EXPECT_EQ(limits.diagnostics[0].code, "not-exposed");
      EXPECT_EQ(limits.diagnostics[0].file, path);
      files_.FailRead(path, 0);
    }
  }
}

TEST_F(LimitsTest, FindsItsLimitsInAMountinfoOfAHundredThousandLines) {
  std::string text;
  for (int i = 0; i < 100000; ++i) {
    text += std::to_string(100 + i) + " 20 0:1 / /m/" + std::to_string(i) + " rw - tmpfs t rw\n";
  }
  files_.Write("/proc/self/mountinfo", text + "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n");
  EXPECT_EQ(Run().procs.value, 4);
}

TEST_F(LimitsTest, FindsItsLimitsBehindFortyMegabytesOfMounts) {
  const std::string options(4000, 'l');
  std::string text;
  for (int i = 0; i < 10000; ++i) {
    text +=
        std::to_string(100 + i) + " 20 0:1 / /m/" + std::to_string(i) + " rw - overlay o lower=";
    text += options + "\n";
  }
  files_.Write("/proc/self/mountinfo", text + "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n");
  const Limits limits = Run();
  EXPECT_EQ(limits.procs.value, 4);
  EXPECT_TRUE(limits.diagnostics.empty());
}

TEST_F(LimitsTest, AMountinfoOfOneEndlessLineIsToldAndNotKept) {
  std::string text = "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n";
  text.resize(size_t{33} << 20, 'x');
  files_.Write("/proc/self/mountinfo", text);
  const Limits limits = Run();
  EXPECT_EQ(limits.procs.value, 4);
  ASSERT_EQ(limits.diagnostics.size(), 1u);
  EXPECT_EQ(limits.diagnostics[0].code, "mountinfo-line");
  EXPECT_TRUE(limits.diagnostics[0].text.ends_with("is longer than a line can be; skipped"));
}

TEST_F(LimitsTest, AMountinfoThatFailsHalfwayIsNotUsedByHalves) {
  files_.Write("/proc/self/mountinfo", "30 23 0:28 / /cg ro - cgroup2 cgroup rw\n");
  files_.set_on_open([&](const std::string& path) {
    files_.FailRead("/proc/self/mountinfo", path == "/proc/self/mountinfo" ? EIO : 0);
  });
  const Limits limits = Run();
  EXPECT_FALSE(limits.cpu.quota.has_value());
  ASSERT_FALSE(limits.diagnostics.empty());
  EXPECT_EQ(limits.diagnostics[0].file, "/proc/self/mountinfo");
}

TEST_F(LimitsTest, SaysThatNoCgroupIsNamed) {
  for (const char* text : {"", "garbage\n"}) {
    files_.Write("/proc/self/cgroup", text);
    const Limits limits = Run();
    EXPECT_EQ(limits.procs.value, 8);
    ASSERT_FALSE(limits.diagnostics.empty());
    EXPECT_EQ(limits.diagnostics.back().code, "not-exposed") << text;
  }
}

TEST_F(LimitsTest, TakesTheMachinesMemoryFromMeminfoBelowAnotherRoot) {
  files_.Write("/proc/meminfo", "MemTotal:        1048576 kB\nMemFree: 5 kB\n");
  DetectOptions options;
  options.files = &files_;
  options.affinity = 8;
  const Limits limits = Detect(options);
  EXPECT_EQ(limits.mem_total, uint64_t{1} << 30);
  EXPECT_FALSE(limits.memory.max.has_value()) << "not below the machine's memory";
  for (const char* text :
       {"", "MemTotal: x kB\n", "MemTotal: 5\n", "MemTotal: 99999999999999999999 kB\n"}) {
    files_.Write("/proc/meminfo", text);
    EXPECT_EQ(Detect(options).mem_total, 0u) << text;
    EXPECT_TRUE(Detect(options).memory.max.has_value()) << "unknown memory lifts no limit";
  }
}

TEST(DetectTest, SucceedsOnThisMachineFromSeveralThreadsAtOnce) {
  std::vector<Limits> found(4);
  std::vector<std::thread> threads;
  for (Limits& limits : found) threads.emplace_back([&limits] { limits = Detect(); });
  for (std::thread& thread : threads) thread.join();
  for (const Limits& limits : found) {
    EXPECT_GE(limits.procs.value, 1);
    EXPECT_GT(limits.mem_total, 0u);
    EXPECT_TRUE(limits.SameLimits(found[0]));
  }
}

}  // namespace
}  // namespace plimsoll::container
