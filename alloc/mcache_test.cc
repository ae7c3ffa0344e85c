// A model of caches: operations as values, a plain reference, invariants after each step. Several
// caches run on one thread, so that every interleaving of owners and strangers is replayed from its
// seed; threads at once are heap_test's.
#include "plimsoll/alloc/mcache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include "plimsoll/alloc/heap_core.h"

namespace plimsoll::alloc {
namespace {

// Regions stay in the span map for ever, and so do the test's heaps.
HeapCore& NewCore() {
  static auto& kept = *new std::vector<HeapCore*>;  // reachable, for LeakSanitizer
  kept.push_back(new HeapCore);
  return *kept.back();
}

void* AllocateFrom(MCache* cache, size_t size_class) {
  void* p;
  if (cache->TryAllocateClass(size_class, &p)) return p;
  p = cache->RefillInPlace(size_class);
  return p != nullptr ? p : cache->Refill(size_class);
}

class Model {
 public:
  explicit Model(int caches) : core_(NewCore()) {
    for (int i = 0; i < caches; ++i) caches_.push_back(core_.AcquireCache());
  }
  ~Model() {
    while (!live_.empty()) Free(0, 0);
    for (MCache* cache : caches_) core_.ReturnCache(cache);
    core_.TakeFromCaches(/*all=*/true);
    core_.ReadOrphansMail();
    // Every page comes back when every object has, whoever freed it.
    EXPECT_EQ(core_.pages.Stats().in_use, 0u);
    core_.pages.CheckInvariants();
  }

  void Allocate(size_t by, size_t size_class) {
    MCache* cache = caches_[by % caches_.size()];
    void* p = AllocateFrom(cache, size_class);
    ASSERT_NE(p, nullptr);
    const auto address = reinterpret_cast<uintptr_t>(p);
    const size_t size = kSizeClasses[size_class].size;
    // No overlap with a live object, before or behind.
    auto next = live_.lower_bound(address);
    if (next != live_.end()) {
      ASSERT_GE(next->first, address + size);
    }
    if (next != live_.begin()) {
      auto before = std::prev(next);
      ASSERT_LE(before->first + kSizeClasses[before->second.size_class].size, address);
    }
    const Span* span = FindSpan(address);
    ASSERT_NE(span, nullptr);
    ASSERT_EQ(span->class_index(), size_class);
    if (cache->LastWasFresh(size_class)) {
      for (size_t i = 0; i < size; i += 8) ASSERT_EQ(*reinterpret_cast<uint64_t*>(address + i), 0u);
    }
    const auto tag = static_cast<uint8_t>(++tags_ | 1);
    std::memset(p, tag, size);
    live_[address] = {size_class, tag};
  }

  void Free(size_t by, size_t which) {
    if (live_.empty()) return;
    auto it = live_.lower_bound(last_ + (which % 4096) * 16);
    if (it == live_.end()) it = live_.begin();
    last_ = it->first;
    const size_t size = kSizeClasses[it->second.size_class].size;
    const auto* bytes = reinterpret_cast<const uint8_t*>(it->first);
    for (size_t i = 0; i < size; ++i) ASSERT_EQ(bytes[i], it->second.tag) << "someone wrote here";
    MCache* cache = caches_[by % caches_.size()];
    Span* span;
    switch (cache->TryFree(it->first, &span)) {
      case MCache::Freed::kDone:
        break;
      case MCache::Freed::kAttention:
        cache->Attend(span);
        break;
      case MCache::Freed::kNotHere: {
        span = FindSpan(it->first);
        ASSERT_NE(span->owner.load(), cache);
        cache->FreeRemote(span, Index(it->first - span->base(), span->magic()).index,
                          which % 5 == 0);
        break;
      }
    }
    live_.erase(it);
  }

  void Flush(size_t by) { caches_[by % caches_.size()]->FlushPending(); }
  void Trim(size_t by) { caches_[by % caches_.size()]->Trim(); }
  void Replace(size_t by) {
    MCache*& cache = caches_[by % caches_.size()];
    core_.ReturnCache(cache);
    cache = core_.AcquireCache();
  }
  void ReadMail() {
    core_.TakeFromCaches(/*all=*/true);
    core_.ReadOrphansMail();
  }

  void Check() {
    for (MCache* cache : caches_) cache->CheckInvariants();
    core_.pages.CheckInvariants();
    for (const auto& [address, object] : live_) {
      Span* span = FindSpan(address);
      const ObjectIndex at = Index(address - span->base(), span->magic());
      ASSERT_TRUE(at.at_start);
      ASSERT_TRUE(span->IsInUse(at.index));
    }
  }
  size_t live() const { return live_.size(); }

