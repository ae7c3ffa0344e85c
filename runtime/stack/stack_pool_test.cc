#include "plimsoll/runtime/stack/stack_pool.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::stack {
namespace {

StackPool& Pool() {
  static StackPool pool;  // slabs are never unmapped: one pool for all tests
  return pool;
}

TEST(StackPoolTest, HandsOutRangesThatDoNotOverlapAndHoldWhatWasAsked) {
  std::vector<Stack> stacks;
  for (const ByteCount size : {KiB(1), KiB(64), KiB(256), MiB(1), MiB(8), KiB(257)}) {
    for (int i = 0; i < 20; ++i) {
      Stack s;
      ASSERT_TRUE(Pool().Allocate(size, &s)) << size.value();
      // The default's size names its slot, guard included; every other size is a promise.
      const uint64_t least = size <= kDefaultStack ? size.value() - kGuardBytes : size.value();
      if (size > KiB(16)) {
        EXPECT_GE(s.hi - s.lo, least);
      }
      EXPECT_EQ(s.hi % 16, 0u);
      memset(reinterpret_cast<void*>(s.hi - 64), 0xab, 64);
      stacks.push_back(s);
    }
  }
  std::set<std::pair<uintptr_t, uintptr_t>> ranges;
  for (const Stack& s : stacks) ranges.insert({s.lo, s.hi});
  ASSERT_EQ(ranges.size(), stacks.size());
  uintptr_t end = 0;
  for (const auto& [lo, hi] : ranges) {
    EXPECT_GE(lo, end + kGuardBytes);
    end = hi;
  }
  for (const Stack& s : stacks) Pool().Free(s);
}

TEST(StackPoolTest, GivesAFreedStackOutAgainFirst) {
  Stack a, b;
  ASSERT_TRUE(Pool().Allocate(KiB(256), &a));
  Pool().Free(a);
  ASSERT_TRUE(Pool().Allocate(KiB(256), &b));
  EXPECT_EQ(a.hi, b.hi);
  EXPECT_EQ(a.lo, b.lo);
  Pool().Free(b);
}

TEST(StackPoolTest, RefusesASizeBeyondAGibibyte) {
  Stack s;
  for (const ByteCount size : {GiB(1), GiB(1ull << 33), ByteCount(~uint64_t{0})}) {
    errno = 0;
    EXPECT_FALSE(Pool().Allocate(size, &s)) << size.value();
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST(StackPoolTest, FindsTheStackOfAnAddressInItsGuard) {
  Stack s, found;
  ASSERT_TRUE(Pool().Allocate(KiB(256), &s));
  EXPECT_TRUE(Pool().FindGuard(s.lo - 1, &found));
  EXPECT_EQ(found.hi, s.hi);
  EXPECT_FALSE(Pool().FindGuard(s.lo, &found)) << "the stack itself is not its guard";
  EXPECT_EQ(found.hi, s.hi);
  int on_this_stack;
  EXPECT_FALSE(Pool().FindGuard(reinterpret_cast<uintptr_t>(&on_this_stack), &found));
  Pool().Free(s);
}

TEST(StackPoolDeathTest, AWriteBelowTheStackFaultsAlsoAfterTrimAndReuse) {
  Stack s;
  ASSERT_TRUE(Pool().Allocate(KiB(256), &s));
  if (!s.guarded) GTEST_SKIP() << "no guard could be made on this kernel";
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(s.lo - 1) = 1, "");
  memset(reinterpret_cast<void*>(s.lo), 1, 100);
  StackPool::Trim(s, s.hi - 100);
  EXPECT_EQ(*reinterpret_cast<char*>(s.lo), 0) << "trimmed pages read as zero";
  Pool().Free(s);
  ASSERT_TRUE(Pool().Allocate(KiB(256), &s));
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(s.lo - 1) = 1, "");
  Pool().Free(s);
}

TEST(StackPoolTest, CountsWhatItMade) {
  const StackStats before = Pool().stats();
  Stack s;
  ASSERT_TRUE(Pool().Allocate(MiB(100), &s));  // a class that no other test touches
  const StackStats after = Pool().stats();
  EXPECT_EQ(after.slabs, before.slabs + 1);
  EXPECT_EQ(after.slots_made, before.slots_made + 1);
  EXPECT_EQ(after.reserved - before.reserved, MiB(128));
  Pool().Free(s);
}

}  // namespace
}  // namespace plimsoll::stack
