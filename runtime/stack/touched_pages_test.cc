#include "plimsoll/runtime/stack/touched_pages.h"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/runtime/stack/stack_pool.h"

namespace plimsoll::stack {
namespace {

using Source = TouchedPages::Source;

// Without guards, as an old kernel with its maps used up has it.
constexpr StackCalls kNoGuards = {
    [](uintptr_t at, size_t bytes, int advice) -> long {
      return advice == 102 ? -EINVAL : kKernelStackCalls.advise(at, bytes, advice);
    },
    [](uintptr_t, size_t, size_t, int, int) -> long { return -EPERM; },
    [](uintptr_t, size_t) -> long { return -ENOMEM; }, [] { return uint64_t{0}; }};

// Slabs are never unmapped, so a pool is never destroyed; and LeakSanitizer is to see it.
StackPool& OwnPool(const StackCalls* calls) {
  static auto* const pools = new std::vector<StackPool*>;
  pools->push_back(new StackPool(calls));
  return *pools->back();
}

Stack StackOf(ByteCount size, const StackCalls* calls = &kKernelStackCalls) {
  Stack s;
  EXPECT_TRUE(OwnPool(calls).Allocate(size, &s));
  return s;
}

void Touch(uintptr_t at) { *reinterpret_cast<volatile char*>(at) = 1; }

class TouchedPagesTest : public testing::TestWithParam<Source> {
 protected:
  void SetUp() override {
    if (pages_.source() != GetParam()) GTEST_SKIP() << "not to be had here";
  }
  // How many pages from the top are at or above the lowest touched one.
  uintptr_t Depth(const Stack& s) const { return (s.hi - pages_.Lowest(s)) / PageBytes(); }

  TouchedPages pages_{GetParam()};
};

TEST_P(TouchedPagesTest, TheLowestTouchedPageIsToldWhateverIsTouchedAboveIt) {
  for (const ByteCount size : {KiB(64), KiB(256), MiB(8), MiB(100)}) {
    const Stack s = StackOf(size);
    EXPECT_EQ(Depth(s), 0u);
    const uintptr_t page = PageBytes();
    uintptr_t deepest = 0;
    // Single pages, with holes: one question of the kernel's ends at 64.
    for (const uintptr_t n : {1u, 2u, 11u, 12u, 63u, 64u, 65u, 66u, 1000u, 20000u}) {
      if (n > (s.hi - s.lo) / page) break;
      Touch(s.hi - n * page + 17);
      deepest = n;
      EXPECT_EQ(Depth(s), deepest) << size.value();
    }
    Touch(s.lo);
    EXPECT_EQ(pages_.Lowest(s), s.lo);
  }
}

TEST_P(TouchedPagesTest, AReadTouchesToo) {
  const Stack s = StackOf(KiB(256));
  (void)*reinterpret_cast<volatile char*>(s.hi - 5 * PageBytes());
  EXPECT_EQ(Depth(s), 5u);
}

TEST_P(TouchedPagesTest, WhatWentBackToTheSystemIsNotTouched) {
  StackPool& pool = OwnPool(&kKernelStackCalls);
  const Stack s = StackOf(KiB(256));
  for (uintptr_t at = s.lo; at < s.hi; at += PageBytes()) Touch(at);
  EXPECT_EQ(pages_.Lowest(s), s.lo);
  EXPECT_EQ(pool.Trim(s, s.lo, s.hi - 100), static_cast<long>(s.hi - s.lo - PageBytes()));
  EXPECT_EQ(Depth(s), 1u);
}

TEST_P(TouchedPagesTest, ACanaryIsNoUseOfTheStackUnlessThePageAboveItIsUsed) {
  const Stack s = StackOf(KiB(256), &kNoGuards);
  ASSERT_FALSE(s.guarded);
  EXPECT_EQ(Depth(s), 0u);
  Touch(s.hi - 3 * PageBytes());
  EXPECT_EQ(Depth(s), 3u);
  Touch(s.lo + PageBytes());
  EXPECT_EQ(pages_.Lowest(s), s.lo) << "used as far as can be told";
}

TEST_P(TouchedPagesTest, NeighboursAreAskedForAtOnce) {
  StackPool& pool = OwnPool(&kKernelStackCalls);
  constexpr int kStacks = 40;
  Stack stacks[kStacks];
  for (Stack& s : stacks) ASSERT_TRUE(pool.Allocate(KiB(256), &s));
  const uintptr_t page = PageBytes();
  const uintptr_t base = stacks[0].lo;
  for (uintptr_t i = 0; i < kStacks; ++i) Touch(stacks[i].hi - (i + 1) * page);
  std::vector<unsigned char> touched((stacks[kStacks - 1].hi - base) / page, 7);
  ASSERT_TRUE(pages_.Fill(base, touched.size(), touched.data()));
  for (const Stack& s : stacks) {
    const size_t first = (s.lo - base) / page;
    const size_t lowest = (pages_.Lowest(s) - base) / page;
    for (size_t i = first; i < lowest; ++i) EXPECT_EQ(touched[i], 0) << i;
    EXPECT_EQ(touched[lowest], 1);
  }
}

INSTANTIATE_TEST_SUITE_P(EachSource, TouchedPagesTest,
                         testing::Values(Source::kMincore, Source::kPagemap));

TEST(TouchedPagesSourceTest, WhatIsNotAskedForIsNotUsed) {
  EXPECT_EQ(TouchedPages(Source::kNone).source(), Source::kNone);
  EXPECT_LE(TouchedPages(Source::kMincore).source(), Source::kMincore);
  const Stack s = StackOf(KiB(256));
  Touch(s.lo);
  EXPECT_EQ(TouchedPages(Source::kNone).Lowest(s), s.hi) << "nothing is known";
}

TEST(TouchedPagesSourceTest, ThisMachineHasOne) {
  // Linux tells; where a sandbox does not, nothing here could be seen to be wrong.
  if (access("/proc/self/pagemap", R_OK) != 0) GTEST_SKIP() << "no /proc here";
  EXPECT_NE(TouchedPages().source(), Source::kNone);
}

}  // namespace
}  // namespace plimsoll::stack
