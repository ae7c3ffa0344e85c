// Fuzzes the page heap beside a plain array of pages: bytes are operations, and after each one the
// span map, the traces of freed pages and the totals are what the array says.
//
// The heap gets four chunks of address space and no more: the last of one region, the first two of
// the next, and one of a region that lies apart. So runs cross regions where these are neighbours
// and nowhere else, and there is soon no memory. What lies in the pages nobody touches.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/backing/page_source.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/mheap.h"
#include "plimsoll/alloc/page_alloc.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "plimsoll/alloc/span_map.h"
#include "tests/fuzz/heap_look.h"

namespace plimsoll::alloc {
namespace {

constexpr uint64_t kChunkBytes = kChunkPages << kPageShift;
// Offsets from the first region.
constexpr uint64_t kPlaces[] = {kRegionBytes - kChunkBytes, kRegionBytes,
                                kRegionBytes + kChunkBytes, 3 * kRegionBytes};
constexpr uint64_t kChunks = std::size(kPlaces);
constexpr uint64_t kPages = kChunks * kChunkPages;
constexpr uint64_t kBatch = MiB(2).value() >> kPageShift;  // pages, in one release

enum class Page : uint8_t { kReleased, kIdle, kUsed };

// The array's pages; one heap for all inputs, each of which leaves it as it found it.
struct World {
  uintptr_t base = 0;  // of the first region
  uint64_t given = 0;  // chunks
  bool refuse = false;
  uint64_t released = 0;  // pages, in this operation
  uint64_t below = kPages;
  std::vector<Page> pages = std::vector<Page>(kPages, Page::kReleased);

  uintptr_t AddressOf(uint64_t i) const {
    return base + kPlaces[i / kChunkPages] + ((i % kChunkPages) << kPageShift);
  }
  uint64_t IndexOf(uintptr_t address) const {
    for (uint64_t c = 0; c < kChunks; ++c) {
      const uintptr_t begin = base + kPlaces[c];
      if (address >= begin && address < begin + kChunkBytes) {
        return c * kChunkPages + ((address - begin) >> kPageShift);
      }
    }
    abort();  // a page that was never given
  }
  // Whether page i > 0 lies behind page i - 1.
  bool FollowsOn(uint64_t i) const { return AddressOf(i) == AddressOf(i - 1) + kPageSize; }
  bool IsFree(uint64_t i) const { return pages[i] != Page::kUsed; }
  uint64_t Count(Page what) const {
    return static_cast<uint64_t>(std::count(pages.begin(), pages.end(), what));
  }
  void Fill(uint64_t first, uint64_t count, Page what) {
    for (uint64_t i = first; i < first + count; ++i) pages[i] = what;
  }

