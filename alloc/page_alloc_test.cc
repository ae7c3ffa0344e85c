#include "plimsoll/alloc/page_alloc.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/sanitizer.h"

namespace plimsoll::alloc {
namespace {

// Reserves a chunk and adds it.
bool Add(PageAlloc& pages, uint64_t chunk) {
  MmapPages source;
  if (!pages.Reserve(chunk, PageSourceRef(source))) return false;
  pages.Grow(chunk);
  return true;
}

// A page as the plain reference knows it.
enum class Page : uint8_t { kAbsent, kReleased, kIdle, kUsed };

// The lowest aligned run of free pages as PageAlloc promises it: the first run long enough for any
// alignment decides.
std::optional<uint64_t> LowestFit(const std::vector<Page>& pages, uint64_t count, uint64_t align) {
  uint64_t run = 0;
  for (uint64_t i = 0; i < pages.size(); ++i) {
    run = pages[i] == Page::kReleased || pages[i] == Page::kIdle ? run + 1 : 0;
    if (run == count + align - 1) return (i + 1 - run + align - 1) & ~(align - 1);
  }
  return std::nullopt;
}

struct Operation {
  enum Kind { kGrow, kAllocate, kAllocateAt, kFree, kRelease } kind;
  uint64_t a, b;
};

std::string Text(const Operation& op) {
  static const char* const kNames[] = {"Grow", "Allocate", "AllocateAt", "Free", "Release"};
  return std::string(kNames[op.kind]) + "(" + std::to_string(op.a) + ", " + std::to_string(op.b) +
         ")";
}

class Model {
 public:
  ~Model() { pages_.Discard(); }

  void Run(const Operation& op) {
    SCOPED_TRACE(Text(op));
    bool zero = false;
    uint64_t back = 0;
    switch (op.kind) {
      case Operation::kGrow: {
        const uint64_t chunk = op.a % 80;
        if (reference_.size() < (chunk + 1) * kChunkPages) {
          reference_.resize((chunk + 1) * kChunkPages, Page::kAbsent);
        }
        if (reference_[chunk * kChunkPages] != Page::kAbsent) return;
        ASSERT_TRUE(Add(pages_, chunk));
        for (uint64_t i = 0; i < kChunkPages; ++i) {
          reference_[chunk * kChunkPages + i] = Page::kReleased;
        }
        return;
      }
      case Operation::kAllocate: {
        const uint64_t count = 1 + op.a % (op.a % 7 == 0 ? 1500 : 40);
        const uint64_t align = uint64_t{1} << (op.b % 3 == 0 ? op.b % 7 : 0);
        const std::optional<uint64_t> want = LowestFit(reference_, count, align);
        const std::optional<uint64_t> got = pages_.Allocate(count, align, &zero, &back);
        ASSERT_EQ(got, want) << count << " pages at " << align;
        if (got.has_value()) Take(*got, count, zero, back);
        return;
      }
      case Operation::kAllocateAt: {
        if (reference_.empty()) return;
        const uint64_t first = op.a % reference_.size();
        const uint64_t count = 1 + op.b % 60;
        bool fits = first + count <= reference_.size();
        for (uint64_t i = first; fits && i < first + count; ++i) {
          fits = reference_[i] == Page::kIdle || reference_[i] == Page::kReleased;
        }
        ASSERT_EQ(pages_.AllocateAt(first, count, &zero, &back), fits);
        if (fits) Take(first, count, zero, back);
        return;
      }
      case Operation::kFree: {
        if (runs_.empty()) return;
        auto it = runs_.lower_bound(op.a % reference_.size());
        if (it == runs_.end()) it = runs_.begin();
        pages_.Free(it->first, it->second, op.b % 4 == 0);
        for (uint64_t i = 0; i < it->second; ++i) {
          reference_[it->first + i] = op.b % 4 == 0 ? Page::kReleased : Page::kIdle;
        }
        runs_.erase(it);
        return;
      }
      case Operation::kRelease: {
        const uint64_t below = op.b % 2 == 0 ? UINT64_MAX : op.b % (reference_.size() + 1);
        const uint64_t most = 1 + op.a % 300;
        // The highest idle page below decides; the run goes down from it, within its chunk.
        std::optional<uint64_t> last;
        for (uint64_t i = 0; i < std::min<uint64_t>(below, reference_.size()); ++i) {
          if (reference_[i] == Page::kIdle) last = i;
        }
        const std::optional<PageRun> got = pages_.TakeUnreleased(most, below);
        ASSERT_EQ(got.has_value(), last.has_value());
        if (!got.has_value()) return;
        ASSERT_EQ(got->first + got->count - 1, *last);
        ASSERT_LE(got->count, most);
        for (uint64_t i = 0; i < got->count; ++i) {
          ASSERT_EQ(reference_[got->first + i], Page::kIdle);
          reference_[got->first + i] = Page::kReleased;
        }
        pages_.Free(got->first, got->count, true);
        return;
      }
    }
  }

