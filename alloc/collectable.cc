#include "plimsoll/alloc/collectable.h"

#include <bit>
#include <cstring>
#include <new>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/heap_ops.h"

namespace plimsoll::alloc {

// What a thread allocates from: for each shape the free objects of one word.
class CollectedCache {
 public:
  struct Slot {
    uint64_t local;  // objects of the word that are still to give
    uintptr_t base;  // address of the word's object 0
    uint32_t size;
    uint32_t fresh;  // they read as zero already
    Span* span;      // null: none
  };
  static_assert(sizeof(Slot) == 32);  // a shape's slot is a shift away

  Slot slots[kMaxShapes];
  uint32_t words[kMaxShapes];  // which word of the span is in hand
  CollectedCache* next;        // in the list of all caches, or of those without a user
  bool in_use;
};

namespace {

using Slot = CollectedCache::Slot;

// Where a swept span is, as far as who frees one object must know. By the epoch he knows whether it
// is swept: `unswept` has them with what they were before.
enum Place : uint8_t {
  kInHand,   // a sweeper's, or who makes a large object's
  kInCache,  // a cache's slot
  kInPartial,
  kInFull,
};
void SetPlace(Span* span, Place place) { span->place.store(place, std::memory_order_relaxed); }

// Spans through `next` and `prev`: taken at the front, added at the back.
class SpanQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  void Push(Span* span) {
    span->next = nullptr;
    span->prev = last_;
    (last_ != nullptr ? last_->next : first_) = span;
    last_ = span;
    ++size_;
  }
  Span* Pop() {
    Span* span = first_;
    if (span != nullptr) Remove(span);
    return span;
  }
  void Remove(Span* span) {
    (span->prev != nullptr ? span->prev->next : first_) = span->next;
    (span->next != nullptr ? span->next->prev : last_) = span->prev;
    span->next = span->prev = nullptr;
    --size_;
  }
  void TakeAll(SpanQueue& other) {
    if (other.empty()) return;
    (last_ != nullptr ? last_->next : first_) = other.first_;
    other.first_->prev = last_;
    last_ = other.last_;
    size_ += other.size_;
    other = SpanQueue();
  }
  Span* first() const { return first_; }
  size_t size() const { return size_; }

 private:
  Span* first_ = nullptr;
  Span* last_ = nullptr;
  size_t size_ = 0;
};

// How partial spans are told apart, by how much of them was in use when they were filed.
constexpr size_t kFills = 8;

// A shape with its spans: by (3), those that no cache and no sweeper has in hand.
struct ShapeState : ObjectShape {
  base::SpinLock mu;
  SpanQueue partial[kFills] ABSL_GUARDED_BY(mu);  // swept, with free objects; the fullest are last
  SpanQueue full ABSL_GUARDED_BY(mu);             // swept, without
  SpanQueue unswept ABSL_GUARDED_BY(mu);
};

struct CollectedHeap {
  base::SpinLock shapes_mu;  // a leaf, as every lock here but for MHeap's beneath it
  FixedAlloc<ShapeState> shape_storage;
  std::atomic<uint32_t> shape_count{0};
  ShapeState* shapes[kMaxShapes] = {};  // [0, shape_count) are set before shape_count is

  base::SpinLock caches_mu;
  CollectedCache* all_caches ABSL_GUARDED_BY(caches_mu) = nullptr;

  // As the explicit heap's: a collected span's record is never anything else.
  FixedPool records[kSpanKinds] = {{Span::CollectedBytes(SpanKindWords(0)), 64},
                                   {Span::CollectedBytes(SpanKindWords(1)), 64},
                                   {Span::CollectedBytes(SpanKindWords(2)), 64},
                                   {Span::CollectedBytes(SpanKindWords(3)), 64}};

  std::atomic<uint32_t> epoch{1};
  std::atomic<bool> tight{false};
  std::atomic<bool> black{false};
  std::atomic<uint64_t> black_objects{0};  // that were taken while it was on
  std::atomic<uint64_t> unswept{0};        // spans, in the queues of that name
  std::atomic<uint32_t> sweep_cursor{0};   // the shape that the next sweeper begins with

