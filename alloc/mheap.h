// MHeap is the page heap: it gets regions from a PageSource, cuts them into spans, joins what comes
// back, and gives idle pages to the system.
//
//    page number   0        8192      16384     24576                (within PageAlloc)
//                  +---------+---------+         +---------+
//                  | region  | region  |  (gap)  | region  |         64 MiB each, in the order
//                  made;
//                  +---------+---------+         +---------+         neighbours in number are
//                                                                    neighbours in address
//
// Regions are reserved, and opened from their starts as their pages are first used, so that a
// program under mlockall() holds little more than it needs. They are asked for next to the last
// one, so that a run may cross them; where the system gives another place, the numbers leave a gap
// that is never free. The first is at a random place.
//
// Large:    anything above kMaxSmall, in whole pages, aligned to any power of two.
// Failure:  null, when the system gives neither 64 MiB nor the least that is needed.
// Limit:    SetLimit() says how much memory to hold at most; over it, pages are released as fast as
//           others are taken, by whoever takes them, never under the lock. It refuses nothing.
// Threads:  any number; one SpinLock, under which no system call is made but for growth.
//
// Invariants:
//   (1) A page in use belongs to one span, or to one release that is going on.
//   (2) The span map names a span exactly while the span is not kFree.
//   (3) Growth that fails leaves no page known: all that can fail is done before the first page is.
//   (4) Under ASan a page that was in a span and is free may not be touched, and one that is in a
//       span may be: what of it may not be is for the span's users to say.
#ifndef PLIMSOLL_ALLOC_MHEAP_H_
#define PLIMSOLL_ALLOC_MHEAP_H_

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/backing/page_source.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/fixed_alloc.h"
#include "plimsoll/alloc/page_alloc.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"

namespace plimsoll::alloc {

// Bytes, at one moment.
struct PageStats {
  uint64_t mapped = 0;    // address space for objects
  uint64_t in_use = 0;    // in spans
  uint64_t idle = 0;      // free, and still in memory
  uint64_t released = 0;  // free, and with the system
  uint64_t metadata = 0;  // span records
  uint64_t regions = 0;   // and gaps between them
  uint64_t releases = 0;  // calls
  uint64_t released_total = 0;
  uint64_t collapsed_total = 0;  // bytes for which a huge page was asked, and given
};

// What a page holds, for pictures.
struct PageCell {
  enum : uint8_t { kAbsent, kReleased, kIdle, kLarge, kOther, kFirstClass = 8 };
  uint8_t kind = kAbsent;  // or kFirstClass + size class
  uint8_t fill = 0;        // of the span's objects in use, of 255
};

// `kMaxRegions` is how many regions and gaps there may be; tests have few.
template <ArenaSource Source, uint64_t kMaxRegions = kMaxChunks * kChunkPages / kRegionPages>
class MHeap {
 public:
  constexpr MHeap() = default;
  // `first_place` says where the first region would be best; it is asked when that is made.
  constexpr explicit MHeap(Source source, uintptr_t (*first_place)() = nullptr)
      : source_(source), first_place_(first_place) {}
  MHeap(const MHeap&) = delete;
  MHeap& operator=(const MHeap&) = delete;

  // A span for objects of `size_class`, all free, kPartial, in no list, `owner`'s; or null.
  Span* NewSpan(size_t size_class, Mailbox* owner) {
    const SizeClass& c = kSizeClasses[size_class];
    Span* span = NewRecord(SpanKind(c.words));
    if (span == nullptr) return nullptr;
    if (!Place(span, c.pages, 1, size_class, c.magic)) {
      records_[SpanKindOf(span)].Free(span);
      return nullptr;
    }
    span->words = static_cast<uint8_t>(c.words);
    span->untouched_word = 0;
    span->live = 0;
    span->state = SpanState::kPartial;
    for (size_t w = 0; w < c.words; ++w) {
      span->SetInUse(w, 0);
      span->remote().bits[w].store(0, std::memory_order_relaxed);
    }
    span->owner.store(owner, std::memory_order_seq_cst);  // see Notify()
    SetSpan(span->base(), c.pages, span);
    return span;
  }

