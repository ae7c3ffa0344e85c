// What a collector may see of a heap: objects by any address within them, their shapes and mark
// bits, allocation, and sweeping.
//
//   const ObjectShape* shape = ShapeFor(layout, size_class);       // once for each type and class
//   void* p = AllocateCollected(shape, bytes);               // zeroed; nullptr: no memory
//
//   BeginMark();                                             // all swept, caches flushed
//   if (FindObject(word, &object) && Mark(object)) ...       // grey: scan what its shape names
//   EndMark();                                               // every span is now unswept
//   while (SweepSome(64)) { ... }                            // or let allocation do it
//
//    Span (alloc/span.h)          collected spans hold objects of one shape: a size class and where
//    +-------------------+        in each object the pointers are
//    | base, magic       |
//    | shape ------------+------> ObjectShape: kind, mask or function, size
//    | alloc   n bits    |        in use, or in the hand of a cache
//    | marks   n bits    |        reached in this cycle
//    | scanned n bits    |        of small objects: claimed by a marker, or not to be looked at
//    | epoch             |        the cycle after which the span was swept
//    | waiting           |        a marker has it in a queue (runtime/gc/scan_claim.h)
//    +-------------------+
//
// One cycle, as bits see it (C is a cache's word in hand, `local` its objects not yet given out):
//
//   moment          alloc                   marks                who writes
//   refill          |= free of the word     |= the same, while   the cache, which holds the span
//                                           marking
//   allocation      -                       -                    (local alone, in the cache)
//   flush of C      &= ~local               &= ~local            who stopped the world
//   mark            -                       |= reached           markers, by an atomic OR
//   sweep           = marks                 = 0                  who took the span off `unswept`
//
// Invariants, and DESIGN.md ("The collected heap") tells why:
//   (1) An object is in use while its alloc bit is 1 and it is in no cache's `local`.
//   (2) Marking begins when every span is swept (epoch is the current one), all its marks and
//       `scanned` are 0, and it does not wait.
//   (3) A span is in one place: a cache's slot, its shape's partial, full or unswept queue, or in
//       the hand of one sweeper, or of who makes a large object and clears it.
//   (4) A span's epoch is the current one or the one before; none is allocated from before it is
//       swept.
//   (5) An object in use reads as what its program wrote, else as zero: allocation clears it before
//       anyone else may see its address, and cannot be stopped in between (no_preempt).
//   (6) A span is freed by sweeping alone, and that of a large object by FreeCollected, which does
//       nothing while marking: so none is freed while marking.
#ifndef PLIMSOLL_ALLOC_COLLECTABLE_H_
#define PLIMSOLL_ALLOC_COLLECTABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll::alloc {

// Calls back with the address of each word that may hold a pointer.
struct TraceSink {
  virtual void Visit(const void* const* word) = 0;

 protected:
  ~TraceSink() = default;
};

// Where a type's pointers are. `mask` has a bit for each word of an element, and an object is as
// many elements as it holds; bits past its last whole element are not looked at.
struct Layout {
  enum class Kind : uint8_t { kNoscan, kMask, kTraced };
  Kind kind = Kind::kNoscan;
  uint32_t element_words = 1;
  const uint64_t* mask = nullptr;                                // kMask: (element_words + 63) / 64
  void (*trace)(const void* object, TraceSink& sink) = nullptr;  // kTraced: of one element
  const char* name = "";  // for reports: the first type that had this layout
};

// A layout in objects of one size. Never unmade.
struct ObjectShape {
  Layout layout;
  uint32_t id = 0;            // its slot in every cache
  uint32_t size_class = 0;    // 0: large objects, each of its own size
  uint32_t object_bytes = 0;  // of the class; 0: large
  uint64_t mask0 = 0;         // layout.mask[0]
  uint32_t elements = 0;      // in an object, where mask0 is all of the mask; 0: see layout
  // So small that a marker scans all that are grey in a span at once; then there are elements.
  bool by_span = false;
};

inline constexpr uint32_t kMaxShapes = 4096;

// The shape of `layout` in `size_class`. Equal layouts share a shape, whatever their names. Fatal
// when there are kMaxShapes.
const ObjectShape* ShapeFor(const Layout& layout, size_t size_class);

// An object by any address within it.
struct Object {
  Span* span;
  uint32_t index;

  uintptr_t base() const { return span->base() + uint64_t{index} * span->shape->object_bytes; }
  size_t bytes() const {
    return span->class_index() == 0 ? span->bytes() : span->shape->object_bytes;
  }
  friend bool operator==(const Object&, const Object&) = default;
};

// Finds the object in use that holds `address`; false: there is none in the collected heap. Any
// word may be asked about. Three dependent loads (region, span, span's base), and the alloc bit.
[[gnu::always_inline]] inline bool FindObject(uintptr_t address, Object* object) {
  Span* span = FindSpan(address);
  if (span == nullptr || span->owner.load(std::memory_order_relaxed) != &collected_owner)
    return false;
  const uint64_t offset = address - span->base();
  if (offset >= span->bytes()) return false;  // beyond 48 bits: see FindSpan()
  const uint32_t index = Index(offset, span->magic()).index;
  // The tail has a bit, which is 0: by Span's (3). acquire: pairs with the release in TakeWord(),
  // so that who finds an object that is black from the start sees its mark.
  if ((span->word(index / 64).alloc.load(std::memory_order_acquire) >> (index % 64) & 1) == 0)
    return false;
  *object = {span, index};
  return true;
}

