#include "plimsoll/alloc/mheap.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "plimsoll/alloc/backing/mmap_pages.h"

namespace plimsoll::alloc {
namespace {

// Real pages, with a purse: what it does not give is ENOMEM. Records what was asked of it.
struct Purse {
  uint64_t left = UINT64_MAX;
  bool refuse_open = false;
  uint64_t opened = 0;
  int calls = 0;
  int fail_at = -1;  // the call, counted from 0, for which there is nothing
  bool refuse_release = false;
  bool scatter = false;  // never where it would be best
  std::vector<uint64_t> mapped;
  uint64_t released = 0;
};

class PursePages {
 public:
  constexpr PursePages() = default;
  explicit PursePages(Purse* purse) : purse_(purse) {}

  Mapping Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
    if (purse_->calls++ == purse_->fail_at) return {nullptr, ENOMEM};
    // The heap's own records are of no account.
    if (bytes < MiB(4)) return pages_.Map(bytes, alignment, hint);
    if (bytes.value() > purse_->left) return {nullptr, ENOMEM};
    const Mapping m = pages_.Map(bytes, alignment, purse_->scatter ? 0 : hint);
    if (m.base == nullptr) return m;
    if (purse_->scatter) {
      // A hole behind it, so that the next cannot be its neighbour.
      (void)pages_.Map(MiB(64), MiB(64), 0);
    }
    purse_->left -= bytes.value();
    purse_->mapped.push_back(bytes.value());
    return m;
  }
  Mapping Reserve(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
    const Mapping m = Map(bytes, alignment, hint);
    if (m.base != nullptr) (void)pages_.Guard(m.base, bytes);
    return m;
  }
  bool Open(void* base, ByteCount bytes) {
    if (purse_->refuse_open) return false;
    purse_->opened += bytes.value();
    return pages_.Open(base, bytes);
  }
  bool Release(void* base, ByteCount bytes) {
    if (purse_->refuse_release) return false;
    purse_->released += bytes.value();
    return pages_.Release(base, bytes);
  }
  void Unmap(void* base, ByteCount bytes) { pages_.Unmap(base, bytes); }
  bool Collapse(void* base, ByteCount bytes) { return pages_.Collapse(base, bytes); }

 private:
  Purse* purse_ = nullptr;
  MmapPages pages_;
};
static_assert(ArenaSource<PursePages>);

using TestHeap = MHeap<PursePages>;

// Regions stay in the span map for ever, and so do the test's heaps.
TestHeap& NewHeap(Purse* purse) {
  static auto& kept = *new std::vector<TestHeap*>;  // reachable, for LeakSanitizer
  kept.push_back(new TestHeap(PursePages(purse)));
  return *kept.back();
}

TEST(MHeapTest, EveryPageOfASpanMapsToItAndNoneAfterItIsFreed) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Mailbox owner;
  for (size_t c = 1; c < kClassCount; ++c) {
    Span* span = heap.NewSpan(c, &owner);
    ASSERT_NE(span, nullptr);
    EXPECT_EQ(span->base() % kPageSize, 0u);
    EXPECT_EQ(span->magic(), kSizeClasses[c].magic);
    const uintptr_t end = span->base() + span->bytes();
    for (uintptr_t at = span->base(); at < end; at += 1000) EXPECT_EQ(FindSpan(at), span);
    EXPECT_EQ(FindSpan(end - 1), span);
    const uintptr_t base = span->base();
    heap.FreeSpan(span);
    EXPECT_EQ(FindSpan(base), nullptr);
    EXPECT_EQ(FindSpan(end - 1), nullptr);
  }
  heap.CheckInvariants();
  EXPECT_EQ(heap.Stats().in_use, 0u);
}