  // A large object of at least `bytes`, aligned to `alignment`; or null. Requires: bytes > 0.
  Span* NewLarge(size_t bytes, size_t alignment) {
    if (bytes > (uint64_t{1} << 47) || alignment > (uint64_t{1} << 46)) return nullptr;
    const uint64_t pages = PagesFor(ByteCount(bytes)).value();
    Span* span = NewRecord(0);
    if (span == nullptr) return nullptr;
    const uint64_t align = alignment <= kPageSize ? 1 : alignment >> kPageShift;
    if (!Place(span, pages, align, 0, 0)) {
      records_[SpanKindOf(span)].Free(span);
      return nullptr;
    }
    span->words = 0;
    span->sample = nullptr;
    span->large_bytes = bytes;
    span->state = SpanState::kLarge;
    span->owner.store(&large_owner, std::memory_order_seq_cst);
    SetSpan(span->base(), pages, span);
    return span;
  }

  // A record for pages of a large span that the guarded pool has taken apart; or null.
  Span* NewGuarded(uintptr_t base, uint32_t pages) {
    Span* span = NewRecord(0);
    if (span == nullptr) return nullptr;
    span->SetPlace(base, 0);
    span->pages = pages;
    span->size_class.store(0, std::memory_order_relaxed);
    span->words = 0;
    span->object_size = 0;
    span->sample = nullptr;
    span->state = SpanState::kGuarded;
    span->owner.store(&guarded_owner, std::memory_order_seq_cst);
    SetSpan(base, pages, span);
    return span;
  }

  // Takes a span back whose objects are all free. Requires: the caller owns it.
  void FreeSpan(Span* span) {
    FreePages(span);
    records_[SpanKindOf(span)].Free(span);
  }

  // Gives the collected heap's record `span` the pages of a class, or of a large object of `bytes`
  // (class 0), and the owner that all its spans have. What the caller fills in comes first: from
  // here on the span can be found. False: there is no memory.
  bool PlaceCollected(Span* span, size_t size_class, size_t bytes) {
    const SizeClass& c = kSizeClasses[size_class];
    if (bytes > (uint64_t{1} << 47)) return false;
    const uint64_t pages = size_class == 0 ? PagesFor(ByteCount(bytes)).value() : c.pages;
    if (!Place(span, pages, 1, size_class, c.magic)) return false;
    span->large_bytes = size_class == 0 ? bytes : 0;
    span->state = SpanState::kCollected;
    span->owner.store(&collected_owner, std::memory_order_seq_cst);
    SetSpan(span->base(), pages, span);
    return true;
  }

  // Takes a span's pages back; its record stays the caller's. Requires: the caller owns it.
  void FreePages(Span* span) {
    const uint64_t page = PageOf(span->base());
    const uint64_t count = span->pages;
    span->owner.store(nullptr, std::memory_order_seq_cst);
    span->state = SpanState::kFree;
    ClearSpan(span->base(), count, span->class_index(), /*whole=*/true);
    base::Poison(reinterpret_cast<void*>(span->base()), count << kPageShift);
    {
      base::SpinLockHolder hold(mu_);
      pages_.Free(page, count, /*released=*/false);
      in_use_ -= count;
      idle_.store(pages_.unreleased_pages(), std::memory_order_relaxed);
    }
  }

  // Makes a large object larger or smaller where it is. False: the pages behind it are taken.
  bool Resize(Span* span, size_t bytes) {
    const uint64_t now = span->pages;
    const uint64_t wanted = PagesFor(ByteCount(bytes)).value();
    const uint64_t page = PageOf(span->base());
    uint64_t over = 0;
    if (wanted > UINT32_MAX) return false;
    if (wanted > now) {
      {
        base::SpinLockHolder hold(mu_);
        bool zero;
        uint64_t taken_back;
        if (!pages_.AllocateAt(page + now, wanted - now, &zero, &taken_back)) return false;
        if (!OpenRun(page + now, wanted - now)) {
          pages_.Free(page + now, wanted - now, zero);
          return false;
        }
        in_use_ += wanted - now;
        over = OverLimit(taken_back);
        idle_.store(pages_.unreleased_pages(), std::memory_order_relaxed);
      }
      base::Unpoison(reinterpret_cast<void*>(span->base() + (now << kPageShift)),
                     (wanted - now) << kPageShift);
      SetSpan(span->base() + (now << kPageShift), wanted - now, span);
    } else if (wanted < now) {
      ClearSpan(span->base() + (wanted << kPageShift), now - wanted, 0, /*whole=*/false);
      base::Poison(reinterpret_cast<void*>(span->base() + (wanted << kPageShift)),
                   (now - wanted) << kPageShift);
      base::SpinLockHolder hold(mu_);
      pages_.Free(page + wanted, now - wanted, false);
      in_use_ -= now - wanted;
      idle_.store(pages_.unreleased_pages(), std::memory_order_relaxed);
    }
    span->pages = static_cast<uint32_t>(wanted);
    span->large_bytes = bytes;
    if (over > 0) PayLimit(over, wanted - now);
    return true;
  }