inline bool IsMarked(const Object& o) {
  return (o.span->word(o.index / 64).marks.load(std::memory_order_relaxed) >> (o.index % 64) & 1) !=
         0;
}

// Marks `o`. True: it was not, and the caller scans it. Who sees the bit needs nothing of what the
// one did that set it; seq_cst for scan_claim.h's (1).
[[gnu::always_inline]] inline bool Mark(const Object& o) {
  std::atomic<uint64_t>& bits = o.span->word(o.index / 64).marks;
  const uint64_t mask = uint64_t{1} << (o.index % 64);
  if ((bits.load(std::memory_order_relaxed) & mask) != 0) return false;
  return (bits.fetch_or(mask, std::memory_order_seq_cst) & mask) == 0;
}

// As Mark, where there is one marker: no locked instruction.
[[gnu::always_inline]] inline bool MarkAlone(const Object& o) {
  std::atomic<uint64_t>& bits = o.span->word(o.index / 64).marks;
  const uint64_t mask = uint64_t{1} << (o.index % 64);
  const uint64_t old = bits.load(std::memory_order_relaxed);
  if ((old & mask) != 0) return false;
  bits.store(old | mask, std::memory_order_relaxed);
  return true;
}

// Takes a mark away: for fault injection.
void Unmark(const Object& o);

// What one thread allocates collected memory from. Without one, allocation calls the hook below.
class CollectedCache;
CollectedCache* NewCollectedCache();  // nullptr: no memory
void DeleteCollectedCache(CollectedCache* cache);
void SetCurrentCollectedCache(CollectedCache* cache);  // null: none
// Lets the next thread that wants a cache have the calling thread's, with what it holds in hand.
// Does nothing where it has none.
void LeaveCollectedCache();

// What allocation asks for: whether this thread may allocate at all (else it ends the process;
// asked in slow paths alone), a cache where the thread has none (it must set one), and a collection
// when `bytes_since_mark` has reached the trigger. Set once; called with preemption as it was when
// allocation was called, and nothing held.
struct CollectedHooks {
  void (*check)() = nullptr;
  void (*need_cache)() = nullptr;
  void (*trigger)(size_t bytes) = nullptr;
};
void SetCollectedHooks(CollectedHooks hooks);

// An object of `shape` for `bytes`, which reads as zero; nullptr: no memory. Requires: bytes fit
// the shape's class, or the shape is of large objects.
void* AllocateCollected(const ObjectShape* shape, size_t bytes);

// Frees one object that nothing points to, before a cycle finds that out. A mutator; the world
// runs. True: it is free, or will be when its span is swept. False: not now, a mark is running, or
// its span is just being swept; the next cycle frees it. Ends the process where it sees that the
// object is free already.
bool FreeCollected(const Object& o);

// --- The cycle. Who calls these has stopped the world; the exceptions say so.

// (2): sweeps what is left, flushes every cache.
void BeginMark();
// Flushes every cache and makes every span unswept. `live` is what was marked, in bytes, with what
// was black from the start.
void EndMark(uint64_t live);
// Gives back what caches have in hand: then what is marked and not in use is nobody's.
void FlushCaches();
// While it is on, what caches take is black: for a mark beside the program, between whose begin and
// end the world runs. It counts from 0 when it is turned on.
void SetAllocateBlack(bool on);
uint64_t BlackObjects();
// While it is on memory is short: refills sweep what they can before they choose a span, so that
// the fullest are filled up and the emptiest, into which nothing is put, become empty.
void SetTight(bool on);

// Sweeps until `pages` have been swept or nothing is left; false: nothing is left. Any thread,
// while the world runs.
bool SweepSome(size_t pages);

// Calls f for each object in use. The world is stopped and the caches are flushed.
void ForEachObject(void (*f)(const Object& object, void* arg), void* arg);

// Any thread.
struct CollectedStats {
  uint64_t live_after_mark = 0;  // bytes, at the end of the last cycle
  uint64_t since_mark = 0;       // bytes that caches have taken since
  uint64_t allocated_total = 0;  // bytes that caches have taken, ever
  uint64_t freed_spans = 0;      // given back to the page heap, ever
  uint64_t spans = 0;            // there are
  uint64_t span_bytes = 0;       // in them
  uint64_t shapes = 0;
  uint64_t held = 0;  // by all heaps: in spans of any kind, and idle pages that are still in memory
};
CollectedStats GetCollectedStats();

// CollectedStats::since_mark alone. Any thread.
uint64_t BytesSinceMark();

// Bytes that may be taken after a mark before `trigger` is called.
void SetTrigger(uint64_t bytes_since_mark);

// Ends the process when (2), (3) or (4) do not hold. The world is stopped, and nobody marks.
void CheckCollectedInvariants();

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_COLLECTABLE_H_
