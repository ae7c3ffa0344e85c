// Fuzzes the caches of one heap beside a map of what is live: bytes are operations, several caches
// take turns on one thread, so that every order of owners, strangers, mail, orphans and samples
// comes up; after each operation the invariants of spans, caches and pages hold, and the in-use
// bits, less the frees that are on their way, are the map's objects and no others.
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "plimsoll/alloc/heap_core.h"
#include "plimsoll/alloc/size_class.h"
#include "plimsoll/alloc/span.h"
#include "tests/fuzz/heap_look.h"

namespace plimsoll::alloc {
namespace {

// Regions stay in the span map for ever, and so does the heap; each input leaves it empty.
HeapCore& Core() {
  static auto& core = *new HeapCore;
  return core;
}

// The same for where to look.
HeapLook& Look() {
  static auto& look = *new HeapLook;
  return look;
}

class Model {
 public:
  explicit Model(unsigned period) {
    Core().sample_period.store(period * 512, std::memory_order_relaxed);
    for (MCache*& cache : caches_) cache = Core().AcquireCache();
  }
  ~Model() {
    while (!live_.empty()) Free(0, 0);
    for (MCache* cache : caches_) Core().ReturnCache(cache);
    Core().TakeFromCaches(/*all=*/true);
    Core().ReadOrphansMail();
    Require(Core().pages.Stats().in_use == 0);
  }

  void Run(unsigned op, unsigned a, unsigned b) {
    const unsigned by = (op >> 4) % kCaches;
    switch (op % 16) {
      case 0:
        return caches_[by]->FlushPending();
      case 1:
        return caches_[by]->Trim();
      case 2:
        return caches_[by]->ReadMail();
      case 3: {
        Core().ReturnCache(caches_[by]);
        caches_[by] = Core().AcquireCache();
        return;
      }
      case 4:
        Core().TakeFromCaches(/*all=*/a % 2 == 0);
        return Core().ReadOrphansMail();
      case 5:
      case 6:
      case 7:
      case 8:
        for (unsigned i = 0; i <= a % 32; ++i) Free(by, b * 16 + i);
        return;
      default:
        for (unsigned i = 0; i <= a % 32; ++i) Allocate(by, 1 + b % (kClassCount - 1));
    }
  }

  void Check() {
    for (MCache* cache : caches_) cache->CheckInvariants();
    Core().pages.CheckInvariants();
    HeapLook& look = Look();
    look.Take({caches_[0], caches_[1], caches_[2]});
    uint64_t objects[kClassCount] = {};
    for (const auto& [address, size_class] : live_) {
      Span* span = FindSpan(address);
      Require(span != nullptr && span->class_index() == size_class);
      const ObjectIndex at = Index(address - span->base(), span->magic());
      Require(at.at_start &&
              HeapLook::IsLive(span, at.index, {caches_[0], caches_[1], caches_[2]}));
      ++objects[size_class];
    }
    for (size_t c = 1; c < kClassCount; ++c) Require(look.objects[c] == objects[c]);
    const PageStats s = Core().pages.Stats();
    Require(look.large == 0 && s.in_use == look.pages << kPageShift);
    Require(s.mapped == s.in_use + s.idle + s.released);
  }

 private:
  static constexpr unsigned kCaches = 3;

  void Allocate(unsigned by, size_t size_class) {
    MCache* cache = caches_[by];
    void* p = nullptr;
    if (!cache->TryAllocateClass(size_class, &p)) {
      p = cache->RefillInPlace(size_class);
      // A sample's turn: its object comes from elsewhere, and is none of this heap's.
      if (p == nullptr && cache->TakeSampleTurn(size_class)) return;
      if (p == nullptr) p = cache->Refill(size_class);
      if (p == nullptr) return Require(cache->TakeSampleTurn(size_class));
    }
    Look().AddRegions(p);
    const auto address = reinterpret_cast<uintptr_t>(p);
    const auto next = live_.lower_bound(address);
    const size_t size = kSizeClasses[size_class].size;
    Require(next == live_.end() || next->first >= address + size);
    Require(next == live_.begin() ||
            std::prev(next)->first + kSizeClasses[std::prev(next)->second].size <= address);
    live_[address] = size_class;
  }

  void Free(unsigned by, unsigned which) {
    if (live_.empty()) return;
    auto it = live_.lower_bound(last_ + which * 16);
    if (it == live_.end()) it = live_.begin();
    last_ = it->first;
    MCache* cache = caches_[by];
    Span* span = nullptr;
    switch (cache->TryFree(it->first, &span)) {
      case MCache::Freed::kDone:
        break;
      case MCache::Freed::kAttention:
        cache->Attend(span);
        break;
      case MCache::Freed::kNotHere:
        if (cache->TryFreeRemote(it->first)) break;
        span = FindSpan(it->first);
        const uint32_t index = Index(it->first - span->base(), span->magic()).index;
        if (span->Owner() == cache) {
          cache->FreeOwned(span, index);
        } else {
          cache->FreeRemote(span, index, which % 7 == 0);
        }
        break;
    }
    live_.erase(it);
  }

  MCache* caches_[kCaches];
  std::map<uintptr_t, size_t> live_;
  uintptr_t last_ = 0;
};

}  // namespace
}  // namespace plimsoll::alloc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 1000) return 0;
  plimsoll::alloc::Model model(data[0]);
  for (size_t i = 1; i + 3 <= size; i += 3) {
    model.Run(data[i], data[i + 1], data[i + 2]);
    model.Check();
  }
  return 0;
}