  // A release takes the highest idle pages there are, below what this operation released before.
  bool Release(uintptr_t at, uint64_t bytes) {
    const uint64_t first = IndexOf(at);
    const uint64_t count = bytes >> kPageShift;
    Require(count > 0 && count <= kBatch && first + count <= below);
    for (uint64_t i = first; i < first + count; ++i) Require(pages[i] == Page::kIdle);
    for (uint64_t i = first + count; i < below; ++i) Require(pages[i] != Page::kIdle);
    below = first;
    if (refuse) return false;
    Fill(first, count, Page::kReleased);
    released += count;
    return true;
  }
};
World& world() {
  static auto& world = *new World;
  return world;
}

// Gives the chunks of kPlaces in their order, then nothing.
class WorldPages {
 public:
  static Mapping Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
    if (bytes.value() < kChunkBytes) return MmapPages().Map(bytes, alignment, hint);  // records
    if (bytes.value() != kChunkBytes || world().given == kChunks) return {nullptr, ENOMEM};
    return {reinterpret_cast<void*>(world().base + kPlaces[world().given++]), 0};
  }
  // No whole regions: chunks, which are open at once.
  static Mapping Reserve(ByteCount, ByteCount, uintptr_t) { return {nullptr, ENOMEM}; }
  static bool Open(void*, ByteCount) { return false; }
  static bool Release(void* base, ByteCount bytes) {
    return world().Release(reinterpret_cast<uintptr_t>(base), bytes.value());
  }
  static void Unmap(void* base, ByteCount bytes) { MmapPages().Unmap(base, bytes); }
  static bool Collapse(void* base, ByteCount bytes) {
    const uint64_t first = world().IndexOf(reinterpret_cast<uintptr_t>(base));
    Require(bytes.value() == kHugePages << kPageShift && first % kHugePages == 0);
    uint64_t used = 0;
    for (uint64_t i = first; i < first + kHugePages; ++i) {
      Require(world().pages[i] != Page::kReleased);
      used += world().pages[i] == Page::kUsed;
    }
    Require(used >= kDensePages);
    return !world().refuse;
  }
};
static_assert(ArenaSource<WorldPages>);

using FuzzedHeap = MHeap<WorldPages>;

// Made with all its chunks, all of them free and with the system.
FuzzedHeap& Heap() {
  static FuzzedHeap& heap = *[] {
    // Addresses and nothing behind them.
    const Mapping m = MmapPages().Map(ByteCount(4 * kRegionBytes), ByteCount(kRegionBytes), 0);
    Require(m.base != nullptr);
    world().base = reinterpret_cast<uintptr_t>(m.base);
    auto* made = new FuzzedHeap;
    std::vector<Span*> all;
    while (Span* span = made->NewLarge(kChunkBytes, 1)) all.push_back(span);
    Require(all.size() == kChunks && world().given == kChunks);
    for (Span* span : all) made->FreeSpan(span);
    world().Fill(0, kPages, Page::kIdle);
    made->Release(UINT64_MAX);
    Require(world().Count(Page::kReleased) == kPages);
    return made;
  }();
  return heap;
}

class Model {
 public:
  Model() {
    for (uint64_t i = 0; i < kPages; ++i) traces_.push_back(TraceOf(world().AddressOf(i)));
  }
  ~Model() {
    uint64_t seen = 0;
    Heap().ForEachSpan([&seen](const Span*) { ++seen; });
    Require(seen == spans_.size());
    while (!spans_.empty()) Free(0);
    Check();
    Heap().SetLimit(UINT64_MAX);
    world().refuse = false;
    Release(UINT64_MAX);
    Check();
  }

  void Run(unsigned op, uint64_t a, uint64_t b) {
    world().released = 0;
    world().below = kPages;
    switch (op % 10) {
      case 0:
      case 1:
        return NewSpan(1 + a % (kClassCount - 1), op >> 4);
      case 2:
      case 3: {
        const uint64_t shape = op >> 4;
        const uint64_t bytes = 1 + (a << (shape < 8 ? 9 : 14)) + b;
        return NewLarge(bytes, shape % 8 == 7 ? uint64_t{1} << (b % 48) : 1);
      }
      case 4:
      case 5:
        return Free(a);
      case 6:
        return Resize(a, 1 + (b << (op >> 4)));
      case 7:
        return Release(b % 4 == 0 ? UINT64_MAX : 1 + (a << 13) + b);
      case 8:
        return Heap().SetLimit(op >> 4 == 0 ? UINT64_MAX : a << 16);
      default: {
        world().refuse = a % 4 == 0;
        bool refused = false;
        const uint64_t before = Heap().Stats().collapsed_total;
        const uint64_t got = Heap().CollapseOne(&refused);
        Require(got == 0 || (!refused && got == kHugePages << kPageShift));
        Require(Heap().Stats().collapsed_total == before + got);
      }
    }
  }

