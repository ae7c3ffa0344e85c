#include "plimsoll/alloc/page_alloc.h"

#include <algorithm>
#include <bit>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"

namespace plimsoll::alloc {
namespace {

constexpr uint64_t kFanout = 8;
constexpr uint64_t kMachinePage = 4096;

constexpr uint64_t LevelSize(int level) {
  uint64_t size = kMaxChunks;
  for (int i = 0; i < level; ++i) size = (size + kFanout - 1) / kFanout;
  return size;
}
constexpr uint64_t PagesAt(int level) {
  uint64_t pages = kChunkPages;
  for (int i = 0; i < level; ++i) pages *= kFanout;
  return pages;
}

// Bits [from, to) of a word.
constexpr uint64_t Mask(uint64_t from, uint64_t to) {
  const uint64_t high = to >= 64 ? ~uint64_t{0} : (uint64_t{1} << to) - 1;
  return high & ~((uint64_t{1} << from) - 1);
}

// Calls f(word index, mask) for each word of the chunk that [from, to) touches.
template <typename F>
void ForWords(uint64_t from, uint64_t to, F f) {
  for (uint64_t w = from / 64; w * 64 < to; ++w) {
    f(w, Mask(from > w * 64 ? from - w * 64 : 0, std::min<uint64_t>(to - w * 64, 64)));
  }
}

// Calls f(chunk, from, to) for each chunk that pages [first, first + count) touch.
template <typename F>
void ForChunks(uint64_t first, uint64_t count, F f) {
  while (count > 0) {
    const uint64_t from = first % kChunkPages;
    const uint64_t n = std::min(count, kChunkPages - from);
    f(first / kChunkPages, from, from + n);
    first += n;
    count -= n;
  }
}

}  // namespace

static_assert(LevelSize(6) == 1, "seven levels reach over all chunks");

void PageAlloc::Discard() {
  MmapPages pages;
  for (int level = 0; level < kMaxLevels; ++level) {
    if (levels_[level] == nullptr) continue;
    const uint64_t bytes =
        (LevelSize(level) * sizeof(Summary) + kMachinePage - 1) & ~(kMachinePage - 1);
    pages.Unmap(levels_[level], ByteCount(bytes));
  }
  if (groups_ != nullptr) {
    pages.Unmap(groups_,
                ByteCount(kMaxChunks / kGroup * sizeof(Group*)));  // groups themselves stay
  }
}

bool PageAlloc::Prepare(PageSourceRef source) {
  if (groups_ != nullptr) return true;
  for (int level = 0; level < kMaxLevels; ++level) {
    if (levels_[level] != nullptr) continue;
    const uint64_t bytes =
        (LevelSize(level) * sizeof(Summary) + kMachinePage - 1) & ~(kMachinePage - 1);
    levels_[level] =
        static_cast<Summary*>(source.Map(ByteCount(bytes), ByteCount(kMachinePage)).base);
    if (levels_[level] == nullptr) return false;
  }
  groups_ = static_cast<Group**>(
      source.Map(ByteCount(kMaxChunks / kGroup * sizeof(Group*)), ByteCount(kMachinePage)).base);
  return groups_ != nullptr;
}

bool PageAlloc::Reserve(uint64_t chunk, PageSourceRef source) {
  if (chunk >= kMaxChunks || !Prepare(source)) return false;
  Group*& group = groups_[chunk / kGroup];
  if (group != nullptr) return true;
  if (static_cast<uint64_t>(group_end_ - group_next_) < sizeof(Group)) {
    constexpr uint64_t kPiece = uint64_t{64} << 10;
    const Mapping m = source.Map(ByteCount(kPiece), ByteCount(kMachinePage));
    if (m.base == nullptr) return false;
    group_next_ = static_cast<char*>(m.base);
    group_end_ = group_next_ + kPiece;
  }
  group = reinterpret_cast<Group*>(group_next_);
  group_next_ += sizeof(Group);
  return true;
}

void PageAlloc::Grow(uint64_t chunk) {
  PLIMSOLL_CHECK(chunk < kMaxChunks && groups_ != nullptr && groups_[chunk / kGroup] != nullptr,
                 "chunk ", chunk, " was not reserved");
  Group* group = groups_[chunk / kGroup];
  ChunkBits& bits = group->chunks[chunk % kGroup];
  PLIMSOLL_CHECK(!bits.present, "chunk ", chunk, " twice");
  bits.present = true;
  for (uint64_t& word : bits.released) word = ~uint64_t{0};
  free_ += kChunkPages;
  total_ += kChunkPages;

  const uint64_t old_limit = chunk_limit_;
  chunk_limit_ = std::max(chunk_limit_, chunk + 1);
  int height = 1;
  for (uint64_t reach = 1; reach < chunk_limit_; reach *= kFanout) ++height;
  if (height > height_) {
    height_ = height;
    // The new top knows nothing of the old one until told.
    if (old_limit > 0) Update(0, 0, /*to_top=*/true);
  }
  Update(chunk, chunk, /*to_top=*/true);
}

PageAlloc::Summary PageAlloc::Summarise(const ChunkBits& bits) {
  Summary sum;
  uint32_t run = 0;  // free pages up to here
  bool all_free_so_far = true;
  for (uint64_t used : bits.in_use) {
    if (used == 0) {
      run += 64;
      continue;
    }
    uint64_t left = 64;
    while (left > 0) {
      // Free pages from here, then pages in use.
      const uint64_t free_here =
          used == 0 ? left : std::min<uint64_t>(std::countr_zero(used), left);
      run += free_here;
      left -= free_here;
      if (left == 0) break;
      used >>= free_here;
      if (all_free_so_far) sum.start = run;
      all_free_so_far = false;
      sum.max = std::max(sum.max, run);
      run = 0;
      const uint64_t used_here = std::min<uint64_t>(std::countr_one(used), left);
      left -= used_here;
      used = used_here == 64 ? 0 : used >> used_here;
    }
  }
  sum.end = run;
  sum.max = std::max(sum.max, run);
  if (all_free_so_far) sum.start = run;
  return sum;
}

PageAlloc::Summary PageAlloc::Merge(int level, uint64_t index) const {
  const Summary* child = &levels_[level - 1][index * kFanout];
  const uint64_t children =
      std::min(kFanout, LevelSize(level - 1) - index * kFanout);  // the last has fewer
  const auto whole = static_cast<uint32_t>(PagesAt(level - 1));
  Summary sum;
  uint32_t run = 0;
  bool all_free_so_far = true;
  for (uint64_t i = 0; i < children; ++i) {
    const Summary& c = child[i];
    if (c.start == whole) {
      run += whole;
      continue;
    }
    if (all_free_so_far) sum.start = run + c.start;
    all_free_so_far = false;
    sum.max = std::max({sum.max, run + c.start, c.max});
    run = c.end;
  }
  sum.end = run;
  sum.max = std::max(sum.max, run);
  if (all_free_so_far) sum.start = run;
  return sum;
}

// by (1), (2). What a level did not change, the levels above it did not either; `to_top` says that
// the levels above are new and know nothing yet.
void PageAlloc::Update(uint64_t first_chunk, uint64_t last_chunk, bool to_top) {
  bool changed = false;
  for (uint64_t c = first_chunk; c <= last_chunk; ++c) {
    const ChunkBits* bits = Bits(c);
    const Summary sum = bits == nullptr ? Summary{} : Summarise(*bits);
    changed |= !(levels_[0][c] == sum);
    levels_[0][c] = sum;
  }
  uint64_t first = first_chunk;
  uint64_t last = last_chunk;
  for (int level = 1; level < height_ && (changed || to_top); ++level) {
    first /= kFanout;
    last /= kFanout;
    changed = false;
    for (uint64_t i = first; i <= last; ++i) {
      const Summary sum = Merge(level, i);
      changed |= !(levels_[level][i] == sum);
      levels_[level][i] = sum;
    }
  }
}

// The lowest run of `count` free pages. At each level: the first place where a child holds one, or
// where the end of some children and the start of the next do together.
std::optional<uint64_t> PageAlloc::Find(uint64_t count) const {
  if (height_ == 0 || levels_[height_ - 1][0].max < count) return std::nullopt;
  uint64_t index = 0;
  for (int level = height_ - 1; level > 0; --level) {
    const uint64_t whole = PagesAt(level - 1);
    const uint64_t first_child = index * kFanout;
    const uint64_t children = std::min(kFanout, LevelSize(level - 1) - first_child);
    uint64_t run = 0;
    bool descended = false;
    for (uint64_t i = 0; i < children; ++i) {
      const Summary& c = levels_[level - 1][first_child + i];
      if (run + c.start >= count) return (first_child + i) * whole - run;
      if (c.max >= count) {
        index = first_child + i;
        descended = true;
        break;
      }
      run = c.start == whole ? run + whole : c.end;
    }
    PLIMSOLL_CHECK(descended, "page summaries: level ", level, " promised ", count, " pages");
  }
  const ChunkBits& bits = *Bits(index);
  uint64_t run = 0;
  for (uint64_t w = 0; w < kWords; ++w) {
    uint64_t used = bits.in_use[w];
    if (used == 0) {
      run += 64;
      if (run >= count) return index * kChunkPages + (w + 1) * 64 - run;
      continue;
    }
    if (run + std::countr_zero(used) >= count) return index * kChunkPages + w * 64 - run;
    // A run of `count` ones within the word of free bits: halve until what is left are run starts.
    if (count <= 64) {
      uint64_t free_bits = ~used;
      uint64_t have = 1;
      while (have < count && free_bits != 0) {
        const uint64_t step = std::min(have, count - have);
        free_bits &= free_bits >> step;
        have += step;
      }
      if (free_bits != 0) return index * kChunkPages + w * 64 + std::countr_zero(free_bits);
    }
    run = std::countl_zero(used);
  }
  PLIMSOLL_CHECK(false, "page summaries: chunk ", index, " promised ", count, " pages");
  return std::nullopt;
}

void PageAlloc::Take(uint64_t first, uint64_t count, bool* zero, uint64_t* taken_back) {
  uint64_t released = 0;
  ForChunks(first, count, [&](uint64_t chunk, uint64_t from, uint64_t to) {
    ChunkBits& bits = *Bits(chunk);
    ForWords(from, to, [&](uint64_t w, uint64_t mask) {
      PLIMSOLL_DCHECK((bits.in_use[w] & mask) == 0);
      bits.in_use[w] |= mask;
      released += std::popcount(bits.released[w] & mask);
      bits.released[w] &= ~mask;  // by (3)
    });
  });
  free_ -= count;
  unreleased_ -= count - released;
  *zero = released == count;
  *taken_back = released;
  Update(first / kChunkPages, (first + count - 1) / kChunkPages, false);
}

std::optional<uint64_t> PageAlloc::Allocate(uint64_t count, uint64_t align, bool* zero,
                                            uint64_t* taken_back) {
  // An aligned run lies within any run that is longer by align - 1; the rest stays free.
  std::optional<uint64_t> found = Find(count + align - 1);
  if (!found.has_value()) return std::nullopt;
  const uint64_t first = (*found + align - 1) & ~(align - 1);
  Take(first, count, zero, taken_back);
  return first;
}

bool PageAlloc::RunIsFree(uint64_t first, uint64_t count) const {
  bool all_free = true;
  ForChunks(first, count, [&](uint64_t chunk, uint64_t from, uint64_t to) {
    const ChunkBits* bits = Bits(chunk);
    if (bits == nullptr) {
      all_free = false;
      return;
    }
    ForWords(from, to,
             [&](uint64_t w, uint64_t mask) { all_free &= (bits->in_use[w] & mask) == 0; });
  });
  return all_free;
}

bool PageAlloc::AllocateAt(uint64_t first, uint64_t count, bool* zero, uint64_t* taken_back) {
  if (!RunIsFree(first, count)) return false;
  Take(first, count, zero, taken_back);
  return true;
}

void PageAlloc::Free(uint64_t first, uint64_t count, bool released) {
  ForChunks(first, count, [&](uint64_t chunk, uint64_t from, uint64_t to) {
    ChunkBits& bits = *Bits(chunk);
    ForWords(from, to, [&](uint64_t w, uint64_t mask) {
      PLIMSOLL_CHECK((bits.in_use[w] & mask) == mask, "page of chunk ", chunk, " freed twice");
      bits.in_use[w] &= ~mask;
      if (released) bits.released[w] |= mask;
      if (released) {
        const auto others = static_cast<uint8_t>(~(1u << (w * 64 / kHugePages)));
        bits.dense &= others;
        bits.found &= others;
      }
    });
  });
  free_ += count;
  if (!released) unreleased_ += count;
  Update(first / kChunkPages, (first + count - 1) / kChunkPages, false);
}

std::optional<PageRun> PageAlloc::TakeUnreleased(uint64_t most, uint64_t below) {
  if (unreleased_ == 0) return std::nullopt;
  below = std::min(below, chunk_limit_ * kChunkPages);
  uint64_t chunk = (below + kChunkPages - 1) / kChunkPages;
  while (chunk-- > 0) {
    const ChunkBits* bits = Bits(chunk);
    if (bits == nullptr || levels_[0][chunk].max == 0) continue;
    for (int w = kWords - 1; w >= 0; --w) {
      const uint64_t base = chunk * kChunkPages + w * 64;
      if (base >= below) continue;
      uint64_t candidates = ~(bits->in_use[w] | bits->released[w]);
      if (below - base < 64) candidates &= Mask(0, below - base);
      if (candidates == 0) continue;
      // The highest run: down from its last page, over words, within the chunk.
      const uint64_t last = base + 63 - std::countl_zero(candidates);
      uint64_t first = last;
      while (first > chunk * kChunkPages && last - first + 1 < most) {
        const uint64_t page = (first - 1) % kChunkPages;
        if (((bits->in_use[page / 64] | bits->released[page / 64]) >> (page % 64) & 1) != 0) break;
        --first;
      }
      bool zero;
      uint64_t taken_back;
      Take(first, last - first + 1, &zero, &taken_back);
      return PageRun{first, last - first + 1};
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> PageAlloc::FindDense(uint64_t* cursor, uint64_t most) {
  const uint64_t all = chunk_limit_ * (kChunkPages / kHugePages);
  constexpr uint64_t kHugeWords = kHugePages / 64;
  for (uint64_t i = 0; i < std::min(most, all); ++i) {
    const uint64_t huge = (*cursor)++ % all;
    ChunkBits* bits = Bits(huge * kHugePages / kChunkPages);
    if (bits == nullptr) continue;
    const uint64_t part = huge % (kChunkPages / kHugePages);
    uint64_t used = 0;
    uint64_t released = 0;
    for (uint64_t w = part * kHugeWords; w < (part + 1) * kHugeWords; ++w) {
      used += std::popcount(bits->in_use[w]);
      released |= bits->released[w];
    }
    const auto bit = static_cast<uint8_t>(1u << part);
    const bool dense = used >= kDensePages && released == 0;
    const bool was_dense = (bits->dense & bit) != 0;
    bits->dense = static_cast<uint8_t>(dense ? bits->dense | bit : bits->dense & ~bit);
    if (!dense || !was_dense || (bits->found & bit) != 0) continue;
    bits->found |= bit;
    return huge * kHugePages;
  }
  return std::nullopt;
}

bool PageAlloc::InUse(uint64_t page) const {
  const ChunkBits* bits = Bits(page / kChunkPages);
  return bits != nullptr && (bits->in_use[page % kChunkPages / 64] >> (page % 64) & 1) != 0;
}

bool PageAlloc::IsReleased(uint64_t page) const {
  const ChunkBits* bits = Bits(page / kChunkPages);
  return bits != nullptr && (bits->released[page % kChunkPages / 64] >> (page % 64) & 1) != 0;
}

void PageAlloc::CheckInvariants() const {
  uint64_t free_pages = 0;
  uint64_t unreleased = 0;
  for (uint64_t c = 0; c < chunk_limit_; ++c) {
    const ChunkBits* bits = Bits(c);
    PLIMSOLL_CHECK(levels_[0][c] == (bits == nullptr ? Summary{} : Summarise(*bits)));  // (1)
    for (int w = 0; bits != nullptr && w < kWords; ++w) {
      PLIMSOLL_CHECK((bits->in_use[w] & bits->released[w]) == 0);  // (3)
      free_pages += std::popcount(~bits->in_use[w]);
      unreleased += std::popcount(~(bits->in_use[w] | bits->released[w]));
    }
  }
  for (int level = 1; level < height_; ++level) {
    for (uint64_t i = 0; i * PagesAt(level) < chunk_limit_ * kChunkPages; ++i) {
      PLIMSOLL_CHECK(levels_[level][i] == Merge(level, i), "level ", level, " at ", i);  // (2)
    }
  }
  PLIMSOLL_CHECK(free_pages == free_ && unreleased == unreleased_);
}

}  // namespace plimsoll::alloc