  std::atomic<uint64_t> since_mark{0};
  std::atomic<uint64_t> trigger{UINT64_MAX};
  std::atomic<uint64_t> live_after_mark{0};
  std::atomic<uint64_t> allocated_before{0};  // before since_mark began
  std::atomic<uint64_t> taken_off{0};         // since_mark, ever, for what was freed one by one
  std::atomic<uint64_t> freed_spans{0};
  std::atomic<uint64_t> spans{0};
  std::atomic<uint64_t> unfiled{0};  // large ones of them that are being cleared
  std::atomic<uint64_t> span_bytes{0};

  std::atomic<void (*)()> check{nullptr};
  std::atomic<void (*)()> need_cache{nullptr};
  std::atomic<void (*)(size_t)> on_trigger{nullptr};
};

constinit CollectedHeap heap;
constinit CollectedCache empty_cache{};

__thread CollectedCache* current_collected __attribute__((tls_model("initial-exec"))) =
    &empty_cache;

// Never inlined: a goroutine may come out of a hook on another thread.
[[gnu::noinline]] CollectedCache* CurrentCache() { return current_collected; }

ShapeState& StateOf(const ObjectShape* shape) {
  return *static_cast<ShapeState*>(const_cast<ObjectShape*>(shape));
}

Span* NewRecord(size_t words) {
  const int kind = SpanKind(words);
  auto* span = static_cast<Span*>(heap.records[kind].Allocate());
  if (span == nullptr) return nullptr;
  span->words = static_cast<uint8_t>(words);
  span->untouched_word = 0;
  SetPlace(span, kInHand);
  for (size_t w = 0; w < words; ++w) {
    span->word(w).alloc.store(0, std::memory_order_relaxed);
    span->word(w).marks.store(0, std::memory_order_relaxed);
    span->word(w).scanned.store(0, std::memory_order_relaxed);
  }
  span->waiting.store(0, std::memory_order_relaxed);
  return span;
}

// A new span of `shape`, in the caller's hand; its epoch is the caller's to set.
Span* NewSpan(const ObjectShape* shape, size_t bytes) {
  Span* span = NewRecord(shape->size_class == 0 ? 1 : kSizeClasses[shape->size_class].words);
  if (span == nullptr) return nullptr;
  span->shape = shape;
  if (!core.pages.PlaceCollected(span, shape->size_class, bytes)) {
    heap.records[SpanKind(span->words)].Free(span);
    return nullptr;
  }
  base::Poison(reinterpret_cast<void*>(span->base()), span->bytes());
  heap.spans.fetch_add(1, std::memory_order_relaxed);
  heap.span_bytes.fetch_add(span->bytes(), std::memory_order_relaxed);
  return span;
}

void FreeSpan(Span* span) {
  heap.spans.fetch_sub(1, std::memory_order_relaxed);
  heap.span_bytes.fetch_sub(span->bytes(), std::memory_order_relaxed);
  heap.freed_spans.fetch_add(1, std::memory_order_relaxed);
  core.pages.FreePages(span);
  heap.records[SpanKind(span->words)].Free(span);
}

uint64_t ObjectMask(const Span* span, size_t w) {
  return span->class_index() == 0 ? 1 : span->ObjectMask(w);
}

// Sweeps a span that the caller took off `unswept`: what was not reached is free. Returns how many
// objects are left in use.
size_t Sweep(Span* span) {
  size_t in_use = 0;
  for (size_t w = 0; w < span->words; ++w) {
    std::atomic<uint64_t>& marks = span->word(w).marks;
    const uint64_t reached = marks.load(std::memory_order_relaxed);
    const uint64_t alloc = span->word(w).alloc.load(std::memory_order_relaxed);
    // A free object that was reached: a pointer outlived what it points to.
    if ((reached & ~alloc) != 0) [[unlikely]] {
      const size_t index = w * 64 + std::countr_zero(reached & ~alloc);
      base::Fatal("gc: sweep: the mark of a free object: ",
                  base::Hex(span->base() + index * span->object_bytes()), ", ",
                  span->shape->layout.name);
    }
    if constexpr (base::kAsan) {
      for (uint64_t dead = alloc & ~reached; dead != 0; dead &= dead - 1) {
        const size_t index = w * 64 + std::countr_zero(dead);
        base::Poison(reinterpret_cast<void*>(span->base() + index * span->object_bytes()),
                     span->object_bytes());
      }
    }
    span->word(w).alloc.store(reached, std::memory_order_relaxed);
    marks.store(0, std::memory_order_relaxed);
    span->word(w).scanned.store(0, std::memory_order_relaxed);
    in_use += std::popcount(reached);
  }
  // release: pairs with the acquire in FreeCollected(), which then sees in whose hand it is.
  span->epoch.store(heap.epoch.load(std::memory_order_relaxed), std::memory_order_release);
  return in_use;
}

// Takes a span off `unswept` and sweeps it; null: there is none.
Span* SweepOne(ShapeState& state, size_t* in_use) {
  Span* span;
  {
    base::SpinLockHolder hold(state.mu);
    span = state.unswept.Pop();
    if (span == nullptr) return nullptr;
    SetPlace(span, kInHand);  // under the lock: FreeCollected() asks whether it is in the queue
  }
  heap.unswept.fetch_sub(1, std::memory_order_relaxed);
  *in_use = Sweep(span);
  return span;
}

size_t Capacity(const Span* span) { return span->class_index() == 0 ? 1 : span->klass().objects; }

// Puts a swept span that nobody has in hand into its queue.
void Put(ShapeState& state, Span* span, size_t in_use) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mu) {
  const size_t capacity = Capacity(span);
  const bool partial = in_use < capacity;
  SetPlace(span, partial ? kInPartial : kInFull);
  (partial ? state.partial[in_use * kFills / capacity] : state.full).Push(span);
}