  void Check() const {
    Heap().CheckInvariants();
    const World& w = world();
    auto next = spans_.begin();
    uint64_t left = 0;  // pages of the last span that are still to come
    const Span* span = nullptr;
    for (uint64_t i = 0; i < kPages; ++i) {
      if (left == 0 && next != spans_.end() && next->first == i) {
        span = next->second.span;
        left = next->second.pages;
        ++next;
      }
      const uintptr_t at = w.AddressOf(i);
      Require(FindSpan(at) == (left > 0 ? span : nullptr));
      Require((left > 0) == (w.pages[i] == Page::kUsed));
      if (left > 0) --left;
      const PageTrace trace = TraceOf(at);
      Require(trace.was_used == traces_[i].was_used && trace.first == traces_[i].first &&
              trace.size_class == traces_[i].size_class);
    }
    for (const auto& [first, held] : spans_) {
      Require(held.span->base() == w.AddressOf(first) && held.span->pages == held.pages);
      Require(held.span->class_index() == held.size_class && held.span->Owner() == held.owner);
    }
    const PageStats s = Heap().Stats();
    Require(s.mapped == kPages << kPageShift && s.in_use == w.Count(Page::kUsed) << kPageShift);
    Require(s.idle == w.Count(Page::kIdle) << kPageShift && s.idle == Heap().IdleBytes());
    Require(s.released == w.Count(Page::kReleased) << kPageShift);
    Require(Heap().HeldBytes() == s.in_use + s.idle);
  }

 private:
  struct Held {
    Span* span;
    uint64_t pages;
    size_t size_class;
    Mailbox* owner;
  };

  // The first run long enough for any alignment decides; addresses are aligned as pages' numbers
  // are, up to a region, and beyond it there is none here.
  static std::optional<uint64_t> LowestFit(uint64_t count, uint64_t align) {
    const World& w = world();
    if (count > kPages || align > kRegionPages) return std::nullopt;
    uint64_t run = 0;
    for (uint64_t i = 0; i < kPages; ++i) {
      run = !w.IsFree(i) ? 0 : i == 0 || w.FollowsOn(i) ? run + 1 : 1;
      if (run != count + align - 1) continue;
      uint64_t first = i + 1 - run;
      while ((w.AddressOf(first) >> kPageShift) % align != 0) ++first;
      return first;
    }
    return std::nullopt;
  }

  // What an allocation owes when it takes the heap above its limit, in pages.
  static uint64_t Debt(uint64_t taken, uint64_t back) {
    const World& w = world();
    const uint64_t held = (w.Count(Page::kUsed) + w.Count(Page::kIdle)) << kPageShift;
    const uint64_t limit = Heap().limit();
    if (back == 0 || held <= limit || w.refuse) return 0;
    const uint64_t bytes = std::min(held - limit, std::max(taken << kPageShift, MiB(1).value()));
    return std::min(PagesFor(ByteCount(bytes)).value(), w.Count(Page::kIdle));
  }

  // Takes pages in the array; returns how many of them were with the system.
  static uint64_t Take(uint64_t first, uint64_t count) {
    World& w = world();
    uint64_t back = 0;
    for (uint64_t i = first; i < first + count; ++i) {
      Require(w.IsFree(i));
      back += w.pages[i] == Page::kReleased;
    }
    w.Fill(first, count, Page::kUsed);
    return back;
  }

  // What both kinds of span have in common: `make` is called once the array knows what comes.
  template <typename Make>
  void New(uint64_t count, uint64_t align, size_t size_class, Mailbox* owner, Make make) {
    const std::optional<uint64_t> want = LowestFit(count, align);
    uint64_t back = 0;
    uint64_t debt = 0;
    if (want.has_value()) {
      back = Take(*want, count);
      debt = Debt(count, back);
    }
    Span* span = make();
    Require((span != nullptr) == want.has_value());
    if (span == nullptr) return;
    Require(span->base() == world().AddressOf(*want) && span->zeroed == (back == count));
    Require(world().released == debt);
    spans_[*want] = {span, count, size_class, owner};
  }