  // Releases up to `bytes` of idle memory, from the highest address down, in batches of at most
  // 2 MiB, each outside the lock. Returns how much.
  uint64_t Release(uint64_t bytes) {
    constexpr uint64_t kBatch = MiB(2).value();
    uint64_t done = 0;
    uint64_t below = UINT64_MAX;
    while (done < bytes) {
      const uint64_t most = PagesFor(ByteCount(std::min(kBatch, bytes - done))).value();
      std::optional<PageRun> run;
      {
        base::SpinLockHolder hold(mu_);
        run = pages_.TakeUnreleased(most, below);
      }
      if (!run.has_value()) break;
      const bool released = source_.Release(reinterpret_cast<void*>(AddressOf(run->first)),
                                            PageCount(run->count).bytes());
      below = run->first;
      base::SpinLockHolder hold(mu_);
      pages_.Free(run->first, run->count, released);
      idle_.store(pages_.unreleased_pages(), std::memory_order_relaxed);
      ++releases_;
      if (!released) continue;
      done += run->count << kPageShift;
      released_total_ += run->count << kPageShift;
    }
    return done;
  }

  // Asks for a huge page behind one dense stretch of 2 MiB, outside of the lock; looks at up to 64
  // of them. `refused` is set when the kernel will not: it knows no such call, or has none to give.
  // Returns bytes collapsed. From one thread at a time.
  uint64_t CollapseOne(bool* refused) {
    std::optional<uint64_t> page;
    {
      base::SpinLockHolder hold(mu_);
      page = pages_.FindDense(&collapse_cursor_, 64);
    }
    if (!page.has_value()) return 0;
    // The pages stay mapped whatever becomes of them meanwhile, and a release after it splits the
    // huge page again.
    constexpr ByteCount kHuge = PageCount(kHugePages).bytes();
    if (!source_.Collapse(reinterpret_cast<void*>(AddressOf(*page)), kHuge)) {
      *refused = true;
      return 0;
    }
    base::SpinLockHolder hold(mu_);
    collapsed_total_ += kHuge.value();
    return kHuge.value();
  }

  // Free pages that are still in memory, at some moment just past; without the lock.
  uint64_t IdleBytes() const { return idle_.load(std::memory_order_relaxed) << kPageShift; }

  // The same, and what is in spans.
  uint64_t HeldBytes() const {
    return (in_use_.load(std::memory_order_relaxed) + idle_.load(std::memory_order_relaxed))
           << kPageShift;
  }

  // The most bytes to keep in memory; UINT64_MAX: no limit.
  void SetLimit(uint64_t bytes) { limit_.store(bytes, std::memory_order_relaxed); }
  // Changes it to `bytes`, unless somebody has changed it from `from`. False: so it was.
  bool ReplaceLimit(uint64_t from, uint64_t bytes) {
    return limit_.compare_exchange_strong(from, bytes, std::memory_order_relaxed);
  }
  uint64_t limit() const { return limit_.load(std::memory_order_relaxed); }

  PageStats Stats() const {
    base::SpinLockHolder hold(mu_);
    PageStats s;
    s.mapped = pages_.total_pages() << kPageShift;
    s.in_use = in_use_ << kPageShift;
    s.idle = pages_.unreleased_pages() << kPageShift;
    s.released = (pages_.free_pages() - pages_.unreleased_pages()) << kPageShift;
    for (const FixedPool& pool : records_) s.metadata += pool.mapped().value();
    s.regions = region_limit_;
    s.releases = releases_;
    s.released_total = released_total_;
    s.collapsed_total = collapsed_total_;
    return s;
  }

  // How many regions there are, gaps between them included.
  size_t Regions() const {
    base::SpinLockHolder hold(mu_);
    return region_limit_;
  }

