// A Span is a run of pages: objects of one size class, or one large object.
//
//   pages   +-------+-------+-------+--   --+---------+------+
//           | obj 0 | obj 1 | obj 2 |  ...  | obj n-1 | tail |     never touched from here
//           +-------+-------+-------+--   --+---------+------+
//   in use      1       0       1               1         0        a byte for each object
//   remote      1       0       0               0         0        a bit: freed by others, and its
//                                                                  owner does not know it yet
//
//   Span    | line 0: what every free reads | line 1..: what the owner writes | what others write |
//
//   state      owner               linked in               who may write in-use bytes, live, links
//   kLarge     large_owner         nothing                 the thread that allocates or frees it
//   kCurrent   one MCache          nothing                 that cache
//   kPartial   one MCache          cache's partial list    that cache
//   kEmpty     one MCache          cache's empty list      that cache
//   kFull      one MCache, tagged  cache's full list       that cache
//   kPartial   the orphanage       MCentral's partial list holder of that MCentral's lock
//   kFull      the orphanage       nothing                 holder of that MCentral's lock
//   kCollected collected_owner     collectable.cc's lists  see collectable.h
//   kGuarded   guarded_owner       nothing                 GuardedPool, for ever
//
// A word is 64 objects: eight in-use bytes are one load, and a multiplication makes 8 bits of them.
//
// Invariants, proved by CheckInvariants():
//   (1) An object is in use exactly while its in-use byte is 1. live is the number of them, plus,
//       for a kCurrent span, one for being current and one for each object that the cache has
//       taken and not yet handed out. So live is never 0 but in a span with nothing in use.
//   (2) remote is a subset of what is in use: a free that breaks this is a double free.
//   (3) The bytes past the last object are 0, and there is at least one if there is a tail.
//   (4) A kFull span has all objects in use; its owner is tagged, so that the first free of one
//       takes the slow path and files the span anew.
//   (5) A Span's storage is only ever a Span (FixedPool): a late Notify() may touch `notified`,
//       `notify_next` and `owner` of a span that has been freed meanwhile, and does no harm.
#ifndef PLIMSOLL_ALLOC_SPAN_H_
#define PLIMSOLL_ALLOC_SPAN_H_

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll::alloc {

struct Span;
struct ObjectShape;  // collectable.h
struct Sample;       // samples.h

// Where those who free another's object leave word: a stack of spans. Its owner empties it.
struct Mailbox {
  std::atomic<Span*> first{nullptr};
};

enum class SpanState : uint8_t {
  kFree,
  kLarge,
  kCurrent,
  kPartial,
  kEmpty,
  kFull,
  kCollected,
  kGuarded
};

// 64 objects of a collected span, a bit each: see collectable.h.
struct Word {
  std::atomic<uint64_t> alloc;
  std::atomic<uint64_t> marks;
  std::atomic<uint64_t> scanned;
};
struct alignas(64) Span {
  // Line 0, read by every free. `link` is FixedPool's free link; by (5) it may not be where
  // `owner` and `notified` are.
  union {
    Span* link = nullptr;
    const ObjectShape* shape;  // kCollected, while it is not free
    Sample* sample;            // kLarge, while it is not free; null: none
  };
  std::atomic<Mailbox*> owner{nullptr};
  // The class's magic above the base's lower half: a free needs both in one load. 32 bits of a base
  // tell an offset within a span, once the span map has said that the address is in it.
  uint64_t magic_and_low_base = 0;
  uint32_t pages = 0;
  uint16_t remote_offset = 0;          // of Remote, from this; fixed with the storage
  std::atomic<uint8_t> size_class{0};  // 0: large
  uint8_t words = 0;                   // of 64 objects
  uintptr_t base_address = 0;
  uint64_t large_bytes = 0;  // kLarge: what was asked for
  Span* next = nullptr;      // list links: this and prev
  SpanState state = SpanState::kFree;
  bool zeroed = false;            // when the span was made its pages read as zero
  uint8_t untouched_word = 0;     // no object of this word or a later one was handed out yet
  std::atomic<uint8_t> place{0};  // kCollected: collectable.cc's
  uint32_t object_size = 0;       // its class's; 0: large

  // Line 1, written by the owner.
  union {                         // at 64: line 0 is full
    uint32_t live = 0;            // by (1)
    std::atomic<uint32_t> epoch;  // kCollected: the cycle after which it was swept
  };
  std::atomic<uint32_t> waiting{0};  // kCollected: whether it waits to be scanned
  Span* prev = nullptr;
  union {
    // Eight objects' in-use bytes in each; 8 for each of `words`: see SpanBytes().
    uint64_t in_use_bytes[1] = {};
    Word first_word[1];  // kCollected; as many as `words`
  };

  Word& word(size_t w) { return first_word[w]; }
  const Word& word(size_t w) const { return first_word[w]; }

  uintptr_t base() const { return base_address; }
  uint32_t magic() const { return static_cast<uint32_t>(magic_and_low_base >> 32); }
  const SizeClass& klass() const { return kSizeClasses[class_index()]; }
  size_t class_index() const { return size_class.load(std::memory_order_relaxed); }
  size_t bytes() const { return size_t{pages} << kPageShift; }
  size_t object_bytes() const { return class_index() == 0 ? bytes() : object_size; }

  void SetPlace(uintptr_t at, uint32_t class_magic) {
    base_address = at;
    magic_and_low_base = uint64_t{class_magic} << 32 | static_cast<uint32_t>(at);
  }

  // What others write: the remote bitmap, on lines of its own, and the mail.
  struct Remote {
    std::atomic<uint64_t> notified;
    std::atomic<Span*> notify_next;
    std::atomic<uint64_t> bits[1];
  };
  Remote& remote() {
    return *reinterpret_cast<Remote*>(reinterpret_cast<char*>(this) + remote_offset);
  }

  static constexpr size_t RemoteOffset(size_t words) {
    return (64 + 16 + words * 64 + 63) / 64 * 64;
  }
  static constexpr size_t SpanBytes(size_t words) {
    return RemoteOffset(words) + (16 + words * 8 + 63) / 64 * 64;
  }
  static constexpr size_t CollectedBytes(size_t words) {
    return (64 + 16 + words * sizeof(Word) + 63) / 64 * 64;
  }

  // The byte of an object; it is read by others than the owner, so through these alone.
  uint8_t* InUseByte(size_t index) { return reinterpret_cast<uint8_t*>(in_use_bytes) + index; }
  static bool LoadByte(const uint8_t* byte) { return __atomic_load_n(byte, __ATOMIC_RELAXED) != 0; }
  static void StoreByte(uint8_t* byte, uint8_t in_use) {
    __atomic_store_n(byte, in_use, __ATOMIC_RELAXED);
  }
  bool IsInUse(uint32_t index) const {
    return LoadByte(reinterpret_cast<const uint8_t*>(in_use_bytes) + index);
  }

  // The objects of word `w` that are in use, a bit each.
  uint64_t InUse(size_t w) const {
    uint64_t bits = 0;
    for (size_t i = 0; i < 8; ++i) {
      // Byte k is 0 or 1; the product's upper byte collects bit k from byte k: no two terms meet.
      const uint64_t eight = __atomic_load_n(&in_use_bytes[w * 8 + i], __ATOMIC_RELAXED);
      bits |= (eight * 0x0102040810204080u >> 56) << (i * 8);
    }
    return bits;
  }

  // Makes exactly `bits` of word `w` in use. `live` is the caller's to set.
  void SetInUse(size_t w, uint64_t bits) {
    for (size_t i = 0; i < 8; ++i) {
      // Spreads 8 bits to 8 bytes: copies to each, keeps bit k of byte k, makes it 1.
      const uint64_t copies = (bits >> (i * 8) & 0xff) * 0x0101010101010101u;
      const uint64_t kept = copies & 0x8040201008040201u;
      const uint64_t bytes = ((kept + 0x7f7f7f7f7f7f7f7fu) | kept) >> 7 & 0x0101010101010101u;
      __atomic_store_n(&in_use_bytes[w * 8 + i], bytes, __ATOMIC_RELAXED);
    }
  }

  // The bits of word `w` that stand for objects.
  uint64_t ObjectMask(size_t w) const {
    const size_t objects = klass().objects;
    if (objects >= (w + 1) * 64) return ~uint64_t{0};
    return objects <= w * 64 ? 0 : (uint64_t{1} << (objects - w * 64)) - 1;
  }

  // The free objects of word `w`. Only for the owner, who alone writes these bytes.
  uint64_t FreeBits(size_t w) const {
#if defined(__SSE2__)
    const auto* bytes = reinterpret_cast<const __m128i*>(&in_use_bytes[w * 8]);
    const auto clear = [bytes](int i) {
      const __m128i zeros = _mm_cmpeq_epi8(_mm_loadu_si128(bytes + i), _mm_setzero_si128());
      return uint64_t{static_cast<uint32_t>(_mm_movemask_epi8(zeros))} << (i * 16);
    };
    const uint64_t free = clear(0) | clear(1) | clear(2) | clear(3);
    return w + 1 < words ? free : free & ObjectMask(w);
#else
    return ~InUse(w) & ObjectMask(w);
#endif
  }

  // Objects in use, by looking at each: for those who do not own the span.
  size_t CountInUse() const {
    size_t count = 0;
    if (IsCollected()) {
      for (size_t w = 0; w < words; ++w) {
        count += std::popcount(word(w).alloc.load(std::memory_order_relaxed));
      }
      return count;
    }
    for (size_t w = 0; w < words; ++w) count += std::popcount(InUse(w));
    return count;
  }

  // The owner without its tag.
  Mailbox* Owner() const;

  bool IsCollected() const;

  // Ends the process when an invariant does not hold; `taken` is what (1) adds to the objects in
  // use. Only for the owner, or when all is quiet.
  void CheckInvariants(size_t taken = 0);
};

static_assert(std::endian::native == std::endian::little);  // InUse() counts bytes from the right
static_assert(offsetof(Span, live) == 64 && offsetof(Span, in_use_bytes) == 80);
static_assert(offsetof(Span, first_word) == 80 && Span::CollectedBytes(2) == 128);

// A tagged owner is nobody's address: a free by the owner itself then takes the slow path.
inline Mailbox* Tagged(Mailbox* owner) {
  return reinterpret_cast<Mailbox*>(reinterpret_cast<uintptr_t>(owner) | 1);
}
inline Mailbox* Untagged(Mailbox* owner) {
  return reinterpret_cast<Mailbox*>(reinterpret_cast<uintptr_t>(owner) & ~uintptr_t{1});
}
inline Mailbox* Span::Owner() const { return Untagged(owner.load(std::memory_order_seq_cst)); }

// Span storage comes in four sizes, by words: 1, 2, 4 and 8.
inline constexpr int kSpanKinds = 4;
constexpr int SpanKind(size_t words) {
  return words <= 1 ? 0 : words <= 2 ? 1 : words <= 4 ? 2 : 3;
}
constexpr size_t SpanKindWords(int kind) { return size_t{1} << kind; }
inline int SpanKindOf(const Span* span) {
  for (int kind = 0; kind < kSpanKinds; ++kind) {
    if (Span::RemoteOffset(SpanKindWords(kind)) == span->remote_offset) return kind;
  }
  return 0;
}
static_assert(Span::RemoteOffset(1) < Span::RemoteOffset(2) &&
              Span::RemoteOffset(2) < Span::RemoteOffset(4) &&
              Span::RemoteOffset(4) < Span::RemoteOffset(8));  // a record's kind is told by it

// How many free objects make it worth to go round in a span once more rather than to take the next:
// an eighth, so that a refill is paid for by several allocations; at least one.
constexpr size_t WorthHaving(const SizeClass& c) { return c.objects < 16 ? 1 : c.objects / 8; }

// The owner of every large object's span: nobody's cache, and never null.
inline constinit Mailbox large_owner;

// The owner of every span of the collected heap: nobody frees what lies there.
inline constinit Mailbox collected_owner;
inline bool Span::IsCollected() const {
  return owner.load(std::memory_order_relaxed) == &collected_owner;
}

// The owner of the guarded pool's slots (guarded.h).
inline constinit Mailbox guarded_owner;

// A list of spans through next and prev. One at a time, under its owner's rules.
class SpanList {
 public:
  bool empty() const { return first_ == nullptr; }
  Span* first() const { return first_; }
  size_t size() const { return size_; }

  void PushFront(Span* span) {
    span->prev = nullptr;
    span->next = first_;
    (first_ != nullptr ? first_->prev : last_) = span;
    first_ = span;
    ++size_;
  }
  void PushBack(Span* span) {
    span->next = nullptr;
    span->prev = last_;
    (last_ != nullptr ? last_->next : first_) = span;
    last_ = span;
    ++size_;
  }
  void Remove(Span* span) {
    (span->prev != nullptr ? span->prev->next : first_) = span->next;
    (span->next != nullptr ? span->next->prev : last_) = span->prev;
    span->next = span->prev = nullptr;
    --size_;
  }
  Span* PopFront() {
    Span* span = first_;
    if (span != nullptr) Remove(span);
    return span;
  }

 private:
  Span* first_ = nullptr;
  Span* last_ = nullptr;
  size_t size_ = 0;
};

// Leaves word with the owner of `span` that its remote bits have changed. By (5) the span may have
// been freed meanwhile, which is why the caller looked `remote` up before.
void Notify(Span* span, Span::Remote& remote);

// Takes all the mail: spans linked through notify_next. For each, read the link, then call
// Unnotify() before looking at its remote bits.
Span* TakeMail(Mailbox& box);
inline Span* Unnotify(Span* span) {
  Span* next = span->remote().notify_next.load(std::memory_order_relaxed);
  // seq_cst: pairs with Notify(). Of "set a bit, then see the flag set" and "clear the flag, then
  // read the bits" one must see the other; both are store-then-load.
  span->remote().notified.exchange(0, std::memory_order_seq_cst);
  return next;
}

// Takes the remote bits out of alloc; returns how many objects came free. Only for the owner.
// Double frees found here end the process.
size_t ApplyRemote(Span* span);

// Whether it would find any; at some moment just past.
[[gnu::always_inline]] inline bool HasRemote(Span* span) {
  Span::Remote& remote = span->remote();
  uint64_t any = 0;
  for (size_t w = 0; w < span->words; ++w) any |= remote.bits[w].load(std::memory_order_relaxed);
  return any != 0;
}

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SPAN_H_
