// TouchedPages tells how deep a stack has been: the kernel knows which of its pages have memory.
//
//   TouchedPages pages;
//   if (pages.source() != TouchedPages::Source::kNone) depth = s.hi - pages.Lowest(s);
//
//    lo                                                    hi
//     +--------+--------+ … +--------+--------+ … +--------+
//     |   no memory         | touched, maybe with holes    |     a frame may leave pages out:
//     +--------+--------+ … +--------+--------+ … +--------+     the lowest that has memory counts
//                           ^ Lowest
//
// To:        a page. What a stack was used for before its memory was last given back counts, too,
//            so a stack that several goroutines had one after the other shows the deepest of them.
// Source:    /proc/self/pagemap, which also knows pages that were swapped out; where it cannot be
//            read, mincore, which does not; where mincore tells what is not true (gVisor says of
//            every page that it is there), or pages are bigger than a guard, nothing.
// Cost:      1.7 us for a stack of the default size; by Fill, 0.4 us each for neighbours (pagemap;
//            mincore: twice that). None while a stack is used.
// Memory:    a KiB of stack, no lock, raw system calls: callable in handlers.
// Threads:   any.
#ifndef PLIMSOLL_RUNTIME_STACK_TOUCHED_PAGES_H_
#define PLIMSOLL_RUNTIME_STACK_TOUCHED_PAGES_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/stack/stack_pool.h"

namespace plimsoll::stack {

class TouchedPages {
 public:
  enum class Source : uint8_t { kNone, kMincore, kPagemap };

  // The best source of those up to `most`, whose answers about two pages of our own are right.
  explicit TouchedPages(Source most = Source::kPagemap);
  ~TouchedPages();
  TouchedPages(const TouchedPages&) = delete;
  TouchedPages& operator=(const TouchedPages&) = delete;

  Source source() const { return source_; }

  // Where the lowest touched page of the stack begins; hi: none is touched, or nothing is known.
  // The canary of a stack without a guard touches its lowest page: that one counts where the page
  // above it does.
  uintptr_t Lowest(const Stack& stack) const;

  // One byte for each of the `pages` from `lo` on: 1 where it is touched, 0 where not. They may be
  // many stacks', with their guards, of which it says nothing true. False: the kernel did not tell.
  // Wants 5 KiB of stack.
  bool Fill(uintptr_t lo, size_t pages, unsigned char* out) const;

 private:
  // `entries`: room for what pagemap says.
  bool FillBy(uintptr_t lo, size_t pages, unsigned char* out, uint64_t* entries, size_t room) const;
  uintptr_t LowestIn(uintptr_t lo, uintptr_t hi) const;
  bool TellsTheTruth() const;

  Source source_ = Source::kNone;
  int pagemap_ = -1;
};

// The system's page, in bytes.
uintptr_t PageBytes();

}  // namespace plimsoll::stack

#endif  // PLIMSOLL_RUNTIME_STACK_TOUCHED_PAGES_H_
