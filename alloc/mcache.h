// An MCache is what one P, or one thread without a P, allocates from: no lock, no atomic
// read-modify-write, nothing shared, until a word of 64 objects is used up.
//
//   slot (one for each class)                     bin (the same class's, not so hot)
//   +-------------------------------------+       +-----------------------------------------+
//   | local   bits: objects still to give |       | span     the current one; `index` of    |
//   | base    address of the word's first |       |          the word                       |
//   | in_use  its in-use byte             |       +-----------------------------------------+
//   | size, fresh                         |       lists (the same class's): partial, full and empty
//   +-------------------------------------+       spans, under lists_mu_
//   pending: for (span, word), objects freed here that another cache owns; one atomic OR sends up
//   to 64 of them
//
// A refill takes a word: its free objects become bits of `local`. Allocating clears the lowest bit
// and sets the object's in-use byte; freeing looks at the byte and clears it. So an allocation
// never waits for the free before it, which a stack of free objects cannot offer, and no free
// touches the object. An object that was freed is found again when the cache comes round to its
// word.
//
// Who blocks for long keeps nobody from the memory: what is listed here and has nothing in use is
// taken by TakeUnused(), on another thread. The lock on the lists is its and the slow paths';
// DESIGN.md ("What an idle owner holds") says why the fast paths need none.
//
// Invariants, proved by CheckInvariants():
//   (1) The slot's bits are free objects of the current span's word `index`; without a current span
//       there are none.
//   (2) A span in a list here is owned by this cache, in the list that its state names.
//   (3) A bit of `pending` is an object in use whose remote bit is not set.
//   (4) A span becomes this cache's, changes its state and ceases to be this cache's under
//       lists_mu_ alone.
#ifndef PLIMSOLL_ALLOC_MCACHE_H_
#define PLIMSOLL_ALLOC_MCACHE_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/machine.h"
#include "plimsoll/alloc/base/spin_lock.h"
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

  // The fast path: puts an object for `size` into *p; false when it takes more than that. At most
  // six loads.
  [[gnu::always_inline]] bool TryAllocate(size_t size, void** p) {
    if (size <= kLinearMax) [[likely]] {
      // Object sizes are steps of 16 here, and slots are 32 bytes: no class is looked up. Size 0 is
      // slot 0, which is always empty.
      const size_t rounded = (size + 15) & ~size_t{15};
      return TryAllocateFrom(
          *reinterpret_cast<Slot*>(reinterpret_cast<char*>(slots_) + rounded * 2), rounded, p);
    }
    if (size <= 1024)
        [[likely]]  // the finer of ClassOf's two scales, without the jump to the other
      return TryAllocateClass(internal::kClassOf[(size + 15) >> 4], p);
    if (size > kMaxSmall) [[unlikely]]
      return false;
    return TryAllocateClass(ClassOf(size), p);
  }
  [[gnu::always_inline]] bool TryAllocateClass(size_t size_class, void** p) {
    Slot& slot = slots_[size_class];
    return TryAllocateFrom(slot, slot.size, p);
  }

  // What TryFree found.
  enum class Freed { kDone, kAttention, kNotHere };

  // The fast path: frees what this cache owns, in at most eight loads. kAttention: it is free, and
  // was the last of its span, which needs Attend(). kNotHere: nothing was done; the
  // slow path knows why.
  [[gnu::always_inline]] Freed TryFree(uintptr_t address, Span** of) {
    Span* span = FindSpan(address);
    if (span == nullptr) [[unlikely]]
      return Freed::kNotHere;
    if (!base::LoadsEqual(span->owner, static_cast<Mailbox*>(this))) [[unlikely]]
      return Freed::kNotHere;
    const uint64_t packed = span->magic_and_low_base;
    const uint64_t product = (packed >> 32) * static_cast<uint32_t>(address - packed);
    // by Index(): the upper half is the index, the lower one tells the start from the inside
    if (static_cast<uint32_t>(product) >= packed >> 32) [[unlikely]]
      return Freed::kNotHere;
    uint8_t* in_use = span->InUseByte(product >> 32);
    if (base::LoadsZero(*in_use)) [[unlikely]]
      return Freed::kNotHere;
    Span::StoreByte(in_use, 0);
    // pairs with the acquire in Unused()
    if (base::DecrementsToZero(span->live)) [[unlikely]] {  // by Span's (1): not the current one
      *of = span;
      return Freed::kAttention;
    }
    return Freed::kDone;
  }

  // The common refill: another word of the current span has free objects, and nothing else waits.
  // Null: Refill() knows. In a cache that owns nothing always null.
  void* RefillInPlace(size_t size_class);

  // An object of the class after its slot ran empty; null: no memory. `core` is the cache's heap.
  void* Refill(size_t size_class);

  // Whether the object that the last allocation of this class gave reads as zero already.
  bool LastWasFresh(size_t size_class) const { return slots_[size_class].fresh != 0; }

  // Whether the next object of the class is one to be sampled, because the countdown ends in it.
  // The caller makes a sample elsewhere; the slot gets what was kept back. Ask when
  // TryAllocateClass has failed, before Refill, and again when that has.
  bool TakeSampleTurn(size_t size_class);

  // After TakeSampleTurn, where no sample could be made: the next allocation of the class is
  // served, however often its turn would come.
  void SkipSample(size_t size_class);

  // Counts a large object. True: it is to be sampled.
  bool CountLargeSample(uint64_t size);

  // Frees an object of this cache's own, whatever the state of its span. Requires: it is in use.
  void FreeOwned(Span* span, uint32_t index);

  // Files a span of this cache's own anew if it has become empty.
  void Attend(Span* span);

  // The common case of FreeRemote: adds an object to a word that is pending already. False: nothing
  // was done. No line that the owner writes is touched: that the object is in use is looked at when
  // its word is sent.
  [[gnu::always_inline]] bool TryFreeRemote(uintptr_t address) {
    Span* span = FindSpan(address);
    if (span == nullptr || span->class_index() == 0) return false;
    const ObjectIndex at = Index(address - span->base(), span->magic());
    if (!at.at_start) return false;
    Pending& entry = PendingOf(span, at.index / 64);
    const uint64_t bits = entry.bits | uint64_t{1} << (at.index % 64);
    // Another owner's by (3), since there is an entry; but it may have become ours meanwhile.
    if (entry.span != span || entry.word != at.index / 64 || bits == entry.bits ||
        span->owner.load(std::memory_order_relaxed) == this) {
      return false;
    }
    entry.bits = bits;
    pending_bytes_ += span->object_size;
    return pending_bytes_ <= kMostPendingBytes || (FlushPending(), true);
  }

  // Frees an object that this cache does not own: at once if `now`, else with its word's others.
  void FreeRemote(Span* span, uint32_t index, bool now);

  // Sends what is pending, and takes in what others have freed.
  void FlushPending();
  void ReadMail();

  // Whether the last free sent all that was pending.
  bool NothingPending() const { return pending_bytes_ == 0; }

  // Gives up all that is not needed: empty spans, pending frees.
  void Trim();

  // Gives up everything; the cache is as new, and its live objects' spans are orphans.
  void Retire();

  // Takes back listed spans of which nothing is in use, on whatever thread and whatever the owner
  // does meanwhile: those in the mail, all of whose objects others have freed, and if `empty_too`
  // the empty ones. Returns their bytes. Under HeapCore::taking_mu.
  uint64_t TakeUnused(bool empty_too);

  // Whether the owner has been at its lists since this was asked last. Under HeapCore::taking_mu.
  bool WasUsed();

  void CheckInvariants();

  HeapCore* core = nullptr;
  MCache* next_idle = nullptr;  // in HeapCore's list of caches without a user
  MCache* next_all = nullptr;   // in HeapCore's list of all caches
  bool in_use = false;
  uint64_t uses = 0;  // how often it was acquired; in_use and this: under caches_mu
  // The thread that gives it back at its end, and its process; 0: somebody else does. Set by that
  // thread, and cleared when it is given back.
  std::atomic<int32_t> thread{0};
  std::atomic<int32_t> process{0};
  // HeapCore::TakeFromCaches()'s: how many of its visits this cache is passed over, and was before.
  uint8_t rest = 0;
  uint8_t rested = 0;

 private:
  friend class MCachePeer;  // tests

  struct Slot {
    uint64_t local = 0;
    uintptr_t base = 0;
    uint8_t* in_use = nullptr;
    uint32_t size = 0;
    uint32_t fresh = 0;
  };
  static_assert(sizeof(Slot) == 32);  // twice the step of the linear classes
  struct Bin {
    Span* span = nullptr;
    size_t index = 0;
    uint64_t held = 0;  // bits kept back until the next sample is taken: see samples.h
  };
  struct Lists {
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
  // Memory that a cache may keep from others in frees not yet sent; what it may keep in empty spans
  // depends on how many caches there are: HeapCore::MostEmptyBytes().
  static constexpr uint64_t kMostPendingBytes = uint64_t{256} << 10;
  // After so many bytes sent it is worth a look whether they can be taken.
  static constexpr uint64_t kMuchSent = uint64_t{1} << 20;

  [[gnu::always_inline]] static bool TryAllocateFrom(Slot& slot, uint64_t size, void** p) {
    const uint64_t local = slot.local;
    if (local == 0) [[unlikely]]
      return false;
    slot.local = local & (local - 1);
    const uint64_t index = base::LowestBit(local);
    Span::StoreByte(slot.in_use + index, 1);
    *p = reinterpret_cast<void*>(slot.base + index * size);
    return true;
  }

  Pending& PendingOf(const Span* span, uint64_t word) {
    const uint64_t hash =
        (reinterpret_cast<uintptr_t>(span) >> 6) * 0x9E3779B97F4A7C15u + word * 0x85EBCA6B00000000u;
    return pending_[hash >> 57];
  }
  static_assert(kPending == 128);

  bool TakeWord(size_t size_class, size_t from);
  bool TakeNextWord(size_t size_class);
  void GiveBits(size_t size_class, uint64_t bits, uint32_t count);
  void DrawSampleGap();
  void Install(size_t size_class, Span* span) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  void PutAway(size_t size_class) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  void File(size_t size_class, Span* span) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  SpanList& ListOf(const Span* span) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  void Send(Pending& entry);
  void Refile(Span* span) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  void ReadMailLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  void TrimLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);
  static bool Unused(Span* span);
  void Take(Span* span, SpanList& taken) ABSL_EXCLUSIVE_LOCKS_REQUIRED(lists_mu_);

  // By size class; slot 0 is always empty, so that a request of 0 bytes takes the slow path.
  alignas(64) Slot slots_[kClassCount];
  Bin bins_[kClassCount];
  Pending pending_[kPending];
  uint64_t pending_bytes_ = 0;
  uint64_t sample_period_ = 0;       // that the countdown was drawn with
  int64_t sample_left_ = INT64_MAX;  // bytes until the next sample
  uint64_t random_ = 0;
  uint64_t sent_bytes_ = 0;  // since the last kMuchSent
  base::SpinLock lists_mu_;
  bool used_ ABSL_GUARDED_BY(lists_mu_) = false;         // see WasUsed()
  uint64_t empty_bytes_ ABSL_GUARDED_BY(lists_mu_) = 0;  // in the spans of `empty` lists
  Lists lists_[kClassCount] ABSL_GUARDED_BY(lists_mu_);
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MCACHE_H_
