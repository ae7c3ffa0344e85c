#include "plimsoll/alloc/mcache.h"

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/machine.h"
#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/misuse.h"
#include "plimsoll/alloc/samples.h"

namespace plimsoll::alloc {

// Takes the next word with a free object, from word `from` of the current span on.
bool MCache::TakeWord(size_t size_class, size_t from) {
  Bin& bin = bins_[size_class];
  Slot& slot = slots_[size_class];
  Span* span = bin.span;
  for (size_t w = from; w < span->words; ++w) {
    const uint64_t free = span->FreeBits(w);
    if (free == 0) continue;
    const uint32_t count = base::CountBits(free);
    span->live += count;  // by Span's (1)
    bin.index = w;
    slot.in_use = span->InUseByte(w * 64);
    slot.size = span->object_size;
    GiveBits(size_class, free, count);
    slot.base = span->base() + w * 64 * slot.size;
    slot.fresh = span->zeroed && w >= span->untouched_word;
    if (w >= span->untouched_word) span->untouched_word = static_cast<uint8_t>(w + 1);
    return true;
  }
  return false;
}

// Puts bits into the slot: all, or those before the object in which the countdown ends.
void MCache::GiveBits(size_t size_class, uint64_t bits, uint32_t count) {
  Slot& slot = slots_[size_class];
  Bin& bin = bins_[size_class];
  if (sample_period_ != core->sample_period.load(std::memory_order_relaxed)) DrawSampleGap();
  const int64_t size = slot.size;
  const int64_t bytes = count * size;
  slot.local = bits;
  bin.held = 0;
  if (bytes <= sample_left_) [[likely]] {
    sample_left_ -= bytes;
    return;
  }
  uint64_t held = bits;
  for (; sample_left_ >= size; sample_left_ -= size) held &= held - 1;
  bin.held = held;
  slot.local = bits & ~held;
}

void MCache::DrawSampleGap() {
  sample_period_ = core->sample_period.load(std::memory_order_relaxed);
  if (sample_period_ == 0) {
    sample_left_ = INT64_MAX;
    return;
  }
  if (random_ == 0) random_ = (reinterpret_cast<uintptr_t>(this) >> 4) * 0x9E3779B97F4A7C15u | 1;
  sample_left_ = NextSampleGap(random_, sample_period_);
}

bool MCache::TakeSampleTurn(size_t size_class) {
  const uint64_t held = bins_[size_class].held;
  if (held == 0) return false;
  DrawSampleGap();
  GiveBits(size_class, held, base::CountBits(held));
  return true;
}

void MCache::SkipSample(size_t size_class) {
  Slot& slot = slots_[size_class];
  Bin& bin = bins_[size_class];
  if (slot.local != 0 || bin.held == 0) return;
  slot.local = bin.held & -bin.held;
  bin.held &= bin.held - 1;
}

bool MCache::CountLargeSample(uint64_t size) {
  if (sample_period_ != core->sample_period.load(std::memory_order_relaxed)) DrawSampleGap();
  if (sample_period_ == 0) return false;
  if (size <= static_cast<uint64_t>(sample_left_)) {
    sample_left_ -= static_cast<int64_t>(size);
    return false;
  }
  DrawSampleGap();
  return true;
}

// Makes `span`, which is in no list, the current one.
void MCache::Install(size_t size_class, Span* span) {
  span->state = SpanState::kCurrent;
  ++span->live;
  // Untagged; and an orphan that was adopted has been ours since.
  if (span->owner.load(std::memory_order_relaxed) != this) {
    span->owner.store(this, std::memory_order_seq_cst);
  }
  bins_[size_class].span = span;
}

SpanList& MCache::ListOf(const Span* span) {
  Lists& lists = lists_[span->class_index()];
  switch (span->state) {
    case SpanState::kPartial:
      return lists.partial;
    case SpanState::kEmpty:
      return lists.empty;
    default:
      return lists.full;
  }
}

// Puts a span that is in no list where it belongs; an empty one too many goes back to the page
// heap.
void MCache::File(size_t size_class, Span* span) {
  Lists& lists = lists_[size_class];
  const size_t in_use = span->live;
  if (in_use == 0) {
    if (empty_bytes_ + span->bytes() > core->MostEmptyBytes()) {
      core->pages.FreeSpan(span);
      return;
    }
    span->state = SpanState::kEmpty;
    span->owner.store(this, std::memory_order_relaxed);
    lists.empty.PushFront(span);
    empty_bytes_ += span->bytes();
  } else if (in_use < span->klass().objects) {
    span->state = SpanState::kPartial;
    span->owner.store(this, std::memory_order_relaxed);
    // Last in line: by the time its turn comes, more of it has come free.
    lists.partial.PushBack(span);
  } else {
    span->state = SpanState::kFull;
    span->owner.store(Tagged(this), std::memory_order_relaxed);  // by Span's (4)
    lists.full.PushBack(span);
  }
}

// Files a span of ours anew after objects of it came free.
void MCache::Refile(Span* span) {
  if (span->state == SpanState::kCurrent || span->state == SpanState::kEmpty) return;
  const size_t in_use = span->live;
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
  span->live -= 1 + std::popcount(slots_[size_class].local) + std::popcount(bin.held);
  bin.held = 0;
  slots_[size_class] = Slot();
  bin.span = nullptr;
  File(size_class, span);
}

// The current span's next word, or once round its first: if enough came free meanwhile.
bool MCache::TakeNextWord(size_t size_class) {
  Bin& bin = bins_[size_class];
  Span* span = bin.span;
  if (bin.index + 1 < span->words && TakeWord(size_class, bin.index + 1)) return true;
  if (HasRemote(span)) ApplyRemote(span);
  const SizeClass& c = kSizeClasses[size_class];
  return c.objects - (span->live - 1) >= WorthHaving(c) && TakeWord(size_class, 0);
}

void* MCache::RefillInPlace(size_t size_class) {
  const Bin& bin = bins_[size_class];
  Slot& slot = slots_[size_class];
  Span* span = bin.span;
  // Bits left: a sample's turn, or whoever had the P in between has refilled.
  if (span == nullptr || (slot.local | bin.held) != 0 ||
      first.load(std::memory_order_relaxed) != nullptr) {
    return nullptr;
  }
  if (span->words == 1) {
    // Its only word once more: what the slot says of it holds still. As TakeNextWord() does, in
    // half the instructions; with 16 objects of 4096 bytes to a word that is a sixth of an
    // allocation.
    if (HasRemote(span)) return nullptr;
    const uint64_t free = span->FreeBits(0);
    const uint32_t count = base::CountBits(free);
    if (count < WorthHaving(kSizeClasses[size_class])) return nullptr;
    span->live += count;  // by Span's (1)
    slot.fresh = 0;
    GiveBits(size_class, free, count);
  } else if (!TakeNextWord(size_class)) {
    return nullptr;
  }
  void* p = nullptr;
  (void)TryAllocateClass(size_class, &p);  // nothing: a sample's turn
  return p;
}

void* MCache::Refill(size_t size_class) {
  Bin& bin = bins_[size_class];
  // To the end: until it is installed a new span is ours, and in no list.
  base::SpinLockHolder hold(lists_mu_);
  used_ = true;
  if (first.load(std::memory_order_relaxed) != nullptr) ReadMailLocked();
  if (bin.span == nullptr || !TakeNextWord(size_class)) {
    PutAway(size_class);
    Span* span = lists_[size_class].partial.PopFront();
    if (span == nullptr) {
      span = lists_[size_class].empty.PopFront();
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
  void* p = nullptr;
  (void)TryAllocateClass(size_class, &p);  // nothing: a sample's turn
  return p;
}

void MCache::FreeOwned(Span* span, uint32_t index) {
  base::SpinLockHolder hold(lists_mu_);
  used_ = true;
  // It was in use when the caller looked; another may have freed it too, and the span been taken.
  if (span->Owner() != this || !span->IsInUse(index)) {
    ReportDoubleFree(
        "free", reinterpret_cast<void*>(span->base() + index * uint64_t{span->object_size}), span);
  }
  Span::StoreByte(span->InUseByte(index), 0);
  (void)base::DecrementsToZero(span->live);
  Refile(span);
}

void MCache::Attend(Span* span) {
  base::SpinLockHolder hold(lists_mu_);
  used_ = true;
  if (span->Owner() == this) Refile(span);  // else it was taken meanwhile, empty as it is
}

void MCache::ReadMail() {
  base::SpinLockHolder hold(lists_mu_);
  ReadMailLocked();
}

void MCache::ReadMailLocked() {
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
  const uint32_t size = span->object_size;
  const uint64_t bytes = std::popcount(bits) * uint64_t{size};
  pending_bytes_ -= bytes;
  sent_bytes_ += bytes;
  if (sent_bytes_ >= kMuchSent) {
    sent_bytes_ = 0;
    core->much_sent.store(true, std::memory_order_seq_cst);  // pairs with who sleeps: malloc.cc
  }
  entry = Pending();
  // The objects keep the span alive until the OR; after it only Notify may touch it, by Span's (5).
  const uintptr_t base = span->base() + w * 64 * size;
  uint64_t twice = bits & ~span->InUse(w);
  if (twice == 0) twice = remote.bits[w].fetch_or(bits, std::memory_order_seq_cst) & bits;
  if (twice != 0) {
    ReportDoubleFree("free", reinterpret_cast<void*>(base + std::countr_zero(twice) * size), span);
  }
  Notify(span, remote);
}

void MCache::FreeRemote(Span* span, uint32_t index, bool now) {
  const uint64_t word = index / 64;
  const uint64_t mask = uint64_t{1} << (index % 64);
  Pending& entry = PendingOf(span, word);
  if (entry.span != span || entry.word != word) {
    if (entry.span != nullptr) Send(entry);
    entry.span = span;
    entry.word = word;
  } else if ((entry.bits & mask) != 0) {
    const uint32_t size = span->object_size;
    ReportDoubleFree("free", reinterpret_cast<void*>(span->base() + index * uint64_t{size}), span);
  }
  entry.bits |= mask;
  pending_bytes_ += span->object_size;
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
  base::SpinLockHolder hold(lists_mu_);
  TrimLocked();
}

void MCache::TrimLocked() {
  ReadMailLocked();
  for (size_t c = 1; c < kClassCount; ++c) {
    const Bin& bin = bins_[c];
    if (bin.span != nullptr &&
        bin.span->live == 1u + std::popcount(slots_[c].local) + std::popcount(bin.held)) {
      PutAway(c);
    }
    while (Span* span = lists_[c].empty.PopFront()) {
      empty_bytes_ -= span->bytes();
      core->pages.FreeSpan(span);
    }
  }
}

void MCache::Retire() {
  FlushPending();
  base::SpinLockHolder hold(lists_mu_);
  TrimLocked();
  for (size_t c = 1; c < kClassCount; ++c) {
    Lists& lists = lists_[c];
    PutAway(c);
    for (SpanList* list : {&lists.partial, &lists.empty, &lists.full}) {
      while (Span* span = list->PopFront()) {
        core->central[c].Give(span, &core->orphanage, core->pages);
      }
    }
  }
  empty_bytes_ = 0;
  // Who freed while we gave up may have left word here; it goes on to the orphanage.
  ReadMailLocked();
}

bool MCache::WasUsed() {
  if (!lists_mu_.try_lock()) return true;
  const bool used = used_;
  used_ = false;
  lists_mu_.unlock();
  return used;
}

// Whether all that is in use of a listed span is what others have freed. If so nobody has a pointer
// with which to free anything more of it, and only who holds the lock has to do with it.
bool MCache::Unused(Span* span) {
  if (span->state != SpanState::kPartial && span->state != SpanState::kFull) return false;
  // acquire: pairs with the release in TryFree(): of a free that the owner is in the middle of we
  // see the byte alone or neither, and then the sums differ.
  const uint32_t live = __atomic_load_n(&span->live, __ATOMIC_ACQUIRE);
  uint32_t freed = 0;
  for (size_t w = 0; w < span->words; ++w) {
    const uint64_t bits = span->remote().bits[w].load(std::memory_order_seq_cst);  // see Notify()
    if (bits != span->InUse(w)) return false;
    freed += base::CountBits(bits);
  }
  return freed == live;
}

void MCache::Take(Span* span, SpanList& taken) {
  ListOf(span).Remove(span);
  ApplyRemote(span);
  // Nobody's before the lock is free: its owner may be on the way to Attend().
  span->state = SpanState::kFree;
  span->owner.store(nullptr, std::memory_order_seq_cst);  // see Notify()
  taken.PushBack(span);
}

// Bounded pieces, so that an owner who comes back does not wait for long. try_lock: in a child of a
// fork the owner may be a thread that is not there.
uint64_t MCache::TakeUnused(bool empty_too) {
  constexpr int kAtOnce = 64;
  uint64_t bytes = 0;
  Span* mail = TakeMail(*this);
  while (mail != nullptr || empty_too) {
    SpanList taken;
    int left = kAtOnce;
    if (!lists_mu_.try_lock()) break;
    for (; left > 0 && mail != nullptr; --left) {
      Span* span = mail;
      mail = Unnotify(span);
      if (span->Owner() == this && Unused(span)) {
        Take(span, taken);
      } else {
        // Not lost on the owner, who must hear of what we leave.
        HeapCore::Forward(span);
      }
    }
    if (mail == nullptr && empty_too) {
      for (size_t c = 1; left > 0 && c < kClassCount;) {
        Span* span = lists_[c].empty.first();
        if (span == nullptr) {
          ++c;
          continue;
        }
        empty_bytes_ -= span->bytes();
        Take(span, taken);
        --left;
      }
      empty_too = left == 0;
    }
    lists_mu_.unlock();
    while (Span* span = taken.PopFront()) {
      bytes += span->bytes();
      core->pages.FreeSpan(span);
    }
  }
  while (mail != nullptr) {
    Span* span = mail;
    mail = Unnotify(span);
    HeapCore::Forward(span);
  }
  return bytes;
}

void MCache::CheckInvariants() {
  base::SpinLockHolder hold(lists_mu_);
  PLIMSOLL_CHECK(slots_[0].local == 0);
  uint64_t empty_bytes = 0;
  for (size_t c = 1; c < kClassCount; ++c) {
    const Bin& bin = bins_[c];
    Lists& lists = lists_[c];
    if (bin.span == nullptr) {
      PLIMSOLL_CHECK(slots_[c].local == 0);  // (1)
    } else {
      const uint64_t local = slots_[c].local | bin.held;
      PLIMSOLL_CHECK((slots_[c].local & bin.held) == 0);
      PLIMSOLL_CHECK(slots_[c].in_use == bin.span->InUseByte(bin.index * 64));  // (1)
      PLIMSOLL_CHECK((local & ~bin.span->FreeBits(bin.index)) == 0);            // (1)
      PLIMSOLL_CHECK(bin.span->state == SpanState::kCurrent && bin.span->owner.load() == this);
      bin.span->CheckInvariants(1 + std::popcount(local));
    }
    for (SpanList* list : {&lists.partial, &lists.empty, &lists.full}) {
      for (Span* s = list->first(); s != nullptr; s = s->next) {
        PLIMSOLL_CHECK(&ListOf(s) == list && s->Owner() == this);  // (2)
        PLIMSOLL_CHECK((s->state == SpanState::kFull) == (s->owner.load() != this));
        s->CheckInvariants();
        if (list == &lists.empty) empty_bytes += s->bytes();
      }
    }
  }
  PLIMSOLL_CHECK(empty_bytes == empty_bytes_);
  for (const Pending& entry : pending_) {
    if (entry.span == nullptr) continue;
    PLIMSOLL_CHECK((entry.bits & ~entry.span->InUse(entry.word)) == 0);  // (3)
    PLIMSOLL_CHECK((entry.bits & entry.span->remote().bits[entry.word].load()) == 0);
  }
}

}  // namespace plimsoll::alloc
