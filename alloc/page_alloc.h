// PageAlloc knows which pages are free: numbers only, no memory of the heap is touched.
//
//   PageAlloc pages;
//   if (pages.Reserve(chunk, source)) pages.Grow(chunk);
//   std::optional<uint64_t> at = pages.Allocate(10, /*align=*/1, &all_zero);   // lowest place that
//   fits pages.Free(*at, 10);
//
//   level 2            [ start max end ]                        free pages at the start of its
//   range, level 1     [s m e]     ...      [s m e]                    the longest run within, and
//   at its end level 0   [sme] [sme] ... [sme] [sme] ...                   one for each chunk of
//   512 pages bitmaps    in use: 512 bits | released: 512 bits            released: the system has
//   the memory back,
//                                                              and the page reads as zero
//
// A radix tree of summaries, eight wide, as in Go's page heap ("Scaling the page allocator", design
// 35112), in two things different: it is as high as the heap is large, so that a heap of 256 MiB
// climbs three levels and not five, and an update ends at the first level that it does not change.
// A list or tree of free runs was not taken: it needs a node for each run, in memory that must come
// from somewhere, and finds no run by address; here a hole costs its bits and nothing else.
//
// Order:   the lowest address that fits. Holes near the start are filled first, so that the far
//          end of the heap empties and can be released.
// Threads: one at a time: the holder of MHeap's lock.
// Memory:  its own mappings; a few bytes for each chunk.
//
// Invariants, proved by CheckInvariants():
//   (1) A level-0 summary tells what the chunk's in-use bits tell.
//   (2) A summary above tells what its eight children tell.
//   (3) A released page is not in use.
#ifndef PLIMSOLL_ALLOC_PAGE_ALLOC_H_
#define PLIMSOLL_ALLOC_PAGE_ALLOC_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "plimsoll/alloc/backing/page_source.h"
#include "plimsoll/alloc/base/units.h"

namespace plimsoll::alloc {

inline constexpr uint64_t kChunkPages = 512;               // 4 MiB
inline constexpr uint64_t kMaxChunks = uint64_t{1} << 18;  // 1 TiB of heap

inline constexpr uint64_t kHugePages = 256;   // 2 MiB, the kernel's huge page
inline constexpr uint64_t kDensePages = 246;  // 96 % of it
static_assert(kChunkPages % kHugePages == 0);

// A run of pages: numbers, not addresses.
struct PageRun {
  uint64_t first = 0;
  uint64_t count = 0;
};

class PageAlloc {
 public:
  constexpr PageAlloc() = default;
  PageAlloc(const PageAlloc&) = delete;
  PageAlloc& operator=(const PageAlloc&) = delete;

  // Gets the memory for the bits of chunk number `chunk` from `source`, and changes nothing else:
  // Grow(chunk) cannot fail any more. False: there is none, or `chunk` is too high.
  bool Reserve(uint64_t chunk, PageSourceRef source);

  // Adds chunk number `chunk`, all free and released. Chunks may be added in any order, and those
  // between may stay away for ever. Requires: Reserve(chunk) was true.
  void Grow(uint64_t chunk);

  // Takes `count` pages, the first a multiple of `align` (a power of two). nullopt: no run is long
  // enough. `*zero` tells whether all of them read as zero; `*taken_back`, how many were released.
  std::optional<uint64_t> Allocate(uint64_t count, uint64_t align, bool* zero,
                                   uint64_t* taken_back);

  // Takes exactly these pages, if they are all there and free. As Allocate otherwise.
  bool AllocateAt(uint64_t first, uint64_t count, bool* zero, uint64_t* taken_back);

  // Requires: the pages are in use. `released`: the system has their memory.
  void Free(uint64_t first, uint64_t count, bool released);

  // Takes a run of up to `most` free pages that are not released, from the highest address down,
  // below `below`. For the scavenger, who releases it and then calls Free(..., true).
  std::optional<PageRun> TakeUnreleased(uint64_t most, uint64_t below);

  // Looks at up to `most` huge pages from the `*cursor`-th on, and moves it. The first page of one
  // that was dense when it was looked at before and is now, and that was not found since a page of
  // it was last released: at least kDensePages in use, and none with the system, so that a collapse
  // takes no memory that is not held already. nullopt: there is none among them.
  std::optional<uint64_t> FindDense(uint64_t* cursor, uint64_t most);

  uint64_t free_pages() const { return free_; }
  uint64_t unreleased_pages() const { return unreleased_; }  // free, and still in memory
  uint64_t total_pages() const { return total_; }
  bool InUse(uint64_t page) const;
  bool IsThere(uint64_t page) const { return Bits(page / kChunkPages) != nullptr; }
  bool IsReleased(uint64_t page) const;                  // free, and its memory is with the system
  uint64_t chunk_limit() const { return chunk_limit_; }  // chunks are below this

  void CheckInvariants() const;

  // Unmaps the bookkeeping, after which nothing may be called. A heap never does; tests do.
  void Discard();

 private:
  static constexpr int kWords = kChunkPages / 64;
  static constexpr int kMaxLevels = 7;  // 8^6 chunks

  struct Summary {
    uint32_t start = 0, max = 0, end = 0;  // pages; all 0: nothing is free
    friend bool operator==(const Summary&, const Summary&) = default;
  };
  struct ChunkBits {
    uint64_t in_use[kWords];
    uint64_t released[kWords];
    bool present;
    uint8_t dense;  // a bit for each huge page: dense when FindDense last came by
    uint8_t found;  // and: returned by FindDense since
  };
  // Bits of 16 chunks come in one piece.
  static constexpr uint64_t kGroup = 16;
  struct Group {
    ChunkBits chunks[kGroup];
  };

  ChunkBits* Bits(uint64_t chunk) const {
    Group* group = chunk < chunk_limit_ ? groups_[chunk / kGroup] : nullptr;
    return group == nullptr || !group->chunks[chunk % kGroup].present
               ? nullptr
               : &group->chunks[chunk % kGroup];
  }
  bool Prepare(PageSourceRef source);
  static Summary Summarise(const ChunkBits& bits);
  Summary Merge(int level, uint64_t index) const;
  void Update(uint64_t first_chunk, uint64_t last_chunk, bool to_top);
  std::optional<uint64_t> Find(uint64_t count) const;
  bool RunIsFree(uint64_t first, uint64_t count) const;
  void Take(uint64_t first, uint64_t count, bool* zero, uint64_t* taken_back);

  Summary* levels_[kMaxLevels] = {};
  Group** groups_ = nullptr;
  char* group_next_ = nullptr;  // storage for groups not made yet
  char* group_end_ = nullptr;
  int height_ = 0;  // levels in use; the top has one summary
  uint64_t chunk_limit_ = 0;
  uint64_t free_ = 0;
  uint64_t unreleased_ = 0;
  uint64_t total_ = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_PAGE_ALLOC_H_