 private:
  struct Object {
    size_t size_class;
    uint8_t tag;
  };
  HeapCore& core_;
  std::vector<MCache*> caches_;
  std::map<uintptr_t, Object> live_;
  uintptr_t last_ = 0;
  unsigned tags_ = 0;
};

TEST(MCacheTest, AgreesWithAMapOfObjectsAfterEveryOperation) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    Model model(1 + seed % 4);
    // Few classes and long spells of growth and decline, so that spans fill, empty and change
    // hands.
    const size_t classes[] = {1 + random() % 8, 8 + random() % 20, 28 + random() % 20,
                              kClassCount - 1 - random() % 10};
    for (int step = 0; step < 4000 && !testing::Test::HasFatalFailure(); ++step) {
      const bool grow = (step / 700) % 2 == 0;
      const uint64_t pick = random() % 1000;
      const uint64_t a = random() >> 8;
      if (pick == 0) {
        model.Replace(a);
      } else if (pick < 4) {
        model.Trim(a);
      } else if (pick < 10) {
        model.Flush(a);
      } else if (pick < 14) {
        model.ReadMail();
      } else if (pick < (grow ? 750 : 300)) {
        model.Allocate(a, classes[random() % 4]);
      } else {
        model.Free(a, random() >> 8);
      }
      if (step % 50 == 0) model.Check();
    }
    model.Check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(MCacheTest, AnObjectFreedIsFoundAgainAndNoPageIsTakenForIt) {
  HeapCore& core = NewCore();
  MCache* cache = core.AcquireCache();
  for (size_t c = 1; c < kClassCount; ++c) {
    for (int i = 0; i < 3000; ++i) {
      void* p = AllocateFrom(cache, c);
      ASSERT_NE(p, nullptr);
      Span* span = nullptr;
      const MCache::Freed freed = cache->TryFree(reinterpret_cast<uintptr_t>(p), &span);
      ASSERT_NE(freed, MCache::Freed::kNotHere);
      if (freed == MCache::Freed::kAttention) cache->Attend(span);
    }
    EXPECT_EQ(core.pages.Stats().in_use, kSizeClasses[c].pages * kPageSize) << "class " << c;
    cache->Trim();
  }
  EXPECT_EQ(core.pages.Stats().in_use, 0u);
}

// A refill in place takes no page, gives no object twice, and leaves what it does not know alone.
TEST(MCacheTest, ASlotThatRanEmptyIsRefilledFromItsOwnSpan) {
  for (const size_t size : {16, 64, 256, 4096, 32768}) {
    SCOPED_TRACE(size);
    HeapCore& core = NewCore();
    MCache* cache = core.AcquireCache();
    const size_t c = ClassOf(size);
    EXPECT_EQ(cache->RefillInPlace(c), nullptr);  // it has no span yet
    std::vector<void*> held = {cache->Refill(c)};
    ASSERT_NE(held[0], nullptr);
    Span* span = FindSpan(reinterpret_cast<uintptr_t>(held[0]));
    while (held.size() < kSizeClasses[c].objects) {
      void* p;
      if (!cache->TryAllocateClass(c, &p)) p = cache->RefillInPlace(c);
      ASSERT_NE(p, nullptr);
      EXPECT_EQ(FindSpan(reinterpret_cast<uintptr_t>(p)), span);
      held.push_back(p);
      cache->CheckInvariants();
    }
    std::sort(held.begin(), held.end());
    EXPECT_EQ(std::unique(held.begin(), held.end()), held.end());
    EXPECT_EQ(cache->RefillInPlace(c), nullptr);  // the span is full
    cache->CheckInvariants();
    for (void* p : held) {
      Span* at;
      ASSERT_NE(cache->TryFree(reinterpret_cast<uintptr_t>(p), &at), MCache::Freed::kNotHere);
    }
    void* again = cache->RefillInPlace(c);
    EXPECT_EQ(FindSpan(reinterpret_cast<uintptr_t>(again)), span);
    cache->CheckInvariants();
  }
}

TEST(MCacheTest, FreesOfOthersComeBackToTheOwnerInBatches) {
  HeapCore& core = NewCore();
  MCache* owner = core.AcquireCache();
  MCache* other = core.AcquireCache();
  const size_t c = ClassOf(64);
  std::vector<void*> objects;
  for (uint32_t i = 0; i < 4 * kSizeClasses[c].objects; ++i) {
    objects.push_back(AllocateFrom(owner, c));
  }
  const uint64_t pages = core.pages.Stats().in_use;
  for (int round = 0; round < 50; ++round) {
    for (void* p : objects) {
      const auto address = reinterpret_cast<uintptr_t>(p);
      Span* span = FindSpan(address);
      Span* unused;
      ASSERT_EQ(other->TryFree(address, &unused), MCache::Freed::kNotHere);
      other->FreeRemote(span, Index(address - span->base(), span->magic()).index, false);
    }
    other->FlushPending();
    for (void*& p : objects) {
      p = AllocateFrom(owner, c);
      ASSERT_NE(p, nullptr);
    }
  }
  // One span more at most: the current one's word was in hand when the rest came back.
  EXPECT_LE(core.pages.Stats().in_use, pages + kSizeClasses[c].pages * kPageSize);
  owner->CheckInvariants();
  other->CheckInvariants();
}

TEST(MCacheTest, SpansOfARetiredCacheServeTheNext) {
  HeapCore& core = NewCore();
  const size_t c = ClassOf(1000);
  MCache* first = core.AcquireCache();
  void* keep = first->Refill(c);
  ASSERT_NE(keep, nullptr);
  core.ReturnCache(first);
  MCache* second = core.AcquireCache();
  EXPECT_EQ(second, first);  // its storage
  void* p = second->Refill(c);
  EXPECT_EQ(FindSpan(reinterpret_cast<uintptr_t>(p)), FindSpan(reinterpret_cast<uintptr_t>(keep)));
}

}  // namespace
}  // namespace plimsoll::alloc
