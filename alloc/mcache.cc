#include "plimsoll/alloc/mcache.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {

// Takes the next word with a free object, from word `from` of the current span on.
bool MCache::TakeWord(size_t size_class, size_t from) {
  Bin& bin = bins_[size_class];
  Slot& slot = slots_[size_class];
  Span* span = bin.span;
  for (size_t w = from; w < span->words; ++w) {
    const uint64_t free = span->FreeBits(w);
    if (free == 0) continue;
    bin.word = w;
    slot.local = free;
    slot.size = span->klass().size;
    slot.base = span->base() + w * 64 * slot.size;
    slot.alloc = &span->alloc[w];
    slot.fresh = span->zeroed && w >= span->untouched_word;
    if (w >= span->untouched_word) span->untouched_word = static_cast<uint32_t>(w + 1);
    return true;
  }
  return false;
}

// Makes `span`, which is in no list, the current one.
void MCache::Install(size_t size_class, Span* span) {
  span->state = SpanState::kCurrent;
  span->countdown = kNever;
  bins_[size_class].span = span;
}

// Files a span by how many objects it has to give.
void MCache::SetAside(size_t size_class, Span* span) {
  Bin& bin = bins_[size_class];
  const size_t live = span->CountAllocated();
  const size_t free = span->klass().objects - live;
  const size_t worth = WorthHaving(span->klass());
  if (live == 0) {
    if (empty_bytes_ + span->bytes() > kMostEmptyBytes) {
      core->pages.FreeSpan(span);
      return;
    }
    span->state = SpanState::kPartial;
    span->countdown = 0;
    span->retained = true;
    bin.partial.PushBack(span);
    ++bin.empty;
    empty_bytes_ += span->bytes();
  } else if (free >= worth) {
    span->state = SpanState::kPartial;
    span->countdown = live;  // by Span's (4)
    // Ahead of the empty ones: what is in use is filled up first, so that the rest can go back.
    bin.partial.PushFront(span);
  } else {
    span->state = SpanState::kFull;
    span->countdown = worth - free;
    bin.full.PushBack(span);
  }
}

// Takes the current span out of use.
void MCache::PutAway(size_t size_class) {
  Bin& bin = bins_[size_class];
  Span* span = bin.span;
  if (span == nullptr) return;
  slots_[size_class] = Slot();
  bin.span = nullptr;
  SetAside(size_class, span);
}

void MCache::Unretain(Span* span) {
  span->retained = false;
  --bins_[span->class_index()].empty;
  empty_bytes_ -= span->bytes();
}

void* MCache::Refill(size_t size_class) {
  Bin& bin = bins_[size_class];
  Slot& slot = slots_[size_class];
  ReadMail();
  if (bin.span != nullptr && slot.local == 0) {
    if (!TakeWord(size_class, bin.word + 1)) {
      // Once round: begin again if enough came free meanwhile.
      ApplyRemote(bin.span);
      const size_t free = bin.span->klass().objects - bin.span->CountAllocated();
      if (free < WorthHaving(bin.span->klass()) || !TakeWord(size_class, 0)) PutAway(size_class);
    }
  }
  if (bin.span == nullptr) {
    Span* span = bin.partial.PopFront();
    if (span != nullptr) {
      if (span->retained) Unretain(span);
    } else {
      core->ReadOrphansMail();
      span = core->central[size_class].Take(this);
      if (span != nullptr) ApplyRemote(span);
    }
    if (span == nullptr) span = core->pages.NewSpan(size_class, this);
    if (span == nullptr) return nullptr;
    Install(size_class, span);
    PLIMSOLL_CHECK(TakeWord(size_class, 0));
  }
  return TryAllocateClass(size_class);
}

void MCache::Attend(Span* span) {
  // A full span has become worth having, or a partial one empty. It may have been seen to already.
  if (span->state == SpanState::kCurrent || span->retained) return;
  const size_t size_class = span->class_index();
  Bin& bin = bins_[size_class];
  (span->state == SpanState::kFull ? bin.full : bin.partial).Remove(span);
  ApplyRemote(span);
  SetAside(size_class, span);
}

// Counts `freed` objects of a span of ours that others freed.
void MCache::Settle(Span* span, size_t freed) {
  if (span->state == SpanState::kCurrent) return;
  span->countdown -= freed;
  if (static_cast<int64_t>(span->countdown) <= 0 && !span->retained) Attend(span);
}

void MCache::ReadMail() {
  for (Span* span = TakeMail(*this); span != nullptr;) {
    Span* next = Unnotify(span);
    if (span->owner.load(std::memory_order_seq_cst) == this) {
      Settle(span, ApplyRemote(span));
    } else {
      HeapCore::Forward(span);
    }
    span = next;
  }
}

