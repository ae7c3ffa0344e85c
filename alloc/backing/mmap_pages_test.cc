#include "plimsoll/alloc/backing/mmap_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "plimsoll/alloc/base/sanitizer.h"

namespace plimsoll::alloc {
namespace {

bool IsResident(const void* page) {
  unsigned char state = 0;
  EXPECT_EQ(mincore(const_cast<void*>(page), 4096, &state), 0);
  return (state & 1) != 0;
}

TEST(MmapPagesTest, MapsZeroedMemoryAlignedAsAsked) {
  const struct {
    uint64_t bytes, alignment;
  } kCases[] = {{4096, 4096},
                {12288, 8192},
                {MiB(1).value(), MiB(1).value()},
                {MiB(4).value(), MiB(64).value()}};
  MmapPages pages;
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::Message() << c.bytes << " at " << c.alignment);
    const Mapping m = pages.Map(ByteCount(c.bytes), ByteCount(c.alignment), 0);
    ASSERT_NE(m.base, nullptr) << m.error;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(m.base) % c.alignment, 0u);
    auto* bytes = static_cast<unsigned char*>(m.base);
    EXPECT_EQ(bytes[0] | bytes[c.bytes - 1], 0);
    bytes[0] = bytes[c.bytes - 1] = 1;
    pages.Unmap(m.base, ByteCount(c.bytes));
  }
}

TEST(MmapPagesTest, TakesTheHintWhenThePlaceIsFree) {
  MmapPages pages;
  const uintptr_t hint = RandomArenaHint();
  const Mapping m = pages.Map(MiB(64), MiB(64), hint);
  ASSERT_NE(m.base, nullptr);
  if (!base::kTsan) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(m.base), hint);
  }
  const Mapping second = pages.Map(MiB(64), MiB(64), reinterpret_cast<uintptr_t>(m.base));
  ASSERT_NE(second.base, nullptr);
  EXPECT_NE(second.base, m.base);
  pages.Unmap(m.base, MiB(64));
  pages.Unmap(second.base, MiB(64));
}

TEST(MmapPagesTest, WhatIsReservedReadsAsZeroOnceItIsOpen) {
  MmapPages pages;
  const Mapping m = pages.Reserve(MiB(8), MiB(4), 0);
  ASSERT_NE(m.base, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(m.base) % MiB(4).value(), 0u);
  char* middle = static_cast<char*>(m.base) + MiB(4).value();
  ASSERT_TRUE(pages.Open(middle, MiB(1)));
  EXPECT_EQ(middle[5000]++, 0);
  EXPECT_FALSE(IsResident(m.base));
  EXPECT_FALSE(IsResident(middle - 4096));
  pages.Unmap(m.base, MiB(8));
}

TEST(MmapPagesTest, ReleasedPagesLeaveMemoryAndReadAsZero) {
  MmapPages pages;
  const Mapping m = pages.Map(KiB(64), KiB(64), 0);
  ASSERT_NE(m.base, nullptr);
  std::memset(m.base, 7, KiB(64).value());
  ASSERT_TRUE(IsResident(m.base));
  ASSERT_TRUE(pages.Release(m.base, KiB(64)));
  EXPECT_FALSE(IsResident(m.base));
  EXPECT_EQ(static_cast<char*>(m.base)[5000], 0);
  pages.Unmap(m.base, KiB(64));
}

TEST(MmapPagesTest, ReleaseOfWhatIsNotMappedIsRefusedRatherThanClaimed) {
  MmapPages pages;
  const Mapping m = pages.Map(KiB(64), KiB(64), 0);
  ASSERT_NE(m.base, nullptr);
  pages.Unmap(m.base, KiB(64));
  EXPECT_FALSE(pages.Release(m.base, KiB(64)));
}

TEST(MmapPagesTest, FailureTellsErrnoInTheAnswerAndLeavesTheThreadsOwn) {
  MmapPages pages;
  errno = EBADF;
  const Mapping m = pages.Map(ByteCount(uint64_t{1} << 56), KiB(4), 0);
  EXPECT_EQ(m.base, nullptr);
  EXPECT_EQ(m.error, ENOMEM);
  EXPECT_EQ(errno, EBADF);
  EXPECT_EQ(pages.Map(ByteCount(0), KiB(4), 0).error, EINVAL);
  EXPECT_EQ(pages.Map(ByteCount(~uint64_t{4095}), MiB(64), 0).base, nullptr);
}

TEST(MmapPagesDeathTest, GuardedPagesCannotBeRead) {
  MmapPages pages;
  const Mapping m = pages.Map(KiB(8), KiB(4), 0);
  ASSERT_NE(m.base, nullptr);
  ASSERT_TRUE(pages.Guard(m.base, KiB(4)));
  EXPECT_EQ(static_cast<volatile char*>(m.base)[4096], 0);
  EXPECT_DEATH((void)static_cast<volatile char*>(m.base)[0], "");
}

TEST(RandomArenaHintTest, IsAnArenaBoundaryWithTwentyBitsOfChance) {
  uintptr_t vary = 0;
  const uintptr_t first = RandomArenaHint();
  for (int i = 0; i < 200; ++i) {
    const uintptr_t hint = RandomArenaHint();
    EXPECT_EQ(hint % MiB(64).value(), 0u);
    EXPECT_GE(hint >> 40, 17u);
    EXPECT_LT(hint >> 40, 81u);
    vary |= hint ^ first;
  }
  EXPECT_GE(std::popcount(vary), 20);
}

}  // namespace
}  // namespace plimsoll::alloc