  // Copies what each page of the first `regions` regions holds, and where they are. Requires:
  // `cells` has kRegionPages for each. Returns how many were copied.
  size_t CopyCells(PageCell* cells, uintptr_t* bases, size_t regions) const {
    base::SpinLockHolder hold(mu_);
    const size_t most = std::min<size_t>(regions, region_limit_);
    for (size_t r = 0; r < most; ++r) {
      bases[r] = region_base_[r];
      for (uint64_t i = 0; i < kRegionPages; ++i) {
        PageCell& cell = cells[r * kRegionPages + i];
        cell = {};
        const uint64_t page = r * kRegionPages + i;
        if (region_base_[r] == 0 || !pages_.IsThere(page)) continue;
        if (!pages_.InUse(page)) {
          cell.kind = pages_.IsReleased(page) ? PageCell::kReleased : PageCell::kIdle;
          continue;
        }
        const Span* span = FindSpan(region_base_[r] + (i << kPageShift));
        if (span == nullptr || span->owner.load(std::memory_order_relaxed) == &guarded_owner) {
          cell.kind = PageCell::kOther;  // guarded, or being released
        } else if (const size_t c = span->class_index(); c == 0) {
          cell = {PageCell::kLarge, 255};
        } else {
          cell.kind = static_cast<uint8_t>(PageCell::kFirstClass + c);
          cell.fill = static_cast<uint8_t>(
              std::min<size_t>(255, span->CountInUse() * 255 / kSizeClasses[c].objects));
        }
      }
    }
    return most;
  }

  // Calls f(span) for every span there is, in order of address within a region. Spans that come or
  // go meanwhile may be seen or not; what f reads of a span that others use are atomics.
  template <typename F>
  void ForEachSpan(F f) const {
    base::SpinLockHolder hold(mu_);
    for (uint64_t ordinal = 0; ordinal < region_limit_; ++ordinal) {
      if (region_base_[ordinal] == 0) continue;
      for (uint64_t page = 0; page < kRegionPages;) {
        Span* span = FindSpan(region_base_[ordinal] + (page << kPageShift));
        if (span == nullptr || !pages_.InUse(ordinal * kRegionPages + page)) {
          ++page;
          continue;
        }
        const uint64_t begin = PageOf(span->base());
        if (begin == ordinal * kRegionPages + page) f(span);
        page += std::max<uint64_t>(1, begin + span->pages - (ordinal * kRegionPages + page));
      }
    }
  }

  void CheckInvariants() const {
    base::SpinLockHolder hold(mu_);
    pages_.CheckInvariants();
    PLIMSOLL_CHECK(pages_.total_pages() - pages_.free_pages() >= in_use_);  // (1)
  }

