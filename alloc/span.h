// A Span is a run of pages: objects of one size class, or one large object.
//
//   pages   +-------+-------+-------+--   --+---------+------+
//           | obj 0 | obj 1 | obj 2 |  ...  | obj n-1 | tail |      object memory: never touched
//           here
//           +-------+-------+-------+--   --+---------+------+
//   alloc      1       1       0               1         0    a word for 64 objects
//   local      0       1       0               0         0    taken by the cache, not yet handed
//   out remote     1       0       0               0         0    freed by others, not yet by the
//   owner
//
//   Span    | line 0: what every free reads | line 1..: what the owner writes | what others write |
//
//   state      owner             linked in               who may write alloc, local and the links
//   kLarge     large_owner       nothing                 the thread that allocates or frees it
//   kCurrent   one MCache        nothing                 that cache
//   kPartial   one MCache        cache's partial list    that cache
//   kEmpty     one MCache        cache's empty list      that cache
//   kFull      one MCache, tagged  cache's full list     that cache
//   kPartial   the orphanage     MCentral's partial list holder of that MCentral's lock
//   kFull      the orphanage     nothing                 holder of that MCentral's lock
//
// Invariants, proved by CheckInvariants():
//   (1) An object is in use exactly while its alloc bit is 1 and its local bit is 0. local is a
//       subset of alloc, and 0 but in the current word of a kCurrent span.
//   (2) remote is a subset of what is in use: a free that breaks this is a double free.
//   (3) The bits of alloc past the last object are 0, and there is at least one if there is a tail.
//   (4) A kFull span has all objects in use; its owner is tagged, so that the first free of one
//       takes the slow path and files the span anew.
//   (5) A Span's storage is only ever a Span (FixedPool): a late Notify() may touch `notified`,
//       `notify_next` and `owner` of a span that has been freed meanwhile, and does no harm.
#ifndef PLIMSOLL_ALLOC_SPAN_H_
#define PLIMSOLL_ALLOC_SPAN_H_

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll::alloc {

struct Span;

// Where those who free another's object leave word: a stack of spans. Its owner empties it.
struct Mailbox {
  std::atomic<Span*> first{nullptr};
};

enum class SpanState : uint8_t { kFree, kLarge, kCurrent, kPartial, kEmpty, kFull };

// 64 objects of a span: see Span's (1). Written by the owner alone, read by others too.
struct Word {
  std::atomic<uint64_t> alloc{0};
  std::atomic<uint64_t> local{0};

  uint64_t InUse() const {
    return alloc.load(std::memory_order_relaxed) & ~local.load(std::memory_order_relaxed);
  }
};

// A span's base (a page number, 35 bits) and its class's magic (29 bits, 2^28 at most) in one word:
// a free needs both, and one load less is a load less.
inline constexpr int kMagicBits = 29;
static_assert(kSizeClasses[1].magic < (uint32_t{1} << kMagicBits));

struct alignas(64) Span {
  // Line 0, read by every free. `link` is also FixedPool's free link; by (5) nothing else may be
  // where `owner` and `notified` are.
  Span* link = nullptr;
  std::atomic<Mailbox*> owner{nullptr};
  uint64_t base_and_magic = 0;
  uint32_t pages = 0;
  uint16_t remote_offset = 0;          // of Remote, from this; fixed with the storage
  std::atomic<uint8_t> size_class{0};  // 0: large
  uint8_t words = 0;                   // of each bitmap
  SpanState state = SpanState::kFree;
  bool zeroed = false;          // when the span was made its pages read as zero
  bool retained = false;        // empty, and counted so by the cache that keeps it
  uint32_t untouched_word = 0;  // no object of this word or a later one was handed out yet
  uint64_t large_bytes = 0;     // kLarge: what was asked for
  Span* next = nullptr;         // list links
  Span* prev = nullptr;

  // Line 1, written by the owner.
  Word word[1];  // `words` of them: see SpanBytes()

  uintptr_t base() const { return (base_and_magic >> kMagicBits) << kPageShift; }
  uint32_t magic() const { return base_and_magic & ((uint32_t{1} << kMagicBits) - 1); }
  const SizeClass& klass() const { return kSizeClasses[class_index()]; }
  size_t class_index() const { return size_class.load(std::memory_order_relaxed); }
  size_t bytes() const { return size_t{pages} << kPageShift; }
  size_t object_bytes() const { return class_index() == 0 ? bytes() : klass().size; }

  // What others write: the remote bitmap, on lines of its own, and the mail.
  struct Remote {
    std::atomic<uint64_t> notified;
    std::atomic<Span*> notify_next;
    std::atomic<uint64_t> bits[1];
  };
  Remote& remote() {
    return *reinterpret_cast<Remote*>(reinterpret_cast<char*>(this) + remote_offset);
  }

  static constexpr size_t RemoteOffset(size_t words) { return (64 + 8 + words * 8 + 63) / 64 * 64; }
  static constexpr size_t SpanBytes(size_t words) {
    return RemoteOffset(words) + (16 + words * 8 + 63) / 64 * 64;
  }

  // The bits of word `w` that stand for objects.
  uint64_t ObjectMask(size_t w) const {
    const size_t objects = klass().objects;
    if (objects >= (w + 1) * 64) return ~uint64_t{0};
    return objects <= w * 64 ? 0 : (uint64_t{1} << (objects - w * 64)) - 1;
  }
  uint64_t FreeBits(size_t w) const {
    return ~word[w].alloc.load(std::memory_order_relaxed) & ObjectMask(w);
  }

  // Objects in use, by (1).
  size_t CountInUse() const {
    size_t count = 0;
    for (size_t w = 0; w < words; ++w) count += std::popcount(word[w].InUse());
    return count;
  }
  bool IsInUse(uint32_t index) const { return (word[index / 64].InUse() >> (index % 64) & 1) != 0; }

  // The owner without its tag.
  Mailbox* Owner() const;

  // Ends the process when an invariant does not hold. Only for the owner, or when all is quiet.
  void CheckInvariants();
};

static_assert(offsetof(Span, word) == 64);

// A tagged owner is nobody's address: a free by the owner itself then takes the slow path.
inline Mailbox* Tagged(Mailbox* owner) {
  return reinterpret_cast<Mailbox*>(reinterpret_cast<uintptr_t>(owner) | 1);
}
inline Mailbox* Untagged(Mailbox* owner) {
  return reinterpret_cast<Mailbox*>(reinterpret_cast<uintptr_t>(owner) & ~uintptr_t{1});
}
inline Mailbox* Span::Owner() const { return Untagged(owner.load(std::memory_order_seq_cst)); }

// Span storage comes in two sizes, by the words of a bitmap: up to 4, and 8.
inline constexpr int kSpanKinds = 2;
constexpr int SpanKind(size_t words) { return words <= 4 ? 0 : 1; }
constexpr size_t SpanKindWords(int kind) { return kind == 0 ? 4 : 8; }
static_assert(Span::RemoteOffset(SpanKindWords(0)) != Span::RemoteOffset(SpanKindWords(1)));

// How many free objects make it worth to go round in a span once more rather than to take the next:
// an eighth, so that a refill is paid for by several allocations; at least one.
constexpr size_t WorthHaving(const SizeClass& c) { return c.objects < 16 ? 1 : c.objects / 8; }

// The owner of every large object's span: nobody's cache, and never null.
inline constinit Mailbox large_owner;

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

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SPAN_H_
