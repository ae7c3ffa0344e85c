// An MCache is what one P, or one thread without a P, allocates from: no lock, no atomic
// read-modify-write, nothing shared, until a word of 64 objects is used up.
//
//   slot (one for each class)                              bin (the same class's, not so hot)
//   +-----------------------------------------+            +--------------------------------------+
//   | local   objects of one word still to give|            | span     the current one; `word` of
//   it| | base    address of the word's object 0  |            | partial  spans with objects to
//   give  | | alloc   the word in the span's bitmap   |            | full     spans with (nearly)
//   none    | | size, fresh                             | +--------------------------------------+
//   +-----------------------------------------+
//   pending: for (span, word), objects freed here that another cache owns; one atomic OR sends up
//   to 64 of them
//
// Allocating takes the lowest bit of `local` and sets the alloc bit. Freeing clears the alloc bit;
// the object is found again when the cache comes round to its word. So an allocation never waits
// for the free before it (neither reads what the other wrote last), which a stack of free objects
// cannot offer; and no free touches the object.
//
// Invariants, proved by CheckInvariants():
//   (1) `local` is a subset of the free bits of bin.span's word `word`; no other place hands these
//   out. (2) A span in a list here is owned by this cache, in the list that its state names. (3) A
//   bit of `pending` is an object whose alloc bit is set and whose remote bit is not.
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
    size_t of;
    if (size <= kLinearMax) {
      of = (size + 15) >> 4;  // 0 for 0: slot 0 is always empty
      Slot& slot = slots_[of];
      const uint64_t local = slot.local;
      if (local == 0) [[unlikely]]
        return nullptr;
      // The object size is not read: up to kLinearMax it is the class times 16.
      return Give(slot, local, of * 16);
    }
    if (size > kMaxSmall) [[unlikely]]
      return nullptr;
    return TryAllocateClass(ClassOf(size));
  }
  [[gnu::always_inline]] void* TryAllocateClass(size_t size_class) {
    Slot& slot = slots_[size_class];
    const uint64_t local = slot.local;
    if (local == 0) [[unlikely]]
      return nullptr;
    return Give(slot, local, slot.size);
  }

  // What TryFree found.
  enum class Freed { kDone, kAttention, kNotHere };

  // The fast path: frees what this cache owns, in at most eight loads. kAttention: it is free, and
  // its span needs Attend(). kNotHere: nothing was done; the slow path knows why.
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
    std::atomic<uint64_t>& word = span->alloc[at.index / 64];
    const uint64_t bits = word.load(std::memory_order_relaxed);
    const uint64_t mask = uint64_t{1} << (at.index % 64);
    if ((bits & mask) == 0) [[unlikely]]
      return Freed::kNotHere;
    word.store(bits & ~mask, std::memory_order_relaxed);
    if (--span->countdown == 0) [[unlikely]] {
      *of = span;
      return Freed::kAttention;
    }
    return Freed::kDone;
  }

  // An object of the class after its slot ran empty; null: no memory. `core` is the cache's heap.
  void* Refill(size_t size_class);

  // Whether the object that the last allocation of this class gave reads as zero already.
  bool LastWasFresh(size_t size_class) const { return slots_[size_class].fresh != 0; }

  // Sees to a span whose countdown has come to 0.
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
    uint64_t local = 0;
    uintptr_t base = 0;
    std::atomic<uint64_t>* alloc = nullptr;
    uint32_t size = 0;
    uint32_t fresh = 0;
  };
  struct Bin {
    Span* span = nullptr;
    size_t word = 0;
    SpanList partial;
    SpanList full;
    size_t empty = 0;  // spans of `partial` without an object in use
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
  static constexpr uint64_t kNever = uint64_t{1} << 62;  // a countdown that does not end

  [[gnu::always_inline, gnu::returns_nonnull]] void* Give(Slot& slot, uint64_t local,
                                                          uint64_t size) {
    const uint64_t lowest = local & -local;
    slot.local = local & (local - 1);
    std::atomic<uint64_t>& alloc = *slot.alloc;
    alloc.store(alloc.load(std::memory_order_relaxed) | lowest, std::memory_order_relaxed);
    return reinterpret_cast<void*>(slot.base + std::countr_zero(local) * size);
  }

  bool TakeWord(size_t size_class, size_t from);
  void Install(size_t size_class, Span* span);
  void PutAway(size_t size_class);
  void SetAside(size_t size_class, Span* span);
  void Send(Pending& entry);
  void Settle(Span* span, size_t freed);
  void Unretain(Span* span);

  // By size class; slot 0 is always empty, so that a request of 0 bytes takes the slow path.
  alignas(64) Slot slots_[kClassCount];
  Bin bins_[kClassCount];
  Pending pending_[kPending];
  uint64_t pending_bytes_ = 0;
  uint64_t empty_bytes_ = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MCACHE_H_
