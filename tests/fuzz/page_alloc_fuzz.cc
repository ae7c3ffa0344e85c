// Fuzzes the page allocator beside a plain array of pages: bytes are operations, and after each one
// the two must agree and the invariants hold. The array knows the chunks of kPlaces alone, of which
// two are neighbours and the others make the tree climb to its second and third level.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/backing/page_source.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/page_alloc.h"

namespace plimsoll::alloc {
namespace {

void Require(bool fact) {
  if (!fact) abort();
}

enum class Page : uint8_t { kAbsent, kReleased, kIdle, kUsed };

// Remembers what it gave, and takes all of it back: a PageAlloc keeps its bookkeeping for ever.
class BorrowedPages {
 public:
  ~BorrowedPages() {
    for (const auto& [base, bytes] : given_) pages_.Unmap(base, bytes);
  }
  Mapping Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
    const Mapping m = pages_.Map(bytes, alignment, hint);
    if (m.base != nullptr) given_.emplace_back(m.base, bytes);
    return m;
  }
  static bool Release(void* base, ByteCount bytes) { return MmapPages::Release(base, bytes); }
  void Unmap(void*, ByteCount) {}
  bool Collapse(void*, ByteCount) { return false; }

 private:
  MmapPages pages_;
  std::vector<std::pair<void*, ByteCount>> given_;
};
static_assert(PageSource<BorrowedPages>);

class Model {
 public:
  void Run(unsigned op, uint64_t a, uint64_t b) {
    bool zero = false;
    uint64_t back = 0;
    switch (op % 8) {
      case 0:
        return Grow(a % kChunks);
      case 1: {  // exactly here
        const uint64_t first = a * 8 + b % 8;
        const uint64_t count = 1 + b;
        bool fits = first + count <= kPages;
        for (uint64_t i = first; fits && i < first + count; ++i) {
          fits = IsFree(i) && (i == first || FollowsOn(i));
        }
        Require(pages_.AllocateAt(NumberOf(first), count, &zero, &back) == fits);
        if (fits) Take(first, count, zero, back);
        return;
      }
      case 2:
      case 3: {
        if (runs_.empty()) return;
        auto it = runs_.lower_bound(a * 8);
        if (it == runs_.end()) it = runs_.begin();
        const bool released = b % 4 == 0;
        pages_.Free(NumberOf(it->first), it->second, released);
        Fill(it->first, it->second, released ? Page::kReleased : Page::kIdle);
        runs_.erase(it);
        return;
      }
      case 4:
        return Release(1 + a, b % 2 == 0 ? kPages : b * 8);
      case 5: {  // a dense stretch is dense, and holds no released page
        const std::optional<uint64_t> found = pages_.FindDense(&cursor_, 1 + a % 8);
        if (!found.has_value()) return;
        Require(*found % kHugePages == 0);
        const uint64_t first = IndexOf(*found);
        uint64_t used = 0;
        for (uint64_t i = first; i < first + kHugePages; ++i) {
          Require(reference_[i] == Page::kIdle || reference_[i] == Page::kUsed);
          used += reference_[i] == Page::kUsed;
        }
        Require(used >= kDensePages);
        return;
      }
      default: {
        const uint64_t count = 1 + (op & 8 ? a * 5 : a % 40);
        const uint64_t align = uint64_t{1} << (b % 3 == 0 ? b % 7 : 0);
        const std::optional<uint64_t> got = pages_.Allocate(count, align, &zero, &back);
        Require(got == LowestFit(count, align));
        if (got.has_value()) Take(IndexOf(*got), count, zero, back);
      }
    }
  }

  void Check() const {
    pages_.CheckInvariants();
    uint64_t free = 0;
    uint64_t idle = 0;
    uint64_t there = 0;
    for (uint64_t i = 0; i < kPages; ++i) {
      Require(pages_.InUse(NumberOf(i)) == (reference_[i] == Page::kUsed));
      Require(pages_.IsReleased(NumberOf(i)) == (reference_[i] == Page::kReleased));
      free += IsFree(i);
      idle += reference_[i] == Page::kIdle;
      there += reference_[i] != Page::kAbsent;
    }
    Require(pages_.free_pages() == free && pages_.unreleased_pages() == idle);
    Require(pages_.total_pages() == there);
  }