TEST(MHeapTest, FreshPagesAreKnownToBeZeroAndUsedOnesAreNot) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* fresh = heap.NewLarge(100'000, 1);
  EXPECT_TRUE(fresh->zeroed);
  std::memset(reinterpret_cast<void*>(fresh->base()), 1, 100'000);
  heap.FreeSpan(fresh);
  Span* again = heap.NewLarge(100'000, 1);
  EXPECT_FALSE(again->zeroed);
  heap.FreeSpan(again);
  EXPECT_GT(heap.Release(UINT64_MAX), 0u);
  Span* released = heap.NewLarge(100'000, 1);
  EXPECT_TRUE(released->zeroed);
  EXPECT_EQ(*reinterpret_cast<char*>(released->base() + 50'000), 0);
}

TEST(MHeapTest, LargeObjectsAreAlignedToAnyPowerOfTwo) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  for (uint64_t alignment = 1; alignment <= MiB(128).value(); alignment *= 2) {
    Span* span = heap.NewLarge(40'000, alignment);
    ASSERT_NE(span, nullptr) << alignment;
    EXPECT_EQ(span->base() % alignment, 0u) << alignment;
  }
  heap.CheckInvariants();
}

TEST(MHeapTest, RegionsNextToOneAnotherServeARunAcrossThem) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* big = heap.NewLarge(MiB(150).value(), 1);
  ASSERT_NE(big, nullptr);
  auto* bytes = reinterpret_cast<char*>(big->base());
  bytes[0] = bytes[MiB(64).value()] = bytes[MiB(150).value() - 1] = 1;
  EXPECT_EQ(FindSpan(big->base() + MiB(130).value()), big);
  heap.FreeSpan(big);
  heap.CheckInvariants();
}

TEST(MHeapTest, RegionsApartAreNeverJoined) {
  Purse purse;
  purse.scatter = true;
  TestHeap& heap = NewHeap(&purse);
  std::vector<Span*> spans;
  for (int i = 0; i < 6; ++i) spans.push_back(heap.NewLarge(MiB(40).value(), 1));
  for (Span* span : spans) {
    ASSERT_NE(span, nullptr);
    // Each lies in one region, whole.
    EXPECT_EQ(span->base() >> kRegionShift, (span->base() + span->bytes() - 1) >> kRegionShift);
    std::memset(reinterpret_cast<void*>(span->base()), 1, 4096);
    heap.FreeSpan(span);
  }
  heap.CheckInvariants();
}

TEST(MHeapTest, TakesTheLeastThatIsNeededWhenAddressSpaceIsScarce) {
  Purse purse;
  purse.left = MiB(12).value();
  TestHeap& heap = NewHeap(&purse);
  Mailbox owner;
  Span* small = heap.NewSpan(1, &owner);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(purse.mapped, std::vector<uint64_t>{MiB(4).value()});
  ASSERT_NE(heap.NewLarge(MiB(6).value(), 1), nullptr);
  EXPECT_EQ(heap.NewLarge(MiB(6).value(), 1), nullptr);
  EXPECT_NE(heap.NewSpan(20, &owner), nullptr);  // what there is still serves
  heap.CheckInvariants();
}

TEST(MHeapTest, AFailureLeavesTheHeapAsItWas) {
  Purse purse;
  purse.left = 0;
  TestHeap& heap = NewHeap(&purse);
  Mailbox owner;
  EXPECT_EQ(heap.NewSpan(1, &owner), nullptr);
  EXPECT_EQ(heap.NewLarge(1 << 20, 1), nullptr);
  EXPECT_EQ(heap.NewLarge(uint64_t{1} << 47, uint64_t{1} << 46), nullptr);
  EXPECT_EQ(heap.NewLarge(UINT64_MAX, 1), nullptr);
  EXPECT_EQ(heap.Stats().mapped, 0u);
  purse.left = UINT64_MAX;
  EXPECT_NE(heap.NewSpan(1, &owner), nullptr);
  heap.CheckInvariants();
}

// Writes to the first and last byte of a span, which are there if its memory is.
void Touch(Span* span) {
  auto* bytes = reinterpret_cast<volatile char*>(span->base());
  bytes[0] = 1;
  bytes[span->bytes() - 1] = 1;
}

TEST(MHeapTest, WhicheverCallFailsWhatIsHandedOutIsMapped) {
  int failures = 0;
  for (int fail_at = 0;; ++fail_at) {
    SCOPED_TRACE(fail_at);
    Purse purse;
    purse.fail_at = fail_at;
    TestHeap& heap = NewHeap(&purse);
    // Growth by three regions at once, then by one; each that fails is asked for again.
    for (uint64_t bytes : {MiB(150).value(), MiB(150).value(), MiB(50).value(), MiB(50).value()}) {
      const uint64_t before = heap.Stats().mapped;
      Span* span = heap.NewLarge(bytes, 1);
      heap.CheckInvariants();
      if (span != nullptr) {
        Touch(span);
      } else {
        ++failures;
        EXPECT_EQ(heap.Stats().mapped, before);
      }
    }
    for (int i = 0; i < 300; ++i) {
      Span* span = heap.NewLarge(MiB(1).value(), 1);
      if (span != nullptr) {
        Touch(span);
      } else {
        ++failures;
      }
    }
    heap.CheckInvariants();
    EXPECT_GE(heap.Stats().in_use, MiB(299).value());
    if (purse.calls <= fail_at) break;
  }
  // Regions refused are asked for in 4 MiB chunks at once: those calls fail nothing by themselves.
  EXPECT_GT(failures, 10);
}

TEST(MHeapTest, WithoutNumbersForAllRegionsOfARangeNoneOfItIsHandedOut) {
  Purse purse;
  purse.scatter = true;  // a number and a gap for each
  auto& heap = *new MHeap<PursePages, 6>(PursePages(&purse));
  static void* kept = &heap;  // reachable, for LeakSanitizer, as the span map has its regions
  ASSERT_NE(kept, nullptr);
  Span* first = heap.NewLarge(MiB(100).value(), 1);  // numbers 1 and 2
  ASSERT_NE(first, nullptr);
  Touch(first);
  const uint64_t before = heap.Stats().mapped;
  EXPECT_EQ(heap.NewLarge(MiB(150).value(), 1), nullptr);  // 4 and 5, and 6 is one too many
  EXPECT_EQ(heap.Stats().mapped, before);
  heap.CheckInvariants();
  int more = 0;
  for (; more < 1000; ++more) {
    Span* span = heap.NewLarge(MiB(1).value(), 1);
    if (span == nullptr) break;
    Touch(span);
  }
  EXPECT_EQ(more, 28 + 64);  // what was left of two regions, and the one there is a number for
  heap.CheckInvariants();
}

TEST(MHeapTest, WhatAShrinkGivesUpIsIdleAtOnce) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* span = heap.NewLarge(MiB(40).value(), 1);
  ASSERT_NE(span, nullptr);
  EXPECT_EQ(heap.IdleBytes(), 0u);
  ASSERT_TRUE(heap.Resize(span, MiB(1).value()));
  EXPECT_EQ(heap.IdleBytes(), MiB(39).value());
  ASSERT_TRUE(heap.Resize(span, MiB(11).value()));
  EXPECT_EQ(heap.IdleBytes(), MiB(29).value());
  EXPECT_EQ(heap.IdleBytes(), heap.Stats().idle);
}

TEST(MHeapTest, OverTheLimitGrowthInPlaceIsPaidByIdlePages) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* idle = heap.NewLarge(MiB(16).value(), 1);
  Span* grows = heap.NewLarge(MiB(2).value(), 1);
  heap.FreeSpan(idle);
  heap.SetLimit(MiB(20).value());
  ASSERT_TRUE(heap.Resize(grows, MiB(18).value()));  // into pages that the system has
  EXPECT_LE(heap.Stats().idle, MiB(2).value());
  heap.CheckInvariants();
}

// Under mlockall(MCL_FUTURE) what is open is in memory.
TEST(MHeapTest, LittleMoreOfARegionIsOpenThanIsUsed) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* small = heap.NewLarge(KiB(64).value(), 1);
  ASSERT_NE(small, nullptr);
  EXPECT_EQ(purse.opened, MiB(4).value());
  EXPECT_EQ(heap.Stats().mapped, MiB(64).value());
  Span* large = heap.NewLarge(MiB(200).value(), 1);  // over the ends of regions
  ASSERT_NE(large, nullptr);
  *reinterpret_cast<char*>(large->base()) = 1;
  *reinterpret_cast<char*>(large->base() + MiB(200).value() - 1) = 1;
  EXPECT_LE(purse.opened, MiB(256).value());

  purse.refuse_open = true;
  const uint64_t in_use = heap.Stats().in_use;
  EXPECT_EQ(heap.NewLarge(MiB(100).value(), 1), nullptr);
  EXPECT_FALSE(heap.Resize(large, MiB(300).value()));
  EXPECT_EQ(heap.Stats().in_use, in_use);
  heap.CheckInvariants();
  purse.refuse_open = false;
  Span* again = heap.NewLarge(MiB(100).value(), 1);
  ASSERT_NE(again, nullptr);
  *reinterpret_cast<char*>(again->base() + MiB(100).value() - 1) = 1;
  for (Span* span : {small, large, again}) heap.FreeSpan(span);
  heap.CheckInvariants();
}

TEST(MHeapTest, WhoFollowsALimitLeavesAloneWhatAnotherHasSet) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  EXPECT_TRUE(heap.ReplaceLimit(UINT64_MAX, 100));
  heap.SetLimit(200);
  EXPECT_FALSE(heap.ReplaceLimit(100, 300));
  EXPECT_EQ(heap.limit(), 200u);
}

