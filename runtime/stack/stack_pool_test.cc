#include "plimsoll/runtime/stack/stack_pool.h"

#include <sys/mman.h>
#include <unistd.h>

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
  Pool().Trim(s, s.lo, s.hi - 100);
  EXPECT_EQ(*reinterpret_cast<char*>(s.lo), 0) << "trimmed pages read as zero";
  Pool().Free(s);
  ASSERT_TRUE(Pool().Allocate(KiB(256), &s));
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(s.lo - 1) = 1, "");
  Pool().Free(s);
}

TEST(StackPoolTest, TrimKeepsWhatIsAboveTheStackPointerItsRedZoneAndTheCanary) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const struct {
    uintptr_t sp;  // bytes below the upper end
    bool guarded;
    uintptr_t lo, hi;  // what goes: bytes above the lower end
  } kCases[] = {
      {100, true, 0, 29},         // in the top page: all below it
      {page, true, 0, 28},        // the red zone reaches into the page below
      {page - 127, true, 0, 28},  // by one byte
      {page - 128, true, 0, 29},  // ends where the page begins
      {10 * page, true, 0, 19},   //
      {29 * page, true, 0, 0},    // the second page from below, and the red zone is in the first
      {30 * page, true, 0, 0},    // at the lower end
      {31 * page, true, 0, 0},    // no stack pointer of this stack
      {10 * page, false, 1, 19},  // the canary's page stays
      {28 * page, false, 1, 1},   //
  };
  const uintptr_t base = 0x7000'0000'0000;
  for (const auto& c : kCases) {
    const Stack s{.lo = base, .hi = base + 30 * page, .guarded = c.guarded};
    uintptr_t lo, hi;
    StackPool::TrimRange(s, s.hi - c.sp, &lo, &hi);
    EXPECT_EQ((lo - s.lo) / page, c.lo) << c.sp << " " << c.guarded;
    EXPECT_EQ((hi - s.lo) / page, c.hi) << c.sp << " " << c.guarded;
  }
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

// A kernel that refuses, as a test tells it to.
struct Refusals {
  bool install = false;      // MADV_GUARD_INSTALL: before 6.13, or locked memory
  bool all_at_once = false;  // process_madvise: a seccomp profile
  bool protect = false;      // mprotect: ENOMEM, the maps are used up
  bool dont_need = false;    // MADV_DONTNEED: locked memory
  uint64_t maps = 65530;
  int calls = 0;
} refusals;

constexpr StackCalls kRefusing = {
    [](uintptr_t at, size_t bytes, int advice) -> long {
      ++refusals.calls;
      if (refusals.install && advice == 102) return -EINVAL;
      if (refusals.dont_need && advice == MADV_DONTNEED) return -EINVAL;
      return kKernelStackCalls.advise(at, bytes, advice);
    },
    [](uintptr_t at, size_t bytes, size_t stride, int n, int advice) -> long {
      ++refusals.calls;
      if (refusals.all_at_once) return -EPERM;
      if (refusals.install && advice == 102) return -EINVAL;
      return kKernelStackCalls.advise_all(at, bytes, stride, n, advice);
    },
    [](uintptr_t at, size_t bytes) -> long {
      ++refusals.calls;
      return refusals.protect ? -ENOMEM : kKernelStackCalls.protect_none(at, bytes);
    },
    [] { return refusals.maps; }};

// A pool of this test's own. It stays where LeakSanitizer sees it: slabs are never unmapped, so a
// pool is never destroyed either.
StackPool* OwnPool(const StackCalls* calls) {
  static auto* const pools = new std::vector<StackPool*>;  // outlives LeakSanitizer's look
  pools->push_back(new StackPool(calls));
  return pools->back();
}

// As many batches as it takes: a slab's end ends one.
int AllocateAll(StackPool& pool, Stack* out, int n) {
  int got = 0;
  while (got < n) {
    const int more = pool.AllocateBatch(KiB(256), out + got, n - got);
    if (more == 0) break;
    got += more;
  }
  return got;
}

// Touches both ends of the stack, and, in a child, what lies below.
void ExpectUsableAndGuarded(const Stack& s) {
  *reinterpret_cast<volatile char*>(s.lo) = 1;
  *reinterpret_cast<volatile char*>(s.hi - 1) = 1;
  EXPECT_TRUE(s.guarded);
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(s.lo - 1) = 1, "");
}