  void Check() {
    pages_.CheckInvariants();
    uint64_t free = 0;
    uint64_t idle = 0;
    for (uint64_t i = 0; i < reference_.size(); ++i) {
      ASSERT_EQ(pages_.InUse(i), reference_[i] == Page::kUsed) << i;
      free += reference_[i] == Page::kIdle || reference_[i] == Page::kReleased;
      idle += reference_[i] == Page::kIdle;
    }
    ASSERT_EQ(pages_.free_pages(), free);
    ASSERT_EQ(pages_.unreleased_pages(), idle);
  }

 private:
  void Take(uint64_t first, uint64_t count, bool zero, uint64_t back) {
    uint64_t released = 0;
    for (uint64_t i = first; i < first + count; ++i) {
      released += reference_[i] == Page::kReleased;
      reference_[i] = Page::kUsed;
    }
    ASSERT_EQ(back, released);
    ASSERT_EQ(zero, released == count);
    runs_[first] = count;
  }

  PageAlloc pages_;
  std::vector<Page> reference_;
  std::map<uint64_t, uint64_t> runs_;
};

TEST(PageAllocTest, AgreesWithAPlainArrayOfPagesAfterEveryOperation) {
  // Six seeds are each number of chunks, dense and sparse. Under a sanitizer an unoptimised look at
  // each page takes ten times as long, and it is one thread's plain memory.
  constexpr uint64_t kSeeds = base::kTsan || base::kAsan ? 6 : 12;
  constexpr int kSteps = base::kTsan || base::kAsan ? 500 : 1500;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    Model model;
    // Dense heaps of few chunks, and sparse ones that reach the third level.
    for (uint64_t c = 0; c < 2 + seed % 3; ++c)
      model.Run({Operation::kGrow, seed % 2 ? c : c * 9, 0});
    for (int step = 0; step < kSteps && !testing::Test::HasFatalFailure(); ++step) {
      const uint64_t pick = random() % 20;
      const auto kind = pick == 0   ? Operation::kGrow
                        : pick < 10 ? Operation::kAllocate
                        : pick < 12 ? Operation::kAllocateAt
                        : pick < 18 ? Operation::kFree
                                    : Operation::kRelease;
      if (kind == Operation::kGrow && step % 8 != 0) continue;
      model.Run({kind, random() >> 20, random() >> 20});
      if (step % 10 == 0) model.Check();
    }
    model.Check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(PageAllocTest, FindsARunThatCrossesChunksAndLevels) {
  PageAlloc pages;
  for (uint64_t c = 0; c < 70; ++c) ASSERT_TRUE(Add(pages, c));
  bool zero;
  uint64_t back;
  ASSERT_EQ(pages.Allocate(kChunkPages * 70, 1, &zero, &back), 0u);
  EXPECT_TRUE(zero);
  // Eight chunks are one summary: a hole over its border is the end of one and the start of
  // another.
  pages.Free(kChunkPages * 8 - 3, 6, false);
  EXPECT_EQ(pages.Allocate(7, 1, &zero, &back), std::nullopt);
  EXPECT_EQ(pages.Allocate(6, 1, &zero, &back), kChunkPages * 8 - 3);
  EXPECT_FALSE(zero);
  pages.Free(kChunkPages * 63, kChunkPages * 2, true);
  EXPECT_EQ(pages.Allocate(kChunkPages * 2, 1, &zero, &back), kChunkPages * 63);
  EXPECT_TRUE(zero);
  EXPECT_EQ(back, kChunkPages * 2);
  pages.CheckInvariants();
  pages.Discard();
}

TEST(PageAllocTest, NeverJoinsPagesOverAChunkThatIsNotThere) {
  PageAlloc pages;
  ASSERT_TRUE(Add(pages, 0));
  ASSERT_TRUE(Add(pages, 2));
  bool zero;
  uint64_t back;
  EXPECT_EQ(pages.Allocate(kChunkPages + 1, 1, &zero, &back), std::nullopt);
  EXPECT_EQ(pages.Allocate(kChunkPages, 1, &zero, &back), 0u);
  EXPECT_EQ(pages.Allocate(kChunkPages, 1, &zero, &back), kChunkPages * 2);
  pages.Discard();
}

TEST(PageAllocTest, ADenseHugePageIsFoundAtTheSecondLookOnceUntilItIsReleased) {
  PageAlloc pages;
  ASSERT_TRUE(Add(pages, 0));
  ASSERT_TRUE(Add(pages, 2));  // chunk 1 is not there
  bool zero;
  uint64_t back;
  uint64_t cursor = 0;
  const auto look = [&] { return pages.FindDense(&cursor, 6); };
  EXPECT_EQ(look(), std::nullopt);
  // The second huge page of chunk 2: 246 of 256 pages are dense, but the others have no memory.
  const uint64_t first = 2 * kChunkPages + kHugePages;
  ASSERT_TRUE(pages.AllocateAt(first, kDensePages, &zero, &back));
  EXPECT_EQ(look(), std::nullopt);
  EXPECT_EQ(look(), std::nullopt);
  // Memory for all, ten pages of it idle.
  ASSERT_TRUE(pages.AllocateAt(first + kDensePages, kHugePages - kDensePages, &zero, &back));
  pages.Free(first + kDensePages, kHugePages - kDensePages, /*released=*/false);
  EXPECT_EQ(look(), std::nullopt);
  EXPECT_EQ(look(), first);
  EXPECT_EQ(look(), std::nullopt);
  // One page less is not dense; when it is again, and none was released, it is not found again.
  pages.Free(first, 1, /*released=*/false);
  EXPECT_EQ(look(), std::nullopt);
  ASSERT_TRUE(pages.AllocateAt(first, 1, &zero, &back));
  EXPECT_EQ(look(), std::nullopt);
  EXPECT_EQ(look(), std::nullopt);
  // A release splits it: then it is.
  pages.Free(first, 1, /*released=*/true);
  ASSERT_TRUE(pages.AllocateAt(first, 1, &zero, &back));
  EXPECT_EQ(look(), std::nullopt);
  EXPECT_EQ(look(), first);
  pages.Discard();
}

// A source that gives nothing after `left` calls.
struct Miser {
  Mapping Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
    if (left == 0) return {nullptr, ENOMEM};
    --left;
    return pages.Map(bytes, alignment, hint);
  }
  bool Release(void* base, ByteCount bytes) { return pages.Release(base, bytes); }
  void Unmap(void* base, ByteCount bytes) { pages.Unmap(base, bytes); }
  bool Collapse(void*, ByteCount) { return false; }
  int left = 0;
  MmapPages pages;
};

TEST(PageAllocTest, AReserveThatFailsIsMadeGoodByALaterOne) {
  PageAlloc pages;
  Miser miser;
  int failures = 0;
  for (;; ++failures) {
    miser.left = 1;
    if (pages.Reserve(1000, PageSourceRef(miser))) break;
    ASSERT_LT(failures, 100);
    EXPECT_EQ(pages.total_pages(), 0u);
    EXPECT_FALSE(pages.IsThere(1000 * kChunkPages));
    pages.CheckInvariants();
  }
  EXPECT_GT(failures, 5);  // a mapping for each level, the groups, and a piece of them
  EXPECT_EQ(pages.total_pages(), 0u);
  pages.Grow(1000);
  EXPECT_EQ(pages.free_pages(), kChunkPages);
  pages.CheckInvariants();
  pages.Discard();
}

TEST(PageAllocTest, RefusesChunksBeyondATebibyte) {
  PageAlloc pages;
  EXPECT_FALSE(Add(pages, kMaxChunks));
  EXPECT_TRUE(Add(pages, kMaxChunks - 1));
  bool zero;
  uint64_t back;
  EXPECT_EQ(pages.Allocate(1, 1, &zero, &back), (kMaxChunks - 1) * kChunkPages);
  pages.CheckInvariants();
  pages.Discard();
}

}  // namespace
}  // namespace plimsoll::alloc