TEST(MHeapTest, ResizesInPlaceOnlyIntoFreePages) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Span* a = heap.NewLarge(10 * kPageSize, 1);
  Span* b = heap.NewLarge(10 * kPageSize, 1);
  ASSERT_EQ(b->base(), a->base() + 10 * kPageSize);
  EXPECT_FALSE(heap.Resize(a, 11 * kPageSize));
  EXPECT_TRUE(heap.Resize(a, 4 * kPageSize - 1));
  EXPECT_EQ(a->pages, 4u);
  EXPECT_EQ(FindSpan(a->base() + 4 * kPageSize), nullptr);
  EXPECT_TRUE(heap.Resize(a, 10 * kPageSize));
  EXPECT_EQ(FindSpan(a->base() + 9 * kPageSize), a);
  EXPECT_TRUE(heap.Resize(b, 3000 * kPageSize));
  EXPECT_EQ(FindSpan(b->base() + 2999 * kPageSize), b);
  heap.FreeSpan(a);
  heap.FreeSpan(b);
  heap.CheckInvariants();
  EXPECT_EQ(heap.Stats().in_use, 0u);
}

TEST(MHeapTest, ARefusedReleaseCountsNothingAndEnds) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  heap.FreeSpan(heap.NewLarge(MiB(8).value(), 1));
  purse.refuse_release = true;
  EXPECT_EQ(heap.Release(UINT64_MAX), 0u);
  EXPECT_EQ(heap.Stats().idle, MiB(8).value());
  purse.refuse_release = false;
  EXPECT_EQ(heap.Release(UINT64_MAX), MiB(8).value());
  EXPECT_EQ(purse.released, MiB(8).value());
  EXPECT_EQ(heap.Stats().idle, 0u);
  heap.CheckInvariants();
}

