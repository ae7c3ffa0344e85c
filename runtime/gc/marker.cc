#include "plimsoll/runtime/gc/marker.h"

#include <algorithm>
#include <bit>

#include "plimsoll/alloc/span_map.h"
#include "plimsoll/runtime/gc/crew.h"
#include "plimsoll/runtime/gc/scan_claim.h"

// What a program's sanitizer knows of stacks and objects is not for the collector: it reads
// redzones, and words that others wrote before they were stopped.
#if defined(__clang__)
#define PLIMSOLL_NO_SANITIZE \
  __attribute__((no_sanitize("address", "thread", "memory", "undefined")))
#else
#define PLIMSOLL_NO_SANITIZE __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

namespace plimsoll::gc::internal {

using alloc::FindSpan;
using alloc::Layout;
using alloc::Object;
using alloc::ObjectShape;
using alloc::Span;

namespace {

constexpr uintptr_t kWordBytes = sizeof(uintptr_t);

// What a marker needs of a span: all of the record where it has up to 128 objects; of a larger one
// the bits of the first.
[[gnu::always_inline]] inline void PrefetchRecord(const Span* span) {
  __builtin_prefetch(span);
  __builtin_prefetch(reinterpret_cast<const char*>(span) + 64);
}

// A word that was kept waits in a stack as a span does, with a bit that no address has.
constexpr uintptr_t kKeptBit = uintptr_t{1} << 63;
// What following one is of a step, in bytes of objects.
constexpr size_t kKeptBytes = 64;

// The only reader of raw memory. Not more than this is exempt: what is inlined into an exempt
// function still poisons its locals where gcc has marked their scopes, and nothing clears that.
PLIMSOLL_NO_SANITIZE inline uintptr_t LoadWord(uintptr_t at) {
  return *reinterpret_cast<const volatile uintptr_t*>(at);
}

}  // namespace

bool Marker::Strikes(Fault fault, uint64_t nth) { return fault_ == fault && ++asked_ == nth; }

template <Marker::Way kWay>
[[gnu::always_inline]] inline void Marker::Find(uintptr_t word) {
  if (word == 0) return;
  Span* span = FindSpan(word);
  if (span == nullptr) return;
  if constexpr (kWay == Way::kFaulty) {
    if (Strikes(Fault::kDropFound, 3)) return;
  }
  PrefetchRecord(span);
  Found& slot = found_[found_at_ % kFound];
  const Found oldest = slot;
  slot = {word, span};
  ++found_at_;
  if (oldest.span != nullptr) Follow<kWay>(oldest);
}

template <Marker::Way kWay>
[[gnu::always_inline]] inline void Marker::Follow(Found found) {
  Span* span = found.span;
  if (span->owner.load(std::memory_order_relaxed) != &alloc::collected_owner) return;
  const uint64_t offset = found.address - span->base();
  if (offset >= span->bytes()) return;
  const alloc::ObjectIndex at = alloc::Index(offset, span->magic());
  Object o{span, at.index};
  // acquire: as in FindObject()
  if ((span->word(o.index / 64).alloc.load(std::memory_order_acquire) >> (o.index % 64) & 1) == 0)
    return;
  if constexpr (kWay == Way::kFaulty) {
    if (fault_ == Fault::kNoInterior && o.base() != found.address) return;
    if (fault_ == Fault::kMarkNeighbour && o.index + 1 < span->klass().objects &&
        Strikes(Fault::kMarkNeighbour, 2)) {
      ++o.index;
    }
  }
  if constexpr (kWay == Way::kShared || kWay == Way::kBeside) {
    if (!alloc::Mark(o)) return;
  } else {
    if (!alloc::MarkAlone(o)) return;
  }
  ++marked_.objects;
  marked_.bytes += o.bytes();
  if constexpr (kWay == Way::kFaulty) {
    const ObjectShape* shape = span->shape;
    if (Strikes(Fault::kFlipMark, 2)) alloc::Unmark(o);
    if (fault_ == Fault::kAllNoscan) return;
    if (shape->layout.kind != Layout::Kind::kNoscan && Strikes(Fault::kDropGrey, 2)) {
      // Nor does another object's span wait bring it up.
      span->word(o.index / 64)
          .scanned.fetch_or(uint64_t{1} << (o.index % 64), std::memory_order_relaxed);
      return;
    }
    if (fault_ == Fault::kLargeHead && shape->size_class == 0 &&
        shape->layout.kind == Layout::Kind::kMask) {
      stack_.Push({o.base(), shape});
      return;
    }
  }
  if (span->shape->by_span) {
    Enqueue<kWay>(span);
  } else {
    PushObject(stack_, o);
  }
}

template <Marker::Way kWay>
[[gnu::always_inline]] inline void Marker::Enqueue(Span* span) {
  std::atomic<uint32_t>& waiting = span->waiting;
  if (kWay == Way::kShared || kWay == Way::kBeside ? ClaimWaiting(waiting)
                                                   : ClaimWaitingAlone(waiting)) {
    if constexpr (kWay == Way::kFaulty) {
      if (Strikes(Fault::kSpanNotQueued, 1)) return;
    }
    spans_.Push(span);
  }
}

uintptr_t EndOf(Grey grey) {
  if (grey.shape->size_class != 0) return grey.address + grey.shape->object_bytes;
  const Span* span = FindSpan(grey.address);
  const uintptr_t end = span->base() + span->bytes();
  const uintptr_t piece =
      span->base() + ((grey.address - span->base()) / kPieceBytes + 1) * kPieceBytes;
  return grey.shape->layout.kind == Layout::Kind::kMask && piece < end ? piece : end;
}

namespace {

// Calls f(address) for each mapped word. Elements begin at the object's base: a piece of a large
// object begins within one, in general.
template <typename F>
[[gnu::always_inline]] inline void ForEachMappedWord(Grey grey, F f) {
  const Layout& layout = grey.shape->layout;
  const uintptr_t end = EndOf(grey);
  const uintptr_t element_words = layout.element_words;
  if (element_words <= 64 && grey.shape->size_class != 0) [[likely]] {
    const uint64_t mask = grey.shape->mask0;
    const uintptr_t bytes = element_words * kWordBytes;
    for (uintptr_t at = grey.address; at + bytes <= end; at += bytes) {
      for (uint64_t bits = mask; bits != 0; bits &= bits - 1) {
        f(at + static_cast<uintptr_t>(std::countr_zero(bits)) * kWordBytes);
      }
    }
    return;
  }
  const uintptr_t base =
      grey.shape->size_class != 0 ? grey.address : FindSpan(grey.address)->base();
  uintptr_t word = (grey.address - base) / kWordBytes % element_words;
  for (uintptr_t at = grey.address; at < end; at += kWordBytes) {
    if ((layout.mask[word / 64] >> (word % 64) & 1) != 0) f(at);
    if (++word == element_words) word = 0;
  }
}

// Whether something that is not marked hangs by it.
bool LeadsOn(Grey grey) {
  bool leads = false;
  ForEachMappedWord(grey, [&leads](uintptr_t at) {
    Object o;
    leads |= alloc::FindObject(LoadWord(at), &o) && !alloc::IsMarked(o);
  });
  return leads;
}

}  // namespace

template <Marker::Way kWay>
[[gnu::always_inline]] inline void Marker::ScanObject(Grey grey) {
  if constexpr (kWay != Way::kFaulty) {
    // Most objects: small, and one word of mask.
    if (uint32_t elements = grey.shape->elements; elements != 0) [[likely]] {
      const uint64_t mask = grey.shape->mask0;
      const uintptr_t bytes = grey.shape->layout.element_words * kWordBytes;
      for (uintptr_t at = grey.address; elements != 0; --elements, at += bytes) {
        for (uint64_t bits = mask; bits != 0; bits &= bits - 1) {
          Find<kWay>(LoadWord(at + static_cast<uintptr_t>(std::countr_zero(bits)) * kWordBytes));
        }
      }
      return;
    }
  }
  if (grey.shape->layout.kind == Layout::Kind::kTraced) {
    if constexpr (kWay == Way::kFaulty) {
      if (fault_ == Fault::kNotTraced) return;
    }
    const uintptr_t bytes = grey.shape->layout.element_words * kWordBytes;
    const uintptr_t end = EndOf(grey);
    if constexpr (kWay == Way::kBeside || kWay == Way::kBesideAlone) {
      // A large one in pieces too, since every word of it is followed: a step ends between.
      uintptr_t piece = end;
      if (grey.shape->size_class == 0 && end - grey.address > kPieceBytes) {
        piece = grey.address + kPieceBytes;
        stack_.Push({piece, grey.shape});
      }
      for (uintptr_t at = grey.address; at + kWordBytes <= piece; at += kWordBytes) {
        Find<kWay>(LoadWord(at));
      }
      return;
    }
    for (uintptr_t at = grey.address; at + bytes <= end; at += bytes) {
      grey.shape->layout.trace(reinterpret_cast<const void*>(at), *this);
    }
    return;
  }
  if constexpr (kWay == Way::kFaulty) {
    uint64_t mapped = 0;
    ForEachMappedWord(grey, [&mapped](uintptr_t) { ++mapped; });
    uint64_t nth = 0;
    const uintptr_t element = grey.address + grey.shape->layout.element_words * kWordBytes;
    ForEachMappedWord(grey, [&](uintptr_t at) {
      ++nth;
      if (fault_ == Fault::kLastWord && nth == mapped) return;
      if (fault_ == Fault::kFirstWord && nth == 1) return;
      if (fault_ == Fault::kFirstElement && at >= element) return;
      if (fault_ == Fault::kShiftedMask) at += at + kWordBytes < EndOf(grey) ? kWordBytes : 0;
      Find<Way::kFaulty>(LoadWord(at));
    });
    return;
  }
  ForEachMappedWord(grey, [this](uintptr_t at) { Find<kWay>(LoadWord(at)); });
}

template <Marker::Way kWay>
void Marker::ScanSpan(Span* span, size_t& budget) {
  constexpr bool kAlone = kWay != Way::kShared && kWay != Way::kBeside;
  constexpr bool kBudget = kWay == Way::kBeside || kWay == Way::kBesideAlone;
  const ObjectShape* shape = span->shape;
  const uintptr_t base = span->base();
  const uintptr_t span_bytes = span->bytes();
  const uint32_t magic = span->magic();
  const uint64_t mask = shape->mask0;
  const uintptr_t size = shape->object_bytes;
  const uintptr_t element_bytes = shape->layout.element_words * kWordBytes;
  const size_t words = span->words;
  if constexpr (kAlone) {
    TakeOutAlone(span->waiting);
  } else {
    TakeOut(span->waiting);
  }
  uint64_t marked = 0;
  for (size_t w = 0; w < words;) {
    alloc::Word& word = span->word(w);
    const uint64_t grey =
        kAlone ? ClaimGreyAlone(word.marks, word.scanned) : ClaimGrey(word.marks, word.scanned);
    if (grey == 0) {
      ++w;
      continue;
    }
    size_t next = w;  // the first word in which something is grey that was passed
    const uintptr_t first = base + w * 64 * size;
    for (uint64_t left = grey; left != 0; left &= left - 1) {
      if constexpr (kBudget) {
        if (budget == 0) [[unlikely]] {
          GiveBack(word.scanned, left);
          break;
        }
        budget -= std::min<size_t>(size, budget);
      }
      uintptr_t at = first + static_cast<uintptr_t>(std::countr_zero(left)) * size;
      if constexpr (kWay == Way::kFaulty) {
        if (fault_ == Fault::kSkippedInSpan && LeadsOn({at, shape}) &&
            Strikes(Fault::kSkippedInSpan)) {
          continue;
        }
        ScanObject<kWay>({at, shape});
        continue;
      }
      uint32_t elements = shape->elements;
      do {
        for (uint64_t bits = mask; bits != 0; bits &= bits - 1) {
          const uintptr_t value =
              LoadWord(at + static_cast<uintptr_t>(std::countr_zero(bits)) * kWordBytes);
          const uintptr_t offset = value - base;
          if (offset >= span_bytes) {
            Find<kWay>(value);
            continue;
          }
          const uint32_t index = alloc::Index(offset, magic).index;
          const alloc::Word& to = span->word(index / 64);
          // acquire: as in FindObject()
          if ((to.alloc.load(std::memory_order_acquire) >> (index % 64) & 1) == 0) continue;
          const Object o{span, index};
          if (!(kAlone ? alloc::MarkAlone(o) : alloc::Mark(o))) continue;
          // It is scanned when the rest of its word has been.
          __builtin_prefetch(reinterpret_cast<const void*>(base + index * size));
          ++marked;
          next = std::min<size_t>(next, index / 64);
        }
        at += element_bytes;
      } while (--elements != 0);
    }
    w = next;
    if (kBudget && budget == 0) {  // whatever is grey in it now or in a later word
      Enqueue<kWay>(span);
      break;
    }
  }
  marked_.objects += marked;
  marked_.bytes += marked * size;
}

// Looks ahead in the queue: at the record of one that comes later, at the grey objects of the next.
template <Marker::Way kWay>
[[gnu::always_inline]] inline void Marker::ScanNextSpan(size_t& budget) {
  constexpr size_t kRecordAhead = 4;
  constexpr size_t kObjectsAhead = 1;
  Span* span = spans_.Pop();
  if (const Span* later = spans_.Peek(kRecordAhead - 1)) PrefetchRecord(later);
  if (const Span* near = spans_.Peek(kObjectsAhead - 1)) {
    const uintptr_t size = near->object_size;
    uintptr_t first = near->base();
    for (size_t w = 0; w < near->words; ++w, first += 64 * size) {
      const alloc::Word& word = near->word(w);
      uint64_t grey = word.marks.load(std::memory_order_relaxed) &
                      ~word.scanned.load(std::memory_order_relaxed);
      for (int i = 0; grey != 0 && i < 8; ++i, grey &= grey - 1) {
        __builtin_prefetch(reinterpret_cast<const void*>(
            first + static_cast<uintptr_t>(std::countr_zero(grey)) * size));
      }
    }
  }
  ScanSpan<kWay>(span, budget);
}

size_t Marker::TakeOldest(Grey* to, size_t most) {
  size_t n = stack_.TakeOldest(to, most);
  for (size_t spans = spans_.size() / 2; n < most && spans > 0; --spans) {
    to[n++] = {reinterpret_cast<uintptr_t>(spans_.Pop()), nullptr};
  }
  return n;
}

template <Marker::Way kWay>
bool Marker::FollowFound() {
  bool any = false;
  for (size_t i = 0; i < kFound; ++i) {
    Found& slot = found_[(found_at_ + i) % kFound];
    if (slot.span == nullptr) continue;
    const Found found = slot;
    slot = Found();
    Follow<kWay>(found);
    any = true;
  }
  return any;
}

template <Marker::Way kWay>
void Marker::DrainAll(size_t budget) {
  Grey next[kNext];
  size_t first = 0;
  size_t count = 0;
  for (;;) {
    if constexpr (kWay == Way::kShared) {
      if (pool_->Hungry()) [[unlikely]]
        pool_->Give(*this);
    }
    if constexpr (kWay == Way::kBeside || kWay == Way::kBesideAlone) {
      if (crew_->Hungry()) [[unlikely]]
        crew_->Give(*this);
      if (budget == 0) [[unlikely]] {
        for (; count > 0; --count, first = (first + 1) % kNext) stack_.Push(next[first]);
        FollowFound<kWay>();
        return;
      }
    }
    if (!stack_.empty() && count < kNext) {
      const Grey grey = stack_.Pop();
      if (grey.shape == nullptr) [[unlikely]] {
        if constexpr (kWay == Way::kBeside || kWay == Way::kBesideAlone) {
          if ((grey.address & kKeptBit) != 0) {
            budget -= std::min(kKeptBytes, budget);
            Find<kWay>(grey.address & ~kKeptBit);
            continue;
          }
        }
        spans_.Push(reinterpret_cast<Span*>(grey.address));  // another gave it
        continue;
      }
      __builtin_prefetch(reinterpret_cast<const void*>(grey.address));
      next[(first + count) % kNext] = grey;
      ++count;
      continue;
    }
    if (count > 0) {
      const Grey grey = next[first];
      first = (first + 1) % kNext;
      --count;
      if constexpr (kWay == Way::kBeside || kWay == Way::kBesideAlone) {
        const size_t bytes = grey.shape->object_bytes != 0 ? grey.shape->object_bytes : kPieceBytes;
        budget -= bytes < budget ? bytes : budget;
      }
      ScanObject<kWay>(grey);
      continue;
    }
    if (!spans_.empty()) {
      ScanNextSpan<kWay>(budget);
      continue;
    }
    if constexpr (kWay == Way::kFaulty) {
      if (fault_ == Fault::kEarlyEnd) {
        for (Found& f : found_) f = Found();
      }
    }
    // Nothing is grey but what is yet to be followed.
    if (!FollowFound<kWay>()) return;  // by (1)
  }
}

template <typename F>
[[gnu::always_inline]] inline void Marker::InItsWay(F f) {
  if (fault_ != Fault::kNone) {
    f.template operator()<Way::kFaulty>();
  } else if (crew_ != nullptr) {
    f.template operator()<Way::kBeside>();
  } else if (pool_ != nullptr) {
    f.template operator()<Way::kShared>();
  } else {
    f.template operator()<Way::kAlone>();
  }
}

void Marker::Drain() {
  // A crew's is drained in steps.
  InItsWay([this]<Way kWay>() { DrainAll<kWay>(SIZE_MAX); });
}

void Marker::DrainSome(size_t bytes, bool alone) {
  if (alone) {
    DrainAll<Way::kBesideAlone>(bytes);
  } else {
    DrainAll<Way::kBeside>(bytes);
  }
}

void Marker::Settle() { FollowFound<Way::kBeside>(); }

void Marker::TakeAndDrain(bool working) {
  while (pool_->Take(stack_, working ? &marked_ : nullptr)) {
    DrainAll<Way::kShared>();
    working = true;
  }
}

void Marker::KeepWords(bool keep) {
  keeps_ = keep;
  kept_ = 0;
  // What is made meanwhile, for others than mutators, holds nothing that is collected.
  known_ = alloc::KnownRegions();
}

void Marker::Root(uintptr_t address) {
  if (keeps_) {
    Keep(address);
    return;
  }
  if (Strikes(Fault::kMissedRoot)) return;
  InItsWay([=, this]<Way kWay>() { Find<kWay>(address); });
}

template <Marker::Way kWay>
void Marker::ScanWords(uintptr_t lo, uintptr_t hi) {
  for (uintptr_t at = lo; at + kWordBytes <= hi; at += kWordBytes) {
    if constexpr (kWay == Way::kFaulty) {
      if (fault_ == Fault::kSecondWord && at % (2 * kWordBytes) != 0) continue;
    }
    Find<kWay>(LoadWord(at));
  }
}

// Not even the span is looked for: a word is kept where the heap ever had memory near it. Most are
// none of its addresses at all.
[[gnu::always_inline]] inline void Marker::Keep(uintptr_t word) {
  if (!known_.Holds(word)) [[likely]]
    return;
  if (alloc::FindRegion(word) == nullptr) return;
  if (kept_ < kMostKept && stack_.TryPush({word | kKeptBit, nullptr})) {
    ++kept_;
  } else {
    Find<Way::kBeside>(word);
  }
}

void Marker::Scan(uintptr_t lo, uintptr_t hi) {
  lo = (lo + kWordBytes - 1) & ~(kWordBytes - 1);
  if (keeps_) {
    for (uintptr_t at = lo; at + kWordBytes <= hi; at += kWordBytes) Keep(LoadWord(at));
    return;
  }
  InItsWay([=, this]<Way kWay>() { ScanWords<kWay>(lo, hi); });
}

void Marker::ScanInterrupted(uintptr_t lo, uintptr_t hi) {
  Scan(lo, hi);
  if (crew_ == nullptr) return;
  lo = (lo + kWordBytes - 1) & ~(kWordBytes - 1);
  for (uintptr_t at = lo; at + kWordBytes <= hi; at += kWordBytes) {
    const uintptr_t slot = LoadWord(at);
    Object o;
    if (slot % kWordBytes != 0 || !alloc::FindObject(slot, &o)) continue;
    if (keeps_) {
      Keep(LoadWord(slot));
    } else {
      Find<Way::kBeside>(LoadWord(slot));
    }
  }
}

void Marker::Visit(const void* const* word) {
  const uintptr_t value = LoadWord(reinterpret_cast<uintptr_t>(word));
  InItsWay([=, this]<Way kWay>() { Find<kWay>(value); });
}

void ForEachWord(Grey grey, void (*f)(void* arg, uintptr_t word, uintptr_t at), void* arg) {
  if (grey.shape->layout.kind == Layout::Kind::kNoscan) return;
  if (grey.shape->layout.kind == Layout::Kind::kMask) {
    ForEachMappedWord(grey, [=](uintptr_t at) { f(arg, LoadWord(at), at); });
    return;
  }
  struct Sink final : alloc::TraceSink {
    void (*f)(void*, uintptr_t, uintptr_t);
    void* arg;
    void Visit(const void* const* word) override {
      const auto at = reinterpret_cast<uintptr_t>(word);
      f(arg, LoadWord(at), at);
    }
  } sink;
  sink.f = f;
  sink.arg = arg;
  const uintptr_t bytes = grey.shape->layout.element_words * kWordBytes;
  const uintptr_t end = EndOf(grey);
  for (uintptr_t at = grey.address; at + bytes <= end; at += bytes) {
    grey.shape->layout.trace(reinterpret_cast<const void*>(at), sink);
  }
}

}  // namespace plimsoll::gc::internal
