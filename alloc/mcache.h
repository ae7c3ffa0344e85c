// An MCache is what one P, or one thread without a P, allocates from: no lock, no atomic
// read-modify-write, nothing shared, until a word of 64 objects is used up.
//
//   slot (one for each class)                              bin (the same class's, not so hot)
//   +-----------------------------------------+            +--------------------------------------+
//   | word  of the current span: its `local`  |            | span     the current one; `index` of |
//   |       bits are objects still to give    |            |          the word | | base  address of
//   the word's object 0    |            | partial, full, empty  lists of spans  | | size, fresh |
//   +--------------------------------------+
//   +-----------------------------------------+
//   pending: for (span, word), objects freed here that another cache owns; one atomic OR sends up
//   to 64 of them
//
// A refill takes a word: its free bits are set in `alloc` and in `local` at once. Allocating clears
// the lowest bit of `local`; freeing clears the alloc bit, after a look at both. So an allocation
// never waits for the free before it, which a stack of free objects cannot offer, and no free
// touches the object. An object that was freed is found again when the cache comes round to its
// word.
//
// Invariants, proved by CheckInvariants():
//   (1) The slot's word is the current span's word `index`, or the word of nobody, which is 0.
//   (2) A span in a list here is owned by this cache, in the list that its state names.
//   (3) A bit of `pending` is an object in use whose remote bit is not set.
#ifndef PLIMSOLL_ALLOC_MCACHE_H_
#define PLIMSOLL_ALLOC_MCACHE_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll::alloc {

struct HeapCore;

class alignas(64) MCache : public Mailbox {
 public:
  constexpr MCache() = default;
  MCache(const MCache&) = delete;
  MCache& operator=(const MCache&) = delete;

  // The fast path: an object for `size`, or null when it takes more than that. At most six loads.
  [[gnu::always_inline]] void* TryAllocate(size_t size) {
    if (size <= kLinearMax) {
      // 0 for 0: slot 0 is always empty. The object size is not read: it is the class times 16.
      const size_t size_class = (size + 15) >> 4;
      return TryAllocateFrom(slots_[size_class], size_class * 16);
    }
    if (size > kMaxSmall) [[unlikely]]
      return nullptr;
    return TryAllocateClass(ClassOf(size));
  }
  [[gnu::always_inline]] void* TryAllocateClass(size_t size_class) {
    Slot& slot = slots_[size_class];
    return TryAllocateFrom(slot, slot.size);
  }

  // What TryFree found.
  enum class Freed { kDone, kAttention, kNotHere };

  // The fast path: frees what this cache owns, in at most eight loads. kAttention: it is free, and
  // was the last of its word, so that its span may need Attend(). kNotHere: nothing was done; the
  // slow path knows why.
  [[gnu::always_inline]] Freed TryFree(uintptr_t address, Span** of) {
    Span* span = FindSpan(address);
    if (span == nullptr) [[unlikely]]
      return Freed::kNotHere;
    if (span->owner.load(std::memory_order_relaxed) != this) [[unlikely]]
      return Freed::kNotHere;
    const uint64_t packed = span->base_and_magic;
    const uint32_t magic = packed & ((uint32_t{1} << kMagicBits) - 1);
    const ObjectIndex at = Index(address - ((packed >> kMagicBits) << kPageShift), magic);
    if (!at.at_start) [[unlikely]]
      return Freed::kNotHere;
    Word& word = span->word[at.index / 64];
    const uint64_t mask = uint64_t{1} << (at.index % 64);
    const uint64_t alloc = word.alloc.load(std::memory_order_relaxed);
    if ((alloc & ~word.local.load(std::memory_order_relaxed) & mask) == 0) [[unlikely]] {
      return Freed::kNotHere;
    }
    const uint64_t rest = alloc & ~mask;
    word.alloc.store(rest, std::memory_order_relaxed);
    if (rest == 0) [[unlikely]] {
      *of = span;
      return Freed::kAttention;
    }
    return Freed::kDone;
  }

  // An object of the class after its slot ran empty; null: no memory. `core` is the cache's heap.
  void* Refill(size_t size_class);

  // Whether the object that the last allocation of this class gave reads as zero already.
  bool LastWasFresh(size_t size_class) const { return slots_[size_class].fresh != 0; }

  // Frees an object of this cache's own, whatever the state of its span. Requires: it is in use.
  void FreeOwned(Span* span, uint32_t index);

  // Files a span of this cache's own anew if it has become empty.
  void Attend(Span* span);

  // Frees an object that this cache does not own: at once if `now`, else with its word's others.
  void FreeRemote(Span* span, uint32_t index, bool now);

  // Sends what is pending, and takes in what others have freed.
  void FlushPending();
  void ReadMail();

  // Gives up all that is not needed: empty spans, pending frees.
  void Trim();

  // Gives up everything; the cache is as new, and its live objects' spans are orphans.
  void Retire();

  void CheckInvariants();

  HeapCore* core = nullptr;
  MCache* next_idle = nullptr;  // in HeapCore's list of caches without a user
  MCache* next_all = nullptr;   // in HeapCore's list of all caches
  bool in_use = false;

 private:
  friend class MCachePeer;  // tests

  struct Slot {
    Word* word = &nobodys_word;
    uintptr_t base = 0;
    uint32_t size = 0;
    uint32_t fresh = 0;
    uint64_t unused = 0;
  };
  static_assert(sizeof(Slot) == 32);  // a class's slot is a shift away
  struct Bin {
    Span* span = nullptr;
    size_t index = 0;
    SpanList partial;
    SpanList empty;
    SpanList full;
  };
  struct Pending {
    Span* span = nullptr;
    uint64_t word = 0;
    uint64_t bits = 0;
  };
  static constexpr size_t kPending = 128;
  // Memory that a cache may keep from others: in frees not yet sent, and in empty spans.
  static constexpr uint64_t kMostPendingBytes = uint64_t{256} << 10;
  static constexpr uint64_t kMostEmptyBytes = uint64_t{512} << 10;

  [[gnu::always_inline]] static void* TryAllocateFrom(Slot& slot, uint64_t size) {
    Word& word = *slot.word;
    const uint64_t local = word.local.load(std::memory_order_relaxed);
    if (local == 0) [[unlikely]]
      return nullptr;
    word.local.store(local & (local - 1), std::memory_order_relaxed);
    return Object(slot, std::countr_zero(local) * size);
  }
  [[gnu::always_inline, gnu::returns_nonnull]] static void* Object(Slot& slot, uint64_t offset) {
    return reinterpret_cast<void*>(slot.base + offset);
  }

  // What slots without a span look at: it has nothing to give.
  static Word nobodys_word;

  bool TakeWord(size_t size_class, size_t from);
  void Install(size_t size_class, Span* span);
  void PutAway(size_t size_class);
  void File(size_t size_class, Span* span);
  SpanList& ListOf(const Span* span);
  void Send(Pending& entry);
  void Refile(Span* span);

  // By size class; slot 0 is always empty, so that a request of 0 bytes takes the slow path.
  alignas(64) Slot slots_[kClassCount];
  Bin bins_[kClassCount];
  Pending pending_[kPending];
  uint64_t pending_bytes_ = 0;
  uint64_t empty_bytes_ = 0;  // in the spans of `empty` lists
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MCACHE_H_
