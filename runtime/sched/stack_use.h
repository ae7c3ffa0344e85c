// What goroutines use of their stacks, and how deep these have been: for reports and dumps.
//
//   StackUses uses;
//   StackUse each[64];
//   while (const size_t n = uses.Next(each, 64)) Add(each, n);
//
// To a page: from the pages that have memory (stack/touched_pages.h). A stack that was used before
//            shows the deepest of all the goroutines that had it, unless the ledger is kept.
// Ledger:    (PLIMSOLL_DEBUG=stackreport=1) each goroutine that ends is measured and counted by
// what
//            it ran and its label, and the next one on its stack finds that one untouched. An end
//            then costs some microseconds more. Where the ledger is not kept it costs nothing.
#ifndef PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_
#define PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/stack/stack_pool.h"
#include "plimsoll/runtime/stack/touched_pages.h"
#include "plimsoll/runtime/symbolize/symbolizer.h"

namespace plimsoll::sched {

struct G;

// Whether a slot that StackPool::ForEachSlot shows is a goroutine's now, or kept for the next one.
// It was so a moment ago. Any thread; reads the stack's highest page: ask of those alone in which
// that is in memory.
bool StackIsLive(const stack::Stack& slot);

// Of one goroutine that lives. Bytes, from the stack's upper end down.
struct StackUse {
  uint64_t id = 0;
  const internal::EntryOps* entry = nullptr;  // what it runs; null: it is being made
  char label[32] = {};
  uint64_t size = 0;
  uint64_t deepest = 0;  // a multiple of the page; 0: not known
  uint64_t now = 0;      // where it stands; in a BlockingCall, where it entered it
};

// A walk over the goroutines that live, without the runtime's own.
class StackUses {
 public:
  // The next ones, at most `n`; 0: there are no more. Stops the world for a moment, again for each
  // 64 stacks. On a goroutine or a foreign thread, while the scheduler runs; not in a BlockingCall.
  size_t Next(StackUse* out, size_t n);

  // What `deepest` is a multiple of.
  static uint64_t page_bytes() { return stack::PageBytes(); }
  // Whether `deepest` can be told here.
  bool known() const { return pages_.source() != stack::TouchedPages::Source::kNone; }

 private:
  stack::StackPool::Walk walk_;
  stack::TouchedPages pages_;
};

// The goroutines of one kind that ended: those that ran the same and had the same label.
struct EndedStacks {
  const internal::EntryOps* entry = nullptr;  // null: of all kinds beyond the 512th
  char label[32] = {};
  uint64_t goroutines = 0;
  uint64_t size = 0;     // the greatest
  uint64_t deepest = 0;  // likewise
};

// Keeps the ledger from now on. Before Run.
void KeepStackLedger();
bool StackLedgerKept();
// The i-th kind, in no order. False: there are not so many. Any thread.
bool EndedKind(size_t i, EndedStacks* out);

// Names what goroutines run. Wants a few KiB by itself, and 16 KiB of stack.
class EntryNames {
 public:
  // "main::{lambda#1}::operator()"; empty: not known. Valid until the next call.
  std::string_view NameOf(const internal::EntryOps* entry);

 private:
  symbolize::Symbolizer symbols_;
  symbolize::Location where_;
  char name_[544];
};

// For dumps of a process that ends, as traceback.h: the goroutines with the deepest stacks, by
// label, and all of them together.
void PrintDeepestStacks();

// To stderr, where the ledger is kept: every kind that ended or lives, the deepest first. On a
// goroutine; stops the world.
void PrintStackLedger();

// For whoever tells of g's overflow: how it gets a bigger stack.
void PrintHowToGetMore(const G* g);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_STACK_USE_H_
