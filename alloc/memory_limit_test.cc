#include "plimsoll/alloc/memory_limit.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::alloc {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// A tree of files that stands for the system's.
class MemoryLimitTest : public testing::Test {
 protected:
  MemoryLimitTest()
      : root_(testing::TempDir() + "/memory_limit_test." +
              testing::UnitTest::GetInstance()->current_test_info()->name()) {}
  ~MemoryLimitTest() override { std::filesystem::remove_all(root_); }

  void Clear() { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  uint64_t Read(const char* gomemlimit = nullptr) {
    MemoryLimit limit(root_.c_str());
    limit.Find(gomemlimit);
    return limit.Read();
  }

  const std::string root_;
};

constexpr char kV2[] = "25 1 0:1 / /cg rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(MemoryLimitTest, TheLeastOfTheLevelsThatCanBeSeenHolds) {
  const std::string kNoLimit = "9223372036854771712";
  const struct {
    const char* what;
    std::string cgroup, mountinfo;
    std::vector<std::pair<std::string, std::string>> files;
    uint64_t mib;  // 0: none
  } kCases[] = {
      {"nothing is there", "", "", {}, 0},
      {"v2, no limit", "0::/a\n", kV2, {{"/cg/a/memory.max", "max\n"}}, 0},
      {"v2, its own", "0::/a\n", kV2, {{"/cg/a/memory.max", "104857600\n"}}, 100},
      {"v2, high is less",
       "0::/a\n",
       kV2,
       {{"/cg/a/memory.max", "104857600\n"}, {"/cg/a/memory.high", "94371840\n"}},
       90},
      {"v2, two levels above is less",
       "0::/a/b/c\n",
       kV2,
       {{"/cg/a/b/c/memory.max", "104857600\n"}, {"/cg/a/memory.max", "52428800\n"}},
       50},
      {"v2, at the mount point, in a namespace",
       "0::/\n",
       kV2,
       {{"/cg/memory.max", "104857600\n"}},
       100},
      {"v2, outside of its namespace", "0::/../b\n", kV2, {{"/cg/memory.max", "104857600\n"}}, 100},
      {"v2, what is mounted begins below",
       "0::/pod/a\n",
       "25 1 0:1 /pod /cg rw - cgroup2 cgroup2 rw\n",
       {{"/cg/a/memory.max", "104857600\n"}, {"/cg/memory.max", "max\n"}},
       100},
      {"v2, a name that begins alike is another",
       "0::/pods\n",
       "25 1 0:1 /pod /cg rw - cgroup2 cgroup2 rw\n",
       {{"/cg/memory.max", "104857600\n"}, {"/cgs/memory.max", "1\n"}},
       100},
      {"v1",
       "9:name=systemd:/\n4:cpu,memory:/a\n0::/\n",
       "24 1 0:1 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
       "25 1 0:2 / /cg/memory rw - cgroup cgroup rw,memory\n",
       {{"/cg/memory/a/memory.stat", "cache 0\nhierarchical_memory_limit 104857600\nrss 1\n"}},
       100},
      {"v1, no limit",
       "4:memory:/a\n",
       "25 1 0:2 / /cg/memory rw - cgroup cgroup rw,memory\n",
       {{"/cg/memory/a/memory.stat", "hierarchical_memory_limit " + kNoLimit + "\n"}},
       0},
      {"what is no number", "0::/a\n", kV2, {{"/cg/a/memory.max", "12x\n"}}, 0},
      {"a line without an end", "0::/a", kV2, {{"/cg/a/memory.max", "104857600"}}, 100},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    Clear();
    Write("/proc/self/cgroup", c.cgroup);
    Write("/proc/self/mountinfo", c.mountinfo);
    for (const auto& [path, text] : c.files) Write(path, text);
    EXPECT_EQ(Read(), c.mib == 0 ? MemoryLimit::kNone : c.mib * kMiB);
  }
}

TEST_F(MemoryLimitTest, AResizeIsSeenAtTheNextRead) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kV2);
  Write("/cg/a/memory.max", "104857600\n");
  MemoryLimit limit(root_.c_str());
  limit.Find(nullptr);
  EXPECT_EQ(limit.Read(), 100 * kMiB);
  Write("/cg/a/memory.max", "52428800\n");
  EXPECT_EQ(limit.Read(), 50 * kMiB);
}

TEST_F(MemoryLimitTest, GoMemLimitComesBeforeTheCgroup) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/proc/self/mountinfo", kV2);
  Write("/cg/a/memory.max", "104857600\n");
  EXPECT_EQ(Read("40MiB"), 40 * kMiB);
  EXPECT_EQ(Read("off"), MemoryLimit::kNone);
  EXPECT_EQ(Read(""), 100 * kMiB);
  testing::internal::CaptureStderr();
  EXPECT_EQ(Read("40 MB"), 100 * kMiB);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "plimsoll: GOMEMLIMIT=\"40 MB\" is not a number of bytes, KiB, MiB, GiB or TiB, nor "
            "\"off\"; it is left out\n");
}

TEST_F(MemoryLimitTest, TheHeapHasWhatTheRestOfTheProcessLeaves) {
  MemoryLimit limit(root_.c_str());
  limit.Find("256MiB");
  Write("/proc/self/statm", "100000 25600 2560 1 0 9000 0\n");  // 90 MiB are anonymous
  EXPECT_EQ(limit.HeapShare(/*held=*/60 * kMiB), (256 - 16 - 30) * kMiB);
  EXPECT_EQ(limit.HeapShare(/*held=*/120 * kMiB), (256 - 16) * kMiB);
  limit.Find("16MiB");
  EXPECT_EQ(limit.HeapShare(/*held=*/0), 1u);
  limit.Find("off");
  EXPECT_EQ(limit.HeapShare(/*held=*/0), MemoryLimit::kNone);
}

TEST(ParseGoMemLimitTest, ReadsWhatGoReads) {
  const struct {
    const char* text;
    uint64_t bytes;
    bool ok = true;
  } kCases[] = {
      {"0", 0},
      {"1024", 1024},
      {"7B", 7},
      {"3KiB", 3 << 10},
      {"2GiB", uint64_t{2} << 30},
      {"1TiB", uint64_t{1} << 40},
      {"9223372036854775807", INT64_MAX},
      {"9223372036854775808", 0, false},
      {"8388608TiB", 0, false},
      {"18446744073709551616", 0, false},
      {"MiB", 0, false},
      {"-1", 0, false},
      {"1.5GiB", 0, false},
      {"1GB", 0, false},
  };
  for (const auto& c : kCases) {
    uint64_t bytes = 0;
    EXPECT_EQ(ParseGoMemLimit(c.text, &bytes), c.ok) << c.text;
    EXPECT_EQ(bytes, c.bytes) << c.text;
  }
}

}  // namespace
}  // namespace plimsoll::alloc