TEST(StackPoolDeathTest, EveryStackOfABatchHasItsGuardHoweverItIsMade) {
  for (const bool all_at_once : {false, true}) {
    for (const bool install : {false, true}) {
      refusals = {.install = install, .all_at_once = all_at_once};
      StackPool* pool = OwnPool(&kRefusing);
      Stack first;
      ASSERT_TRUE(pool->Allocate(KiB(256), &first));
      Stack batch[40];
      ASSERT_EQ(AllocateAll(*pool, batch, 40), 40);
      for (const int i : {0, 17, 39}) ExpectUsableAndGuarded(batch[i]);
      ExpectUsableAndGuarded(first);
      EXPECT_EQ(pool->stats().unguarded, 0u);
      if (install) {
        EXPECT_EQ(pool->guard_kind(), GuardKind::kProtect);
      }
    }
  }
}

TEST(StackPoolTest, ABatchIsGuardedAndBroughtInByAFewCalls) {
  refusals = {};
  StackPool* pool = OwnPool(&kRefusing);
  Stack first;
  ASSERT_TRUE(pool->Allocate(KiB(256), &first));
  if (pool->guard_kind() != GuardKind::kInstall) GTEST_SKIP() << "this kernel installs no guards";
  refusals.calls = 0;
  Stack batch[32];
  ASSERT_EQ(AllocateAll(*pool, batch, 32), 32);
  EXPECT_LE(refusals.calls, 2);
}

TEST(StackPoolTest, WhereNoGuardCanBeMadeACanaryTellsOfAnOverflow) {
  refusals = {.install = true, .protect = true};
  StackPool* pool = OwnPool(&kRefusing);
  EXPECT_FALSE(pool->has_unguarded());
  Stack batch[3];
  ASSERT_EQ(AllocateAll(*pool, batch, 3), 3);
  EXPECT_TRUE(pool->has_unguarded());
  EXPECT_EQ(pool->guard_kind(), GuardKind::kNone);
  EXPECT_EQ(pool->stats().unguarded, 3u);
  for (const Stack& s : batch) {
    EXPECT_FALSE(s.guarded);
    EXPECT_TRUE(pool->CanaryIntact(s));
  }
  *reinterpret_cast<char*>(batch[1].lo + 5) = 'x';
  EXPECT_FALSE(pool->CanaryIntact(batch[1]));
  EXPECT_TRUE(pool->CanaryIntact(batch[0]));
  // Used again, and released and used again, it is still known to have none.
  pool->Free(batch[0]);
  Stack again;
  ASSERT_TRUE(pool->Allocate(KiB(256), &again));
  EXPECT_EQ(again.lo, batch[0].lo);
  EXPECT_FALSE(again.guarded);
  pool->Release(again);
  ASSERT_TRUE(pool->Allocate(KiB(256), &again));
  EXPECT_EQ(again.lo, batch[0].lo);
  EXPECT_FALSE(again.guarded);
  EXPECT_TRUE(pool->CanaryIntact(again));
}

// Leaves the only pointer to a new block at the upper end of each stack. Not inlined: the caller's
// frame and registers keep none.
[[gnu::noinline]] void KeepABlockOn(const Stack* stacks, int n) {
  for (int i = 0; i < n; ++i) {
    *reinterpret_cast<char* volatile*>(stacks[i].hi - 128) = new char[100];
  }
}

TEST(StackPoolTest, WhatOnlyAStackPointsToIsNoLeak) {
  // LeakSanitizer tells, when the program ends. More stacks than one slab has, with guards and
  // without.
  for (const bool protect : {false, true}) {
    refusals = {.install = true, .protect = protect};
    StackPool* pool = OwnPool(&kRefusing);
    constexpr int kStacks = 300;
    Stack stacks[kStacks];
    ASSERT_EQ(AllocateAll(*pool, stacks, kStacks), kStacks);
    EXPECT_EQ(pool->stats().unguarded, protect ? 300u : 0u);
    KeepABlockOn(stacks, kStacks);
  }
}

TEST(StackPoolTest, ProtectsWhileAQuarterOfTheMapsIsLeftAndNoLonger) {
  refusals = {.install = true, .maps = 40};
  StackPool* pool = OwnPool(&kRefusing);
  Stack batch[20];
  ASSERT_EQ(AllocateAll(*pool, batch, 20), 20);
  int guarded = 0;
  for (const Stack& s : batch) guarded += s.guarded ? 1 : 0;
  EXPECT_EQ(guarded, 10);
  EXPECT_EQ(pool->stats().unguarded, 10u);
}

