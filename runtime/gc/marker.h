// The Marker turns roots into marks: what is reached is marked, what is marked is scanned.
//
//   Marker marker(fault);
//   marker.Root(address); marker.Scan(lo, hi);        // whatever the world shows
//   marker.Drain();
//   marker.marked().bytes;
//
//   pointer found      span's record prefetched       mark set          record, objects prefetched
//   ---> found_[16], first in first out ---> Follow -+-> SpanQueue, first in first out --->
//   ScanSpan --+
//     ^                                              |   small objects: their span waits once | |
//     +-> MarkStack ---> next_[8] ---> ScanObject ------+ | others        object prefetched |
//     +------------------------------------------------------------------------------------------------+
//
// Each queue gives a line time to come: a marker waits for memory more than for anything else (Go's
// takes 120 ns an object, of which the instructions are a tenth). A span that waits collects more
// grey objects; they are scanned in the order of their addresses, and pointers from one to another
// of the same span are followed at once (Go's "Green Tea", golang/go#73581).
//
// Invariants:
//   (1) Black: marked and scanned; grey: marked, and in the stack or in next_, or in a span that
//   waits
//       or is being scanned (scan_claim.h); white: not marked. When
//       Drain returns nothing is grey, and nothing found is left to follow.
//       With others at work, that holds once the pool, or the crew, says that all are done.
//   (2) Any word may be followed: what is no address of an object in use is dropped.
#ifndef PLIMSOLL_RUNTIME_GC_MARKER_H_
#define PLIMSOLL_RUNTIME_GC_MARKER_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "plimsoll/alloc/collectable.h"
#include "plimsoll/alloc/span_map.h"
#include "plimsoll/runtime/gc/fault.h"
#include "plimsoll/runtime/gc/mark_pool.h"
#include "plimsoll/runtime/gc/mark_stack.h"
#include "plimsoll/runtime/gc/span_queue.h"
#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc::internal {

class Crew;

class Marker final : public RangeSink, public alloc::TraceSink {
 public:
  explicit Marker(Fault fault) : fault_(fault) {}
  // One of several that share their work.
  explicit Marker(MarkPool& pool) : pool_(&pool), fault_(Fault::kNone) {}
  // One of a crew, beside a program that runs. It calls no gc_trace: of a traced object it follows
  // every word, since its program may be changing what gc_trace would go by.
  explicit Marker(Crew& crew) : crew_(&crew), fault_(Fault::kNone) {}

  // Follows one word.
  void Root(uintptr_t address);
  // RangeSink: follows every aligned word of [lo, hi).
  void Scan(uintptr_t lo, uintptr_t hi) override;
  // RangeSink: of a crew, follows the word that each of those words is the address of, too.
  void ScanInterrupted(uintptr_t lo, uintptr_t hi) override;
  // TraceSink: follows *word.
  void Visit(const void* const* word) override;

  // Of a crew, in a stopped world: the words that Root and Scan are shown from now on, or until
  // they are to be followed at once again, are kept in its stack. Who drains it follows them,
  // beside the program. Beyond kMostKept they are followed at once: it is memory that a stop takes.
  static constexpr uint32_t kMostKept = 256 << 10;
  void KeepWords(bool keep);

  // Marks and scans until nothing is grey. With a pool: until nothing is grey here; then the rest
  // is TakeAndDrain's.
  void Drain();
  // Of a crew: as Drain, but for about `bytes` of objects. What it leaves is in its stack. `alone`:
  // nobody else sets mark bits meanwhile.
  void DrainSome(size_t bytes, bool alone);
  // Of a crew: marks what was found, so that what it holds is in its stack.
  void Settle();
  bool HasWork() const { return !stack_.empty() || !spans_.empty(); }
  MarkStack& stack() { return stack_; }
  // Moves what has waited longest to `to`, for another; as much as the half of it, if that is less.
  // A span is a Grey without a shape, and so is a word that was kept.
  size_t TakeOldest(Grey* to, size_t most);
  // What it has marked since it was last asked.
  MarkPool::Sum TakeMarked() { return std::exchange(marked_, MarkPool::Sum()); }
  // Takes work from the pool until the round is over; `working`: this marker has had some in it.
  void TakeAndDrain(bool working);

  // Alone: all that was marked. With a pool: see MarkPool::Total().
  MarkPool::Sum marked() const { return marked_; }

 private:
  static constexpr size_t kFound = 16;
  static constexpr size_t kNext = 8;
  struct Found {
    uintptr_t address;
    alloc::Span* span;
  };

  // How it marks: alone, beside others, alone with a fault, beside others and the program, or
  // beside a program that does not run meanwhile.
  enum class Way { kAlone, kShared, kFaulty, kBeside, kBesideAlone };

  template <Way kWay>
  void Find(uintptr_t word);
  template <Way kWay>
  void Follow(Found found);
  template <Way kWay>
  void ScanWords(uintptr_t lo, uintptr_t hi);
  void Keep(uintptr_t word);
  template <Way kWay>
  void ScanObject(Grey grey);
  // Scans what is grey in a span, and what becomes grey in it meanwhile, for as much as is left of
  // the budget; then it waits again.
  template <Way kWay>
  void ScanSpan(alloc::Span* span, size_t& budget);
  // The one that has waited longest.
  template <Way kWay>
  void ScanNextSpan(size_t& budget);
  template <Way kWay>
  void Enqueue(alloc::Span* span);
  template <Way kWay>
  bool FollowFound();
  // `budget`: in bytes.
  template <Way kWay>
  void DrainAll(size_t budget = SIZE_MAX);
  // Calls f.operator()<kWay>() for the way of this marker.
  template <typename F>
  void InItsWay(F f);
  // True once in a cycle, at the `nth` time of asking.
  bool Strikes(Fault fault, uint64_t nth = 1);

  MarkStack stack_;
  SpanQueue spans_;
  Found found_[kFound] = {};
  size_t found_at_ = 0;  // the oldest; null where there is none
  MarkPool::Sum marked_;
  MarkPool* pool_ = nullptr;
  Crew* crew_ = nullptr;
  bool keeps_ = false;
  uint32_t kept_ = 0;        // words since KeepWords(true)
  alloc::KnownRange known_;  // where a word that is kept may lie
  Fault fault_;
  uint64_t asked_ = 0;
};

// Calls f(arg, word) for each word of `grey` that may hold a pointer, in the plain way: for checks.
void ForEachWord(Grey grey, void (*f)(void* arg, uintptr_t word, uintptr_t at), void* arg);

// The end of what is to be scanned at `grey`.
uintptr_t EndOf(Grey grey);

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_MARKER_H_
