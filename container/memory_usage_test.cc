#include "plimsoll/container/memory_usage.h"

#include <errno.h>

#include "gtest/gtest.h"
#include "plimsoll/container/cgroup/fake_files.h"

namespace plimsoll::container {
namespace {

MemoryLimits At(const char* dir, CgroupVersion version) {
  MemoryLimits limits;
  limits.dir = dir;
  limits.version = version;
  return limits;
}

TEST(MemoryUsageTest, ReadsVersion2ByKindAndWhatIsLeft) {
  FakeFiles files;
  files.Write("/cg/memory.current", "100000000\n");
  files.Write("/cg/memory.stat",
              "anon 60000000\nfile 20000000\nkernel 15000000\nkernel_stack 1000000\n"
              "pagetables 2000000\npercpu 3000\nsock 4000000\nvmalloc 0\nshmem 5000\n"
              "slab_reclaimable 6000000\nslab_unreclaimable 1000000\nslab 7000000\n");
  const std::optional<MemoryUsage> use = ReadMemoryUsage(files, At("/cg", CgroupVersion::kV2));
  ASSERT_TRUE(use.has_value());
  EXPECT_EQ(use->source, "/cg/memory.current");
  EXPECT_EQ(use->current, 100'000'000u);
  EXPECT_EQ(use->Of("anon"), 60'000'000u);
  EXPECT_EQ(use->Of("file"), 20'000'000u);
  EXPECT_EQ(use->Of("sock"), 4'000'000u);
  EXPECT_EQ(use->Of("slab"), 7'000'000u);
  EXPECT_EQ(use->Of("pagetables"), 2'000'000u);
  EXPECT_EQ(use->Of("kernel_other"), 15'000'000u - 1'000'000 - 2'000'000 - 3000 - 7'000'000);
  EXPECT_EQ(use->Of("shmem"), 0u) << "which is within file";
  EXPECT_EQ(use->Rest(), 1'000'000);
}

// Linux before 5.18 has no "kernel", and the statistics may be ahead of the sum.
TEST(MemoryUsageTest, OldKernelsTellLessAndTheRestMayBeNegative) {
  FakeFiles files;
  files.Write("/memory.current", "1000\n");
  files.Write("/memory.stat", "anon 900\nfile 200\nkernel_stack 10\nsock 0\n");
  const std::optional<MemoryUsage> use = ReadMemoryUsage(files, At("/", CgroupVersion::kV2));
  ASSERT_TRUE(use.has_value());
  EXPECT_EQ(use->Of("kernel_stack"), 10u);
  EXPECT_EQ(use->Rest(), -110);
}

TEST(MemoryUsageTest, ReadsVersion1WithThoseBelow) {
  FakeFiles files;
  files.Write("/cg/memory.usage_in_bytes", "1000\n");
  files.Write("/cg/memory.kmem.usage_in_bytes", "50\n");
  files.Write("/cg/memory.kmem.tcp.usage_in_bytes", "7\n");
  files.Write("/cg/memory.stat", "cache 1\nrss 2\ntotal_cache 300\ntotal_rss 600\n");
  const std::optional<MemoryUsage> use = ReadMemoryUsage(files, At("/cg", CgroupVersion::kV1));
  ASSERT_TRUE(use.has_value());
  EXPECT_EQ(use->parts,
            (std::vector<MemoryPart>{{"anon", 600}, {"file", 300}, {"sock", 7}, {"kernel", 50}}));
  EXPECT_EQ(use->Rest(), 43);
}

TEST(MemoryUsageTest, WithoutItsFilesThereIsNone) {
  FakeFiles files;
  EXPECT_FALSE(ReadMemoryUsage(files, MemoryLimits()).has_value());
  EXPECT_FALSE(ReadMemoryUsage(files, At("/cg", CgroupVersion::kV2)).has_value());
  files.Write("/cg/memory.current", "12 apples\n");
  EXPECT_FALSE(ReadMemoryUsage(files, At("/cg", CgroupVersion::kV2)).has_value());
  files.Write("/cg/memory.current", "12\n");
  files.Write("/cg/memory.stat", "anon 5\n");
  files.FailRead("/cg/memory.stat", EIO);
  const std::optional<MemoryUsage> use = ReadMemoryUsage(files, At("/cg", CgroupVersion::kV2));
  ASSERT_TRUE(use.has_value());
  EXPECT_EQ(use->Rest(), 12) << "none of it is explained";
}

}  // namespace
}  // namespace plimsoll::container