TEST(StackPoolTest, AReleasedStackHasNoMemoryAndIsUsedAgainBeforeANewOne) {
  StackPool* pool = OwnPool(&kKernelStackCalls);
  std::vector<Stack> stacks(600);  // more than two slabs
  for (Stack& s : stacks) {
    ASSERT_TRUE(pool->Allocate(KiB(256), &s));
    *reinterpret_cast<char*>(s.lo) = 1;
    *reinterpret_cast<char*>(s.hi - 1) = 1;
  }
  const uint64_t made = pool->stats().slots_made;
  for (const Stack& s : stacks) pool->Release(s);
  EXPECT_EQ(pool->stats().released, 600u);
  for (const Stack& s : stacks) {
    unsigned char in_core[2];
    ASSERT_EQ(mincore(reinterpret_cast<void*>(s.lo), 4096, &in_core[0]), 0);
    ASSERT_EQ(mincore(reinterpret_cast<void*>(s.hi - 4096), 4096, &in_core[1]), 0);
    ASSERT_EQ((in_core[0] | in_core[1]) & 1, 0);
  }
  std::set<uintptr_t> again;
  for (size_t i = 0; i < stacks.size(); ++i) {
    Stack s;
    ASSERT_TRUE(pool->Allocate(KiB(256), &s));
    EXPECT_EQ(*reinterpret_cast<char*>(s.lo), 0);
    again.insert(s.lo);
  }
  EXPECT_EQ(again.size(), stacks.size());
  EXPECT_EQ(pool->stats().slots_made, made);
  EXPECT_EQ(pool->stats().released, 0u);
}

TEST(StackPoolTest, TrimTellsHowMuchWentAndThatTheKernelRefused) {
  refusals = {};
  StackPool* pool = OwnPool(&kRefusing);
  Stack s;
  ASSERT_TRUE(pool->Allocate(KiB(256), &s));
  memset(reinterpret_cast<void*>(s.lo), 0x5a, s.hi - s.lo);
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t sp = s.hi - 3 * page;
  const uintptr_t from = s.lo + 2 * page;
  refusals.dont_need = true;
  EXPECT_EQ(pool->Trim(s, from, sp), -EINVAL);
  EXPECT_EQ(*reinterpret_cast<char*>(from), 0x5a);
  refusals.dont_need = false;
  EXPECT_EQ(pool->Trim(s, from, sp, 5 * page), static_cast<long>(5 * page));
  EXPECT_EQ(*reinterpret_cast<char*>(from + 5 * page - 1), 0);
  EXPECT_EQ(*reinterpret_cast<char*>(from + 5 * page), 0x5a) << "five pages, and no more";
  EXPECT_EQ(pool->Trim(s, from, sp), static_cast<long>(sp - page - from))
      << "the red zone is in the page below sp";
  EXPECT_EQ(*reinterpret_cast<char*>(from - 1), 0x5a);
  EXPECT_EQ(*reinterpret_cast<char*>(from), 0);
  EXPECT_EQ(*reinterpret_cast<char*>(sp - page - 1), 0);
  EXPECT_EQ(*reinterpret_cast<char*>(sp - page), 0x5a);
  EXPECT_EQ(pool->Trim(s, s.hi, sp), 0);
  pool->Free(s);
}

TEST(StackPoolTest, AWalkComesToEachSlotOnceInSmallSteps) {
  StackPool* pool = OwnPool(&kKernelStackCalls);
  std::set<uintptr_t> made, seen;
  Stack s;
  for (int i = 0; i < 300; ++i) {  // more than one slab
    ASSERT_TRUE(pool->Allocate(KiB(256), &s));
    made.insert(s.lo);
  }
  ASSERT_TRUE(pool->Allocate(MiB(1), &s));
  made.insert(s.lo);
  StackPool::Walk walk;
  Stack step[7];
  for (int n; (n = pool->NextSlots(walk, step, 7)) > 0;) {
    ASSERT_LE(n, 7);
    for (int i = 0; i < n; ++i) {
      EXPECT_TRUE(seen.insert(step[i].lo).second);
      EXPECT_EQ(step[i].lo - step[0].lo,
                static_cast<uintptr_t>(i) * (step[0].hi - step[0].lo + kGuardBytes));
    }
  }
  EXPECT_EQ(seen, made);
  EXPECT_EQ(pool->NextSlots(walk, step, 7), 0) << "over is over";
}

}  // namespace
}  // namespace plimsoll::stack