void MCache::Send(Pending& entry) {
  Span* span = entry.span;
  Span::Remote& remote = span->remote();
  const uint64_t bits = entry.bits;
  const size_t w = entry.word;
  const uint32_t size = span->klass().size;
  pending_bytes_ -= std::popcount(bits) * uint64_t{size};
  entry = Pending();
  // The objects keep the span alive until the OR; after it only Notify may touch it, by Span's (5).
  const uintptr_t base = span->base() + w * 64 * size;
  const uint64_t alloc = span->alloc[w].load(std::memory_order_relaxed);
  uint64_t twice = bits & ~alloc;
  if (twice == 0) twice = remote.bits[w].fetch_or(bits, std::memory_order_seq_cst) & bits;
  if (twice != 0) {
    ReportDoubleFree("free", reinterpret_cast<void*>(base + std::countr_zero(twice) * size), span);
  }
  Notify(span, remote);
}

void MCache::FreeRemote(Span* span, uint32_t index, bool now) {
  const uint64_t word = index / 64;
  const uint64_t mask = uint64_t{1} << (index % 64);
  const uint64_t hash =
      (reinterpret_cast<uintptr_t>(span) >> 6) * 0x9E3779B97F4A7C15u + word * 0x85EBCA6B00000000u;
  Pending& entry = pending_[hash >> 57];
  static_assert(kPending == 128);
  if (entry.span != span || entry.word != word) {
    if (entry.span != nullptr) Send(entry);
    entry.span = span;
    entry.word = word;
  } else if ((entry.bits & mask) != 0) {
    const uint32_t size = span->klass().size;
    ReportDoubleFree("free", reinterpret_cast<void*>(span->base() + index * uint64_t{size}), span);
  }
  entry.bits |= mask;
  pending_bytes_ += span->klass().size;
  if (now) {
    Send(entry);
  } else if (pending_bytes_ > kMostPendingBytes) {
    FlushPending();
  }
}

void MCache::FlushPending() {
  for (Pending& entry : pending_) {
    if (entry.span != nullptr) Send(entry);
  }
}

void MCache::Trim() {
  FlushPending();
  ReadMail();
  for (size_t c = 1; c < kClassCount; ++c) {
    Bin& bin = bins_[c];
    for (Span* span = bin.partial.first(); span != nullptr;) {
      Span* next = span->next;
      if (span->retained) {
        bin.partial.Remove(span);
        Unretain(span);
        core->pages.FreeSpan(span);
      }
      span = next;
    }
    if (bin.span != nullptr && bin.span->CountAllocated() == 0) {
      Span* span = bin.span;
      slots_[c] = Slot();
      bin.span = nullptr;
      core->pages.FreeSpan(span);
    }
  }
}

void MCache::Retire() {
  FlushPending();
  ReadMail();
  for (size_t c = 1; c < kClassCount; ++c) {
    Bin& bin = bins_[c];
    slots_[c] = Slot();
    if (bin.span != nullptr) core->central[c].Give(bin.span, &core->orphanage, core->pages);
    bin.span = nullptr;
    for (SpanList* list : {&bin.partial, &bin.full}) {
      while (Span* span = list->PopFront()) {
        span->retained = false;
        core->central[c].Give(span, &core->orphanage, core->pages);
      }
    }
    bin.empty = 0;
  }
  empty_bytes_ = 0;
  // Who freed while we gave up may have left word here; it goes on to the orphanage.
  ReadMail();
}

void MCache::CheckInvariants() {
  PLIMSOLL_CHECK(slots_[0].local == 0);
  uint64_t empty_bytes = 0;
  for (size_t c = 1; c < kClassCount; ++c) {
    Bin& bin = bins_[c];
    if (bin.span == nullptr) {
      PLIMSOLL_CHECK(slots_[c].local == 0);
    } else {
      PLIMSOLL_CHECK((slots_[c].local & ~bin.span->FreeBits(bin.word)) == 0);  // (1)
      PLIMSOLL_CHECK(bin.span->state == SpanState::kCurrent && bin.span->owner.load() == this);
      bin.span->CheckInvariants();
    }
    size_t empty = 0;
    for (Span* s = bin.partial.first(); s != nullptr; s = s->next) {
      PLIMSOLL_CHECK(s->state == SpanState::kPartial && s->owner.load() == this);  // (2)
      s->CheckInvariants();
      if (s->retained) {
        ++empty;
        empty_bytes += s->bytes();
        PLIMSOLL_CHECK(s->countdown == 0);
      }
    }
    PLIMSOLL_CHECK(empty == bin.empty);
    for (Span* s = bin.full.first(); s != nullptr; s = s->next) {
      PLIMSOLL_CHECK(s->state == SpanState::kFull && s->owner.load() == this);  // (2)
      s->CheckInvariants();
    }
  }
  PLIMSOLL_CHECK(empty_bytes == empty_bytes_);
  for (const Pending& entry : pending_) {
    if (entry.span == nullptr) continue;
    PLIMSOLL_CHECK((entry.bits & ~entry.span->alloc[entry.word].load()) == 0);  // (3)
    PLIMSOLL_CHECK((entry.bits & entry.span->remote().bits[entry.word].load()) == 0);
  }
}

}  // namespace plimsoll::alloc