 private:
  static constexpr uint64_t kPlaces[] = {0, 1, 9, 64};
  static constexpr uint64_t kChunks = std::size(kPlaces);
  static constexpr uint64_t kPages = kChunks * kChunkPages;

  // The allocator's number of the array's i-th page, and back.
  static uint64_t NumberOf(uint64_t i) {
    return kPlaces[i / kChunkPages] * kChunkPages + i % kChunkPages;
  }
  static uint64_t IndexOf(uint64_t number) {
    for (uint64_t slot = 0; slot < kChunks; ++slot) {
      if (kPlaces[slot] == number / kChunkPages) return slot * kChunkPages + number % kChunkPages;
    }
    abort();  // a page of a chunk that was never added
  }
  // Whether page i > 0 of the array is the allocator's next after i - 1.
  static bool FollowsOn(uint64_t i) { return NumberOf(i) == NumberOf(i - 1) + 1; }

  bool IsFree(uint64_t i) const {
    return reference_[i] == Page::kIdle || reference_[i] == Page::kReleased;
  }
  void Fill(uint64_t first, uint64_t count, Page what) {
    for (uint64_t i = first; i < first + count; ++i) reference_[i] = what;
  }
  void Grow(uint64_t chunk) {
    if (reference_[chunk * kChunkPages] != Page::kAbsent) return;
    Require(pages_.Reserve(kPlaces[chunk], PageSourceRef(source_)));
    pages_.Grow(kPlaces[chunk]);
    Fill(chunk * kChunkPages, kChunkPages, Page::kReleased);
  }
  std::optional<uint64_t> LowestFit(uint64_t count, uint64_t align) const {
    uint64_t run = 0;
    for (uint64_t i = 0; i < kPages; ++i) {
      run = !IsFree(i) ? 0 : i == 0 || FollowsOn(i) ? run + 1 : 1;
      if (run == count + align - 1) return (NumberOf(i) + 1 - run + align - 1) & ~(align - 1);
    }
    return std::nullopt;
  }
  void Take(uint64_t first, uint64_t count, bool zero, uint64_t back) {
    uint64_t released = 0;
    for (uint64_t i = first; i < first + count; ++i) released += reference_[i] == Page::kReleased;
    Require(back == released && zero == (released == count));
    Fill(first, count, Page::kUsed);
    runs_[first] = count;
  }
  void Release(uint64_t most, uint64_t below) {
    std::optional<uint64_t> last;  // the highest idle page below decides
    for (uint64_t i = 0; i < below; ++i) {
      if (reference_[i] == Page::kIdle) last = i;
    }
    const std::optional<PageRun> got =
        pages_.TakeUnreleased(most, below == kPages ? UINT64_MAX : NumberOf(below));
    Require(got.has_value() == last.has_value());
    if (!got.has_value()) return;
    Require(got->count > 0 && got->count <= most);
    Require(IndexOf(got->first + got->count - 1) == *last);
    const uint64_t first = IndexOf(got->first);
    for (uint64_t i = first; i <= *last; ++i) Require(reference_[i] == Page::kIdle);
    pages_.Free(got->first, got->count, true);
    Fill(first, got->count, Page::kReleased);
  }

  BorrowedPages source_;
  PageAlloc pages_;
  std::vector<Page> reference_ = std::vector<Page>(kPages, Page::kAbsent);
  std::map<uint64_t, uint64_t> runs_;  // by the array's index
  uint64_t cursor_ = 0;
};

}  // namespace
}  // namespace plimsoll::alloc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 600) return 0;  // each step looks at every page
  plimsoll::alloc::Model model;
  for (size_t i = 0; i + 3 <= size; i += 3) {
    model.Run(data[i], data[i + 1], data[i + 2]);
    model.Check();
  }
  return 0;
}
