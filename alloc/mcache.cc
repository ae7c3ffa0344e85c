#include "plimsoll/alloc/mcache.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/misuse.h"

namespace plimsoll::alloc {

[[gnu::visibility("hidden")]] constinit Word MCache::nobodys_word;

// Takes the next word with a free object, from word `from` of the current span on.
bool MCache::TakeWord(size_t size_class, size_t from) {
  Bin& bin = bins_[size_class];
  Slot& slot = slots_[size_class];
  Span* span = bin.span;
  for (size_t w = from; w < span->words; ++w) {
    const uint64_t free = span->FreeBits(w);
    if (free == 0) continue;
    Word& word = span->word[w];
    word.alloc.store(word.alloc.load(std::memory_order_relaxed) | free, std::memory_order_relaxed);
    word.local.store(free, std::memory_order_relaxed);
    bin.index = w;
    slot.word = &word;
    slot.size = span->klass().size;
    slot.base = span->base() + w * 64 * slot.size;
    slot.fresh = span->zeroed && w >= span->untouched_word;
    if (w >= span->untouched_word) span->untouched_word = static_cast<uint32_t>(w + 1);
    return true;
  }
  return false;
}

// Makes `span`, which is in no list, the current one.
void MCache::Install(size_t size_class, Span* span) {
  span->state = SpanState::kCurrent;
  // Untagged; and an orphan that was adopted has been ours since.
  if (span->owner.load(std::memory_order_relaxed) != this) {
    span->owner.store(this, std::memory_order_seq_cst);
  }
  bins_[size_class].span = span;
}

SpanList& MCache::ListOf(const Span* span) {
  Bin& bin = bins_[span->class_index()];
  switch (span->state) {
    case SpanState::kPartial:
      return bin.partial;
    case SpanState::kEmpty:
      return bin.empty;
    default:
      return bin.full;
  }
}

// Puts a span that is in no list where it belongs; an empty one too many goes back to the page
// heap.
void MCache::File(size_t size_class, Span* span) {
  Bin& bin = bins_[size_class];
  const size_t in_use = span->CountInUse();
  if (in_use == 0) {
    if (empty_bytes_ + span->bytes() > kMostEmptyBytes) {
      core->pages.FreeSpan(span);
      return;
    }
    span->state = SpanState::kEmpty;
    span->owner.store(this, std::memory_order_relaxed);
    bin.empty.PushFront(span);
    empty_bytes_ += span->bytes();
  } else if (in_use < span->klass().objects) {
    span->state = SpanState::kPartial;
    span->owner.store(this, std::memory_order_relaxed);
    // Last in line: by the time its turn comes, more of it has come free.
    bin.partial.PushBack(span);
  } else {
    span->state = SpanState::kFull;
    span->owner.store(Tagged(this), std::memory_order_relaxed);  // by Span's (4)
    bin.full.PushBack(span);
  }
}

// Files a span of ours anew after objects of it came free.
void MCache::Refile(Span* span) {
  if (span->state == SpanState::kCurrent || span->state == SpanState::kEmpty) return;
  const size_t in_use = span->CountInUse();
  if (in_use == span->klass().objects) return;
  if (span->state == SpanState::kPartial && in_use != 0) return;
  ListOf(span).Remove(span);
  File(span->class_index(), span);
}

// Takes the current span out of use.
void MCache::PutAway(size_t size_class) {
  Bin& bin = bins_[size_class];
  Span* span = bin.span;
  if (span == nullptr) return;
  Word& word = *slots_[size_class].word;
  const uint64_t local = word.local.load(std::memory_order_relaxed);
  word.alloc.store(word.alloc.load(std::memory_order_relaxed) & ~local, std::memory_order_relaxed);
  word.local.store(0, std::memory_order_relaxed);
  slots_[size_class] = Slot();
  bin.span = nullptr;
  File(size_class, span);
}

void* MCache::Refill(size_t size_class) {
  Bin& bin = bins_[size_class];
  ReadMail();
  if (bin.span != nullptr && !TakeWord(size_class, bin.index + 1)) {
    // Once round: begin again if enough came free meanwhile.
    ApplyRemote(bin.span);
    const size_t free = bin.span->klass().objects - bin.span->CountInUse();
    if (free < WorthHaving(bin.span->klass()) || !TakeWord(size_class, 0)) PutAway(size_class);
  }
  if (bin.span == nullptr) {
    Span* span = bin.partial.PopFront();
    if (span == nullptr) {
      span = bin.empty.PopFront();
      if (span != nullptr) empty_bytes_ -= span->bytes();
    }
    if (span == nullptr) {
      core->ReadOrphansMail();
      span = core->central[size_class].Take(this);
    }
    if (span == nullptr) span = core->pages.NewSpan(size_class, this);
    if (span == nullptr) return nullptr;
    Install(size_class, span);
    PLIMSOLL_CHECK(TakeWord(size_class, 0));
  }
  return TryAllocateClass(size_class);
}

void MCache::FreeOwned(Span* span, uint32_t index) {
  Word& word = span->word[index / 64];
  word.alloc.store(word.alloc.load(std::memory_order_relaxed) & ~(uint64_t{1} << (index % 64)),
                   std::memory_order_relaxed);
  Refile(span);
}

void MCache::Attend(Span* span) { Refile(span); }

void MCache::ReadMail() {
  for (Span* span = TakeMail(*this); span != nullptr;) {
    Span* next = Unnotify(span);
    if (span->Owner() == this) {
      ApplyRemote(span);
      Refile(span);
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
  uint64_t twice = bits & ~span->word[w].InUse();
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
    if (bin.span != nullptr && bin.span->CountInUse() == 0) PutAway(c);
    while (Span* span = bin.empty.PopFront()) {
      empty_bytes_ -= span->bytes();
      core->pages.FreeSpan(span);
    }
  }
}

void MCache::Retire() {
  Trim();
  for (size_t c = 1; c < kClassCount; ++c) {
    Bin& bin = bins_[c];
    PutAway(c);
    for (SpanList* list : {&bin.partial, &bin.empty, &bin.full}) {
      while (Span* span = list->PopFront()) {
        core->central[c].Give(span, &core->orphanage, core->pages);
      }
    }
  }
  empty_bytes_ = 0;
  // Who freed while we gave up may have left word here; it goes on to the orphanage.
  ReadMail();
}

void MCache::CheckInvariants() {
  PLIMSOLL_CHECK(slots_[0].word == &nobodys_word && nobodys_word.local.load() == 0);
  uint64_t empty_bytes = 0;
  for (size_t c = 1; c < kClassCount; ++c) {
    Bin& bin = bins_[c];
    if (bin.span == nullptr) {
      PLIMSOLL_CHECK(slots_[c].word == &nobodys_word);  // (1)
    } else {
      PLIMSOLL_CHECK(slots_[c].word == &bin.span->word[bin.index]);  // (1)
      PLIMSOLL_CHECK(bin.span->state == SpanState::kCurrent && bin.span->owner.load() == this);
      bin.span->CheckInvariants();
    }
    for (SpanList* list : {&bin.partial, &bin.empty, &bin.full}) {
      for (Span* s = list->first(); s != nullptr; s = s->next) {
        PLIMSOLL_CHECK(&ListOf(s) == list && s->Owner() == this);  // (2)
        PLIMSOLL_CHECK((s->state == SpanState::kFull) == (s->owner.load() != this));
        s->CheckInvariants();
        if (list == &bin.empty) empty_bytes += s->bytes();
      }
    }
  }
  PLIMSOLL_CHECK(empty_bytes == empty_bytes_);
  for (const Pending& entry : pending_) {
    if (entry.span == nullptr) continue;
    PLIMSOLL_CHECK((entry.bits & ~entry.span->word[entry.word].InUse()) == 0);  // (3)
    PLIMSOLL_CHECK((entry.bits & entry.span->remote().bits[entry.word].load()) == 0);
  }
}

}  // namespace plimsoll::alloc