  // For fork: as the owner of everything.
  void LockForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    mu_.lock();
    for (FixedPool& pool : records_) pool.LockForFork();
  }
  void UnlockForFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (FixedPool& pool : records_) pool.UnlockForFork();
    mu_.unlock();
  }

 private:
  static constexpr uint64_t kChunkBytes = kChunkPages << kPageShift;
  static constexpr uint64_t kChunksPerRegion = kRegionBytes / kChunkBytes;

  Span* NewRecord(int kind) {
    auto* span = static_cast<Span*>(records_[kind].Allocate());
    // Storage is a Span for ever, by Span's (5): fields are set one by one, never constructed.
    const auto offset = static_cast<uint16_t>(Span::RemoteOffset(SpanKindWords(kind)));
    if (span != nullptr && span->remote_offset != offset) span->remote_offset = offset;
    return span;
  }

  uintptr_t AddressOf(uint64_t page) const {
    return region_base_[page / kRegionPages] + ((page % kRegionPages) << kPageShift);
  }
  static uint64_t PageOf(uintptr_t address) {
    return uint64_t{FindRegion(address)->number.load(std::memory_order_relaxed)} * kRegionPages +
           ((address >> kPageShift) & (kRegionPages - 1));
  }

  // Finds pages for a span and fills in what all spans have. False: there is no memory.
  bool Place(Span* span, uint64_t count, uint64_t align, size_t size_class, uint64_t magic) {
    bool zero = false;
    uint64_t taken_back = 0;
    std::optional<uint64_t> at;
    uint64_t over = 0;
    if (count <= UINT32_MAX) {
      base::SpinLockHolder hold(mu_);
      at = Take(count, align, &zero, &taken_back);
      if (!at.has_value() && Grow(count + align - 1)) at = Take(count, align, &zero, &taken_back);
      if (at.has_value() && !OpenRun(*at, count)) {
        pages_.Free(*at, count, zero);
        at.reset();
      }
      if (at.has_value()) {
        in_use_ += count;
        idle_.store(pages_.unreleased_pages(), std::memory_order_relaxed);
        over = OverLimit(taken_back);
      }
    }
    if (!at.has_value()) return false;
    const uintptr_t base = AddressOf(*at);
    base::Unpoison(reinterpret_cast<void*>(base), count << kPageShift);
    span->SetPlace(base, static_cast<uint32_t>(magic));
    span->pages = static_cast<uint32_t>(count);
    span->size_class.store(static_cast<uint8_t>(size_class), std::memory_order_relaxed);
    span->object_size = kSizeClasses[size_class].size;
    span->zeroed = zero;
    span->large_bytes = 0;
    span->next = span->prev = nullptr;
    if (over > 0) PayLimit(over, count);
    return true;
  }

  // Bytes held above the limit, after `taken_back` pages were taken from the system.
  uint64_t OverLimit(uint64_t taken_back) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uint64_t held = (in_use_ + pages_.unreleased_pages()) << kPageShift;
    const uint64_t most = limit_.load(std::memory_order_relaxed);
    return taken_back > 0 && held > most ? held - most : 0;
  }

  // What was taken from the system is given back elsewhere: the limit pays as it goes.
  void PayLimit(uint64_t over, uint64_t pages) {
    Release(std::min(over, std::max(pages << kPageShift, MiB(1).value())));
  }

  // Makes pages that are taken usable, and some behind them: a sixteenth of the heap, at most to
  // the region's end, so that the kernel is not asked for every chunk. False: it refuses.
  bool OpenRun(uint64_t first, uint64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (uint64_t page = first; page < first + count;) {
      const uint64_t r = page / kRegionPages;
      const uint64_t end = std::min(first + count, (r + 1) * kRegionPages);
      const uint64_t need = (end - r * kRegionPages + kChunkPages - 1) / kChunkPages;
      page = end;
      const uint64_t open = opened_[r];
      if (need <= open) continue;
      const uint64_t more = pages_.total_pages() / kChunkPages / 16;
      const uint64_t want = std::min(std::max(need, open + more), kChunksPerRegion);
      void* base = reinterpret_cast<void*>(region_base_[r] + open * kChunkBytes);
      if (source_.Open(base, ByteCount((want - open) * kChunkBytes))) {
        opened_[r] = static_cast<uint8_t>(want);
      } else if (want > need && source_.Open(base, ByteCount((need - open) * kChunkBytes))) {
        opened_[r] = static_cast<uint8_t>(need);
      } else {
        return false;
      }
    }
    return true;
  }

  // Numbers are aligned as addresses are, up to a region. Beyond it a run is taken in which the
  // aligned one lies somewhere, and the rest goes back.
  std::optional<uint64_t> Take(uint64_t count, uint64_t align, bool* zero, uint64_t* taken_back)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (align <= kRegionPages) return pages_.Allocate(count, align, zero, taken_back);
    const uint64_t wide = count + align - 1;
    const std::optional<uint64_t> found = pages_.Allocate(wide, 1, zero, taken_back);
    if (!found.has_value()) return std::nullopt;
    const uint64_t address_page = AddressOf(*found) >> kPageShift;
    const uint64_t skip = (align - address_page % align) % align;
    // What is untouched is still released when it goes back, if all of the run was.
    if (skip > 0) pages_.Free(*found, skip, *zero);
    if (wide > skip + count) pages_.Free(*found + skip + count, wide - skip - count, *zero);
    return *found + skip;
  }

  // Gets address space for at least `count` pages in one run.
  bool Grow(uint64_t count) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (count > kMaxChunks * kChunkPages) return false;
    const uint64_t bytes = count << kPageShift;
    const uint64_t whole = (bytes + kRegionBytes - 1) & ~(kRegionBytes - 1);
    if (hint_ == 0 && first_place_ != nullptr) hint_ = first_place_();
    Mapping m = source_.Reserve(ByteCount(whole), ByteCount(kRegionBytes), hint_);
    uint64_t got = whole;
    const bool reserved = m.base != nullptr;
    if (!reserved) {
      // Address space is scarce (RLIMIT_AS): no more than is needed, which need not be where a
      // region begins, and is open at once.
      got = (bytes + kChunkBytes - 1) & ~(kChunkBytes - 1);
      m = source_.Map(ByteCount(got), ByteCount(kChunkBytes), hint_);
      if (m.base == nullptr) return false;
    }
    const uintptr_t base = reinterpret_cast<uintptr_t>(m.base);
    if (base + got > (uint64_t{1} << 48) || !AddRange(base, got, reserved)) {
      source_.Unmap(m.base, ByteCount(got));
      return false;
    }
    hint_ = base + got;
    base::RegisterLeakRoots(m.base, got);
    return true;
  }

  // The number of the region at `begin` when those below `limit` are given, the last to `last`.
  // Number 0 means none; a gap keeps runs of numbers from crossing where addresses do not.
  static uint64_t NumberAfter(uint64_t limit, uintptr_t last, uintptr_t begin) {
    return limit > 1 && last + kRegionBytes == begin ? limit : limit + 1;
  }

  // All or nothing, so that a range that is refused may be unmapped: what can fail comes first, and
  // changes nothing by which pages are handed out. `reserved`: nothing of it is open.
  bool AddRange(uintptr_t base, uint64_t bytes, bool reserved) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const uintptr_t end = base + bytes;
    const uintptr_t first = base & ~(kRegionBytes - 1);
    // Numbers, and bits for their chunks. Before the records, which cost the system more.
    uint64_t limit = region_limit_;
    uintptr_t last = limit > 1 ? region_base_[limit - 1] : 0;
    for (uintptr_t begin = first; begin < end; begin += kRegionBytes) {
      const Region* region = FindRegion(begin);
      uint64_t number = region == nullptr ? 0 : region->number.load(std::memory_order_relaxed);
      if (number == 0) {
        number = NumberAfter(limit, last, begin);
        if (number >= kMaxRegions) return false;
        limit = number + 1;
        last = begin;
      }
      const uintptr_t stop = std::min(end, begin + kRegionBytes);
      for (uintptr_t at = std::max(base, begin); at < stop; at += kChunkBytes) {
        const uint64_t chunk = number * kChunksPerRegion + (at - begin) / kChunkBytes;
        if (!pages_.Reserve(chunk, PageSourceRef(source_))) return false;
      }
    }
    for (uintptr_t begin = first; begin < end; begin += kRegionBytes) {
      if (!Claim(begin)) {
        Disclaim(first, begin);
        return false;
      }
    }
    // From here on nothing fails.
    for (uintptr_t at = base; at < end; at += kChunkBytes) {
      Region* region = FindRegion(at);
      if (region->number.load(std::memory_order_relaxed) == 0) {
        const uintptr_t begin = at & ~(kRegionBytes - 1);
        const uint64_t number = NumberAfter(
            region_limit_, region_limit_ > 1 ? region_base_[region_limit_ - 1] : 0, begin);
        region_base_[number] = begin;
        opened_[number] = reserved ? 0 : kChunksPerRegion;
        region_limit_ = number + 1;
        region->number.store(static_cast<uint32_t>(number), std::memory_order_relaxed);
      }
      pages_.Grow(PageOf(at) / kChunkPages);
    }
    return true;
  }

  // Makes the region at `begin` this heap's. False: no memory for its record, or another heap has
  // it.
  bool Claim(uintptr_t begin) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    Region* region = MakeRegion(begin, PageSourceRef(source_));
    if (region == nullptr) return false;
    const void* none = nullptr;
    return region->heap.compare_exchange_strong(none, this, std::memory_order_acq_rel) ||
           none == this;
  }

  // Undoes Claim() for those of [first, end) in which this heap has no pages.
  static void Disclaim(uintptr_t first, uintptr_t end) {
    for (uintptr_t begin = first; begin < end; begin += kRegionBytes) {
      Region* region = FindRegion(begin);
      if (region->number.load(std::memory_order_relaxed) == 0) {
        region->heap.store(nullptr, std::memory_order_release);
      }
    }
  }

  mutable base::SpinLock mu_;
  Source source_{};
  uintptr_t (*first_place_)() = nullptr;
  PageAlloc pages_ ABSL_GUARDED_BY(mu_);
  uintptr_t hint_ ABSL_GUARDED_BY(mu_) = 0;  // where the next region would be best
  // Pages in spans; written under mu_.
  std::atomic<uint64_t> in_use_{0};
  uint64_t releases_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t released_total_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t collapse_cursor_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t collapsed_total_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<uint64_t> limit_{UINT64_MAX};
  std::atomic<uint64_t> idle_{0};  // pages
  FixedPool records_[kSpanKinds] = {{Span::SpanBytes(SpanKindWords(0)), 64},
                                    {Span::SpanBytes(SpanKindWords(1)), 64},
                                    {Span::SpanBytes(SpanKindWords(2)), 64},
                                    {Span::SpanBytes(SpanKindWords(3)), 64}};
  uint64_t region_limit_ = 0;
  uintptr_t region_base_[kMaxRegions] = {};  // by number; 0: a gap
  uint8_t opened_[kMaxRegions] = {};         // of a region's chunks, from its start
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_MHEAP_H_