  void NewSpan(size_t size_class, unsigned owner) {
    const SizeClass& c = kSizeClasses[size_class];
    Mailbox* box = &owners_[owner % std::size(owners_)];
    New(c.pages, 1, size_class, box, [&] {
      Span* span = Heap().NewSpan(size_class, box);
      if (span != nullptr) {
        Require(span->state == SpanState::kPartial && span->live == 0);
        Require(span->words == c.words && span->CountInUse() == 0 && !HasRemote(span));
        span->CheckInvariants();
      }
      return span;
    });
  }

  void NewLarge(uint64_t bytes, uint64_t alignment) {
    const uint64_t align = alignment <= kPageSize ? 1 : alignment >> kPageShift;
    New(PagesFor(ByteCount(bytes)).value(), align, 0, &large_owner, [&] {
      Span* span = Heap().NewLarge(bytes, alignment);
      if (span != nullptr) {
        Require(span->state == SpanState::kLarge && span->large_bytes == bytes);
        Require(span->base() % alignment == 0);
      }
      return span;
    });
  }

  std::map<uint64_t, Held>::iterator Pick(uint64_t which) {
    auto it = spans_.lower_bound(which * (kPages / 256));
    return it == spans_.end() ? spans_.begin() : it;
  }

  void Free(uint64_t which) {
    if (spans_.empty()) return;
    const auto it = Pick(which);
    const auto [first, held] = *it;
    spans_.erase(it);
    Heap().FreeSpan(held.span);
    world().Fill(first, held.pages, Page::kIdle);
    Leave(first, held.pages, held.size_class, /*whole=*/true);
  }

  // The trace of what was freed.
  void Leave(uint64_t first, uint64_t count, size_t size_class, bool whole) {
    for (uint64_t i = first; i < first + count; ++i) {
      traces_[i] = {.was_used = true, .first = whole && i == first, .size_class = size_class};
    }
  }

  void Resize(uint64_t which, uint64_t bytes) {
    if (spans_.empty()) return;
    auto& [first, held] = *Pick(which);
    if (held.size_class != 0) return;
    const uint64_t wanted = PagesFor(ByteCount(bytes)).value();
    bool fits = first + wanted <= kPages;
    for (uint64_t i = first + held.pages; fits && i < first + wanted; ++i) {
      fits = world().IsFree(i) && world().FollowsOn(i);
    }
    uint64_t debt = 0;
    if (fits && wanted > held.pages) {
      const uint64_t more = wanted - held.pages;
      debt = Debt(more, Take(first + held.pages, more));
    }
    Require(Heap().Resize(held.span, bytes) == fits);
    Require(world().released == debt);
    if (!fits) return;
    Require(held.span->large_bytes == bytes);
    if (wanted < held.pages) {
      world().Fill(first + wanted, held.pages - wanted, Page::kIdle);
      Leave(first + wanted, held.pages - wanted, 0, /*whole=*/false);
    }
    held.pages = wanted;
  }

  static void Release(uint64_t bytes) {
    World& w = world();
    w.released = 0;
    w.below = kPages;
    const uint64_t idle = w.Count(Page::kIdle);
    const uint64_t most =
        bytes > kPages << kPageShift ? kPages : PagesFor(ByteCount(bytes)).value();
    const uint64_t before = Heap().Stats().released_total;
    const uint64_t got = Heap().Release(bytes);
    Require(got == w.released << kPageShift);
    Require(w.released == (w.refuse ? 0 : std::min(idle, most)));
    Require(Heap().Stats().released_total == before + got);
  }

  Mailbox owners_[2];
  std::map<uint64_t, Held> spans_;  // by the array's index
  std::vector<PageTrace> traces_;   // what each page held that was freed last
};

}  // namespace
}  // namespace plimsoll::alloc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 600) return 0;  // each step looks at every page
  plimsoll::alloc::Heap();
  plimsoll::alloc::Model model;
  for (size_t i = 0; i + 3 <= size; i += 3) {
    model.Run(data[i], data[i + 1], data[i + 2]);
    model.Check();
  }
  return 0;
}