// Takes the fullest of the partial spans; null: there is none.
Span* PopPartial(ShapeState& state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(state.mu) {
  for (size_t fill = kFills; fill-- > 0;) {
    if (Span* span = state.partial[fill].Pop(); span != nullptr) return span;
  }
  return nullptr;
}

// Files a swept span that nobody has in hand.
void File(ShapeState& state, Span* span, size_t in_use) {
  if (in_use == 0) {
    FreeSpan(span);
    return;
  }
  base::SpinLockHolder hold(state.mu);
  Put(state, span, in_use);
}

// How many objects of a span are in use, or in a cache's hand.
size_t CountInUse(const Span* span) {
  size_t in_use = 0;
  for (size_t w = 0; w < span->words; ++w) {
    in_use += std::popcount(span->word(w).alloc.load(std::memory_order_relaxed));
  }
  return in_use;
}

// Takes the next word with a free object, from word `from` of the slot's span on.
bool TakeWord(CollectedCache* cache, const ObjectShape* shape, size_t from) {
  Slot& slot = cache->slots[shape->id];
  Span* span = slot.span;
  for (size_t w = from; w < span->words; ++w) {
    const uint64_t alloc = span->word(w).alloc.load(std::memory_order_relaxed);
    const uint64_t free = ~alloc & ObjectMask(span, w);
    if (free == 0) continue;
    // Black before it is in use: whoever finds it does not scan what is not written yet.
    if (heap.black.load(std::memory_order_relaxed)) {
      // release: who sees the marks sees that they are not to be scanned. What is there is a dead
      // object's until it is handed out.
      span->word(w).scanned.fetch_or(free, std::memory_order_relaxed);
      span->word(w).marks.fetch_or(free, std::memory_order_release);
      heap.black_objects.fetch_add(std::popcount(free), std::memory_order_relaxed);
    }
    // release: pairs with the acquire in FindObject()
    span->word(w).alloc.store(alloc | free, std::memory_order_release);
    slot.local = free;
    slot.size = shape->object_bytes;
    slot.base = span->base() + w * 64 * uint64_t{slot.size};
    slot.fresh = span->zeroed && w >= span->untouched_word;
    if (w >= span->untouched_word) span->untouched_word = static_cast<uint8_t>(w + 1);
    cache->words[shape->id] = static_cast<uint32_t>(w);
    heap.since_mark.fetch_add(std::popcount(free) * uint64_t{slot.size}, std::memory_order_relaxed);
    return true;
  }
  return false;
}

// A refill looks at so many unswept spans of its shape before it asks for a new one: each may turn
// out to be full.
constexpr int kMostSweptByRefill = 32;
// Where memory is tight it sweeps so many before it chooses, some 20 us: a span that was not swept
// may be the fullest, and one taken for want of another stays.
constexpr int kMostSweptWhenTight = 256;

bool Refill(CollectedCache* cache, const ObjectShape* shape) {
  ShapeState& state = StateOf(shape);
  Slot& slot = cache->slots[shape->id];
  if (slot.span != nullptr) {
    if (TakeWord(cache, shape, cache->words[shape->id] + 1)) return true;
    base::SpinLockHolder hold(state.mu);
    // Of a word before this one an object may have been freed meanwhile (FreeCollected).
    Put(state, slot.span, CountInUse(slot.span));
    slot.span = nullptr;
  }
  if (heap.tight.load(std::memory_order_relaxed)) {
    size_t in_use;
    for (int i = 0; i < kMostSweptWhenTight; ++i) {
      Span* span = SweepOne(state, &in_use);
      if (span == nullptr) break;
      File(state, span, in_use);
    }
  }
  {
    base::SpinLockHolder hold(state.mu);
    slot.span = PopPartial(state);
    if (slot.span != nullptr) SetPlace(slot.span, kInCache);
  }
  for (int i = 0; slot.span == nullptr && i < kMostSweptByRefill; ++i) {
    size_t in_use;
    Span* span = SweepOne(state, &in_use);
    if (span == nullptr) break;
    if (in_use < Capacity(span)) {
      SetPlace(span, kInCache);
      slot.span = span;
    } else {
      File(state, span, in_use);
    }
  }
  if (slot.span == nullptr) {
    // Who makes the heap grow sweeps as much: so sweeping is done before the next cycle begins.
    SweepSome(kSizeClasses[shape->size_class].pages);
    slot.span = NewSpan(shape, 0);
    if (slot.span == nullptr) return false;
    SetPlace(slot.span, kInCache);
    slot.span->epoch.store(heap.epoch.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  PLIMSOLL_CHECK(TakeWord(cache, shape, 0));  // (3): what is partial has a free object
  return true;
}

// Gives back what the cache has in hand.
void Flush(CollectedCache* cache) {
  const uint32_t count = heap.shape_count.load(std::memory_order_acquire);
  for (uint32_t id = 0; id < count; ++id) {
    Slot& slot = cache->slots[id];
    if (slot.span == nullptr) continue;
    const uint32_t w = cache->words[id];
    Span* span = slot.span;
    span->word(w).alloc.fetch_and(~slot.local, std::memory_order_relaxed);
    span->word(w).marks.fetch_and(~slot.local, std::memory_order_relaxed);
    span->word(w).scanned.fetch_and(~slot.local, std::memory_order_relaxed);
    heap.since_mark.fetch_sub(std::popcount(slot.local) * uint64_t{slot.size},
                              std::memory_order_relaxed);
    if (heap.black.load(std::memory_order_relaxed)) {
      heap.black_objects.fetch_sub(std::popcount(slot.local), std::memory_order_relaxed);
    }
    slot = Slot();
    // Also when it is empty: a span of small objects goes back by sweeping alone, (6).
    ShapeState& state = *heap.shapes[id];
    base::SpinLockHolder hold(state.mu);
    Put(state, span, CountInUse(span));
  }
}

void FlushAll() {
  base::SpinLockHolder hold(heap.caches_mu);
  for (CollectedCache* c = heap.all_caches; c != nullptr; c = c->next) Flush(c);
}

// Clears an object in a leaf function: no call to memset, which lies outside its section. `size` is
// a multiple of 16, by SizeClass's (1).
[[gnu::always_inline]] inline void Clear(void* p, size_t size) {
#if defined(__x86_64__)
  if (size > 512) {
    void* to = p;
    size_t words = size / 8;
    asm volatile("rep stosq" : "+D"(to), "+c"(words) : "a"(uint64_t{0}) : "memory");
    return;
  }
#endif
  typedef long long Two __attribute__((vector_size(16), may_alias));
  for (size_t i = 0; i < size; i += 16) {
    *reinterpret_cast<Two*>(static_cast<char*>(p) + i) = Two{0, 0};
    asm volatile("");  // else the compiler makes it a memset
  }
}

// Under ASan: of an object what was asked for may be touched; but gc_trace reads every element that
// an object has room for.
void UnpoisonObject(void* p, const ObjectShape* shape, size_t bytes) {
  base::Unpoison(p, shape->layout.kind == Layout::Kind::kTraced ? shape->object_bytes : bytes);
}

[[gnu::always_inline]] inline void* TryAllocate(CollectedCache* cache, const ObjectShape* shape) {
  Slot& slot = cache->slots[shape->id];
  const uint64_t local = slot.local;
  if (local == 0) [[unlikely]]
    return nullptr;
  slot.local = local & (local - 1);
  const uint32_t size = slot.size;
  void* p = reinterpret_cast<void*>(slot.base + std::countr_zero(local) * uint64_t{size});
  if (slot.fresh == 0) {
    // Under ASan the object is still poisoned here.
    if constexpr (base::kAsan) base::Unpoison(p, size);
    Clear(p, size);
    if constexpr (base::kAsan) base::Poison(p, size);
  }
  return p;
}

void* AllocateLarge(const ObjectShape* shape, size_t bytes) {
  {
    SlowPath hold;
    SweepSome(PagesFor(ByteCount(bytes)).value());
  }
  Span* span;
  {
    SlowPath hold;
    span = NewSpan(shape, bytes);
    if (span != nullptr) heap.unfiled.fetch_add(1, std::memory_order_relaxed);
  }
  if (span == nullptr) return nullptr;
  void* p = reinterpret_cast<void*>(span->base());
  base::Unpoison(p, span->bytes());
  // May take long, and may be stopped: nobody can find the object before its alloc bit is set.
  if (!span->zeroed) std::memset(p, 0, span->bytes());
  SlowPath hold;
  ShapeState& state = StateOf(shape);
  heap.since_mark.fetch_add(span->bytes(), std::memory_order_relaxed);
  base::SpinLockHolder lock(state.mu);
  if (heap.black.load(std::memory_order_relaxed)) {
    span->word(0).marks.store(1, std::memory_order_relaxed);
    heap.black_objects.fetch_add(1, std::memory_order_relaxed);
  }
  span->epoch.store(heap.epoch.load(std::memory_order_relaxed), std::memory_order_relaxed);
  span->word(0).alloc.store(1, std::memory_order_release);  // as in TakeWord()
  Put(state, span, 1);
  heap.unfiled.fetch_sub(1, std::memory_order_relaxed);
  return p;
}

// Does all of it, from the start.
[[gnu::noinline]] void* AllocateSlow(const ObjectShape* shape, size_t bytes) {
  if (auto* f = heap.check.load(std::memory_order_acquire)) f();
  if (heap.since_mark.load(std::memory_order_relaxed) >=
      heap.trigger.load(std::memory_order_relaxed)) {
    if (auto* f = heap.on_trigger.load(std::memory_order_acquire)) f(bytes);
  }
  if (shape->size_class == 0) return AllocateLarge(shape, bytes);
  for (;;) {
    {
      SlowPath hold;
      CollectedCache* cache = CurrentCache();
      if (cache != &empty_cache) {
        if (cache->slots[shape->id].local == 0 && !Refill(cache, shape)) return nullptr;
        void* p = TryAllocate(cache, shape);
        UnpoisonObject(p, shape, bytes);
        return p;
      }
    }
    auto* f = heap.need_cache.load(std::memory_order_acquire);
    PLIMSOLL_CHECK(f != nullptr, "collected memory is asked for before there is a collector");
    f();
  }
}

}  // namespace

PLIMSOLL_LEAF void* AllocateCollected(const ObjectShape* shape, size_t bytes) {
  void* p;
  {
    PLIMSOLL_LEAF_GUARD;
    p = TryAllocate(current_collected, shape);
    if constexpr (base::kAsan) {
      if (p != nullptr) UnpoisonObject(p, shape, bytes);
    }
  }
  if (p != nullptr) [[likely]]
    return p;
  return AllocateSlow(shape, bytes);
}

const ObjectShape* ShapeFor(const Layout& layout, size_t size_class) {
  SlowPath no_preempt;
  base::SpinLockHolder hold(heap.shapes_mu);
  const uint32_t count = heap.shape_count.load(std::memory_order_relaxed);
  const size_t mask_words =
      layout.kind == Layout::Kind::kMask ? (layout.element_words + 63) / 64 : 0;
  for (uint32_t id = 0; id < count; ++id) {
    const ObjectShape& s = *heap.shapes[id];
    if (s.size_class != size_class || s.layout.kind != layout.kind) continue;
    if (layout.kind == Layout::Kind::kNoscan) return &s;
    if (s.layout.element_words != layout.element_words || s.layout.trace != layout.trace) continue;
    bool same = true;
    for (size_t i = 0; i < mask_words; ++i) same &= s.layout.mask[i] == layout.mask[i];
    if (same) return &s;
  }
  if (count == kMaxShapes) {
    base::Fatal("gc: more than ", kMaxShapes, " shapes (type layout and size class); the last is ",
                layout.name);
  }
  ShapeState* state = heap.shape_storage.New();
  if (state == nullptr) base::Fatal("gc: no memory for the shape of ", layout.name);
  state->layout = layout;
  if (layout.kind == Layout::Kind::kNoscan) state->layout.name = "noscan";  // shared by all types
  state->id = count;
  state->size_class = static_cast<uint32_t>(size_class);
  state->object_bytes = size_class == 0 ? 0 : kSizeClasses[size_class].size;
  state->mask0 = mask_words > 0 ? layout.mask[0] : 0;
  if (mask_words == 1 && size_class != 0) {
    state->elements = state->object_bytes / 8 / layout.element_words;
    // As Go's: in larger objects there is less to gain, and few lie in a span.
    constexpr uint32_t kLargestBySpan = 256;
    // An array of no elements may be too small for one.
    state->by_span = state->elements != 0 && state->object_bytes <= kLargestBySpan;
  }
  heap.shapes[count] = state;
  heap.shape_count.store(count + 1, std::memory_order_release);  // pairs with Flush() and others
  return state;
}

void Unmark(const Object& o) {
  o.span->word(o.index / 64)
      .marks.fetch_and(~(uint64_t{1} << (o.index % 64)), std::memory_order_relaxed);
}

CollectedCache* NewCollectedCache() {
  SlowPath no_preempt;
  base::SpinLockHolder hold(heap.caches_mu);
  for (CollectedCache* c = heap.all_caches; c != nullptr; c = c->next) {
    if (c->in_use) continue;
    c->in_use = true;
    return c;
  }
  MmapPages pages;
  const Mapping m =
      pages.Map(ByteCount((sizeof(CollectedCache) + 4095) & ~size_t{4095}), ByteCount(4096), 0);
  if (m.base == nullptr) return nullptr;
  auto* cache = static_cast<CollectedCache*>(m.base);  // zeroes are an empty cache
  cache->in_use = true;
  cache->next = heap.all_caches;
  heap.all_caches = cache;
  return cache;
}

void DeleteCollectedCache(CollectedCache* cache) {
  SlowPath no_preempt;
  Flush(cache);
  base::SpinLockHolder hold(heap.caches_mu);
  cache->in_use = false;
}

void SetCurrentCollectedCache(CollectedCache* cache) {
  current_collected = cache == nullptr ? &empty_cache : cache;
}

// Not flushed: outside of a stop of the world markers may be looking at the same words.
void LeaveCollectedCache() {
  SlowPath no_preempt;
  CollectedCache* cache = CurrentCache();
  if (cache == &empty_cache) return;
  SetCurrentCollectedCache(nullptr);
  base::SpinLockHolder hold(heap.caches_mu);
  cache->in_use = false;
}

void SetCollectedHooks(CollectedHooks hooks) {
  heap.check.store(hooks.check, std::memory_order_release);
  heap.need_cache.store(hooks.need_cache, std::memory_order_release);
  heap.on_trigger.store(hooks.trigger, std::memory_order_release);
}

bool FreeCollected(const Object& o) {
  SlowPath no_preempt;  // so no mark begins meanwhile
  if (heap.black.load(std::memory_order_relaxed)) return false;
  Span* span = o.span;
  const ObjectShape* shape = span->shape;
  const size_t w = o.index / 64;
  const uint64_t bit = uint64_t{1} << (o.index % 64);
  const size_t bytes = o.bytes();
  std::atomic<uint64_t>& alloc = span->word(w).alloc;
  // Clears the bit. Where a TakeWord or a Sweep that stores the word is under way it may come back:
  // then the object is nobody's until the next cycle.
  const auto clear = [&] {
    base::Poison(reinterpret_cast<void*>(o.base()), bytes);
    if ((alloc.fetch_and(~bit, std::memory_order_relaxed) & bit) == 0) {
      base::Fatal("gc: ", base::Hex(o.base()), " was freed twice");
    }
    // What was allocated and freed since the last mark does not bring the next one nearer.
    uint64_t since = heap.since_mark.load(std::memory_order_relaxed);
    while (since >= bytes && !heap.since_mark.compare_exchange_weak(since, since - bytes,
                                                                    std::memory_order_relaxed)) {
    }
    if (since >= bytes) heap.taken_off.fetch_add(bytes, std::memory_order_relaxed);
  };
  ShapeState& state = StateOf(shape);
  {
    base::SpinLockHolder hold(state.mu);
    // acquire: pairs with the release in Sweep().
    const bool swept =
        span->epoch.load(std::memory_order_acquire) == heap.epoch.load(std::memory_order_relaxed);
    const uint8_t place = span->place.load(std::memory_order_relaxed);
    if (!swept) {
      // A sweeper, who may have taken the mark himself.
      if (place != kInPartial && place != kInFull) return false;
      // In `unswept`, and whoever takes it out, after us, frees the object.
      if ((span->word(w).marks.fetch_and(~bit, std::memory_order_relaxed) & bit) == 0) {
        base::Fatal("gc: ", base::Hex(o.base()), " was freed twice, or nothing reached it");
      }
      return true;
    }
    switch (place) {
      case kInFull:
        clear();
        state.full.Remove(span);
        if (shape->size_class == 0) break;  // of it nothing is left
        Put(state, span, CountInUse(span));
        return true;
      case kInPartial:
        clear();
        return true;
      case kInCache: {
        CollectedCache* cache = CurrentCache();
        Slot& slot = cache->slots[shape->id];
        if (slot.span != span || cache->words[shape->id] != w) {
          clear();
          return true;
        }
        // The word in hand: to be given out next.
        if ((slot.local & bit) != 0) base::Fatal("gc: ", base::Hex(o.base()), " was freed twice");
        base::Poison(reinterpret_cast<void*>(o.base()), bytes);
        slot.local |= bit;
        slot.fresh = 0;
        return true;
      }
      default:
        return false;  // in the hand of a sweeper, who has counted it
    }
  }
  FreeSpan(span);
  return true;
}

bool SweepSome(size_t pages) {
  if (heap.unswept.load(std::memory_order_relaxed) == 0) return false;
  SlowPath no_preempt;
  const uint32_t count = heap.shape_count.load(std::memory_order_acquire);
  uint32_t at = heap.sweep_cursor.load(std::memory_order_relaxed) % count;
  size_t done = 0;
  for (uint32_t looked = 0; looked < count && done < pages;) {
    ShapeState& state = *heap.shapes[at];
    size_t in_use;
    if (Span* span = SweepOne(state, &in_use); span != nullptr) {
      done += span->pages;
      File(state, span, in_use);
      continue;
    }
    ++looked;
    at = at + 1 == count ? 0 : at + 1;
    heap.sweep_cursor.store(at, std::memory_order_relaxed);
  }
  return heap.unswept.load(std::memory_order_relaxed) != 0;
}

void BeginMark() {
  while (SweepSome(SIZE_MAX)) {
  }
  FlushAll();
}

void EndMark(uint64_t live) {
  FlushAll();
  heap.epoch.fetch_add(1, std::memory_order_relaxed);
  const uint32_t count = heap.shape_count.load(std::memory_order_acquire);
  uint64_t unswept = 0;
  for (uint32_t id = 0; id < count; ++id) {
    ShapeState& state = *heap.shapes[id];
    base::SpinLockHolder hold(state.mu);
    // What was left as it was is likely to have room; where memory is tight, it is what is to be
    // left alone.
    const bool tight = heap.tight.load(std::memory_order_relaxed);
    if (tight) state.unswept.TakeAll(state.full);
    for (size_t fill = kFills; fill-- > 0;) state.unswept.TakeAll(state.partial[fill]);
    state.unswept.TakeAll(state.full);
    unswept += state.unswept.size();
  }
  heap.unswept.store(unswept, std::memory_order_relaxed);
  heap.live_after_mark.store(live, std::memory_order_relaxed);
  heap.allocated_before.fetch_add(heap.since_mark.exchange(0, std::memory_order_relaxed),
                                  std::memory_order_relaxed);
}

void FlushCaches() { FlushAll(); }

void SetAllocateBlack(bool on) {
  heap.black.store(on, std::memory_order_relaxed);
  if (on) heap.black_objects.store(0, std::memory_order_relaxed);
}

void SetTight(bool on) { heap.tight.store(on, std::memory_order_relaxed); }

uint64_t BlackObjects() { return heap.black_objects.load(std::memory_order_relaxed); }

uint64_t BytesSinceMark() { return heap.since_mark.load(std::memory_order_relaxed); }

void ForEachObject(void (*f)(const Object& object, void* arg), void* arg) {
  core.pages.ForEachSpan([&](Span* span) {
    if (span->owner.load(std::memory_order_relaxed) != &collected_owner) return;
    for (size_t w = 0; w < span->words; ++w) {
      for (uint64_t bits = span->word(w).alloc.load(std::memory_order_relaxed); bits != 0;
           bits &= bits - 1) {
        f({span, static_cast<uint32_t>(w * 64 + std::countr_zero(bits))}, arg);
      }
    }
  });
}

CollectedStats GetCollectedStats() {
  CollectedStats s;
  s.live_after_mark = heap.live_after_mark.load(std::memory_order_relaxed);
  s.since_mark = heap.since_mark.load(std::memory_order_relaxed);
  s.allocated_total = heap.allocated_before.load(std::memory_order_relaxed) + s.since_mark +
                      heap.taken_off.load(std::memory_order_relaxed);
  s.freed_spans = heap.freed_spans.load(std::memory_order_relaxed);
  s.spans = heap.spans.load(std::memory_order_relaxed);
  s.span_bytes = heap.span_bytes.load(std::memory_order_relaxed);
  s.shapes = heap.shape_count.load(std::memory_order_relaxed);
  SlowPath no_preempt;
  const PageStats pages = core.pages.Stats();
  s.held = pages.in_use + pages.idle;
  return s;
}

void SetTrigger(uint64_t bytes_since_mark) {
  heap.trigger.store(bytes_since_mark, std::memory_order_relaxed);
}

void CheckCollectedInvariants() {
  const uint32_t epoch = heap.epoch.load();
  const uint32_t count = heap.shape_count.load();
  uint64_t spans = 0;
  uint64_t unswept = 0;
  const auto check_swept = [&](Span* span, const ObjectShape* shape, bool partial) {
    ++spans;
    PLIMSOLL_CHECK(span->shape == shape);
    PLIMSOLL_CHECK(span->epoch.load() == epoch);  // (4)
    PLIMSOLL_CHECK(span->waiting.load() == 0);    // (2)
    size_t in_use = 0;
    for (size_t w = 0; w < span->words; ++w) {
      const uint64_t alloc = span->word(w).alloc.load();
      PLIMSOLL_CHECK((alloc & ~ObjectMask(span, w)) == 0);
      PLIMSOLL_CHECK(span->word(w).marks.load() == 0);    // (2)
      PLIMSOLL_CHECK(span->word(w).scanned.load() == 0);  // (2)
      in_use += std::popcount(alloc);
    }
    PLIMSOLL_CHECK((in_use < Capacity(span)) == partial);  // (3)
  };
  for (uint32_t id = 0; id < count; ++id) {
    ShapeState& state = *heap.shapes[id];
    base::SpinLockHolder hold(state.mu);
    for (const SpanQueue& partial : state.partial) {
      for (Span* s = partial.first(); s != nullptr; s = s->next) check_swept(s, &state, true);
    }
    for (Span* s = state.full.first(); s != nullptr; s = s->next) check_swept(s, &state, false);
    for (Span* s = state.unswept.first(); s != nullptr; s = s->next) {
      ++spans;
      ++unswept;
      PLIMSOLL_CHECK(s->epoch.load() + 1 == epoch);  // (4)
    }
  }
  {
    base::SpinLockHolder hold(heap.caches_mu);
    for (CollectedCache* c = heap.all_caches; c != nullptr; c = c->next) {
      for (uint32_t id = 0; id < count; ++id) {
        const Slot& slot = c->slots[id];
        if (slot.span == nullptr) continue;
        ++spans;
        PLIMSOLL_CHECK(slot.span->shape == heap.shapes[id]);
        PLIMSOLL_CHECK((slot.local & ~slot.span->word(c->words[id]).alloc.load()) == 0);
        PLIMSOLL_CHECK(slot.span->epoch.load() == epoch);  // (4)
      }
    }
  }
  PLIMSOLL_CHECK(spans + heap.unfiled.load() == heap.spans.load());  // (3)
  PLIMSOLL_CHECK(unswept == heap.unswept.load());
}

}  // namespace plimsoll::alloc