TEST(MHeapTest, OverTheLimitIdlePagesPayForNewOnes) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  heap.SetLimit(MiB(20).value());
  Span* idle = heap.NewLarge(MiB(16).value(), 1);
  Span* wall = heap.NewLarge(kPageSize, 1);
  heap.FreeSpan(idle);
  for (int i = 0; i < 4; ++i) {
    // Too large for the hole: fresh pages, which the hole's pages make room for.
    ASSERT_NE(heap.NewLarge(MiB(17).value(), 1), nullptr);
    const PageStats s = heap.Stats();
    EXPECT_LE(s.idle, MiB(4).value());
  }
  heap.FreeSpan(wall);
  heap.CheckInvariants();
}

TEST(MHeapTest, WalksEverySpanOnce) {
  Purse purse;
  TestHeap& heap = NewHeap(&purse);
  Mailbox owner;
  size_t made = 0;
  for (size_t c = 1; c < kClassCount; ++c, ++made) ASSERT_NE(heap.NewSpan(c, &owner), nullptr);
  ASSERT_NE(heap.NewLarge(MiB(100).value(), 1), nullptr);
  size_t seen = 0;
  uint64_t bytes = 0;
  heap.ForEachSpan([&](Span* span) {
    ++seen;
    bytes += span->bytes();
  });
  EXPECT_EQ(seen, made + 1);
  EXPECT_EQ(bytes, heap.Stats().in_use);
}

}  // namespace
}  // namespace plimsoll::alloc
