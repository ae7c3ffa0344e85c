#include "plimsoll/alloc/heap.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/cache_slot.h"
#include "plimsoll/alloc/heap_ops.h"

namespace plimsoll {
namespace {

TEST(HeapTest, EverySizeIsAlignedUsableAndItsOwn) {
  std::vector<std::pair<unsigned char*, size_t>> held;
  for (size_t size = 0; size < 70'000; size += 1 + size / 40) {
    auto* p = static_cast<unsigned char*>(Heap::Allocate(size));
    ASSERT_NE(p, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0u) << size;
    ASSERT_GE(Heap::UsableSize(p), size);
    std::memset(p, static_cast<int>(held.size()), Heap::UsableSize(p));
    held.emplace_back(p, Heap::UsableSize(p));
  }
  for (size_t i = 0; i < held.size(); ++i) {
    for (size_t k = 0; k < held[i].second; ++k) {
      ASSERT_EQ(held[i].first[k], static_cast<unsigned char>(i));
    }
    Heap::Free(held[i].first);
  }
}

TEST(HeapTest, FreeingNothingDoesNothing) {
  Heap::Free(nullptr);
  Heap::FreeSized(nullptr, 8);
  EXPECT_EQ(Heap::UsableSize(nullptr), 0u);
}

TEST(HeapTest, AlignsToAnyPowerOfTwoAndRefusesOtherNumbers) {
  for (size_t alignment = 1; alignment <= (size_t{1} << 27); alignment *= 2) {
    for (size_t size :
         {size_t{0}, size_t{1}, size_t{24}, size_t{100}, size_t{5000}, size_t{40'000}}) {
      auto* p = static_cast<char*>(Heap::AllocateAligned(alignment, size));
      ASSERT_NE(p, nullptr) << alignment << " " << size;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % alignment, 0u) << alignment << " " << size;
      if (size > 0) p[0] = p[size - 1] = 1;
      Heap::FreeAlignedSized(p, alignment, size);
    }
  }
  EXPECT_EQ(Heap::AllocateAligned(0, 8), nullptr);
  EXPECT_EQ(Heap::AllocateAligned(24, 8), nullptr);
}

TEST(HeapTest, ZeroedMemoryReadsAsZeroEvenWhereOthersWrote) {
  for (size_t size : {size_t{1}, size_t{64}, size_t{1000}, size_t{30'000}, size_t{200'000}}) {
    for (int round = 0; round < 200; ++round) {
      auto* p = static_cast<unsigned char*>(Heap::AllocateZeroed(size));
      ASSERT_NE(p, nullptr);
      for (size_t i = 0; i < size; ++i) ASSERT_EQ(p[i], 0) << size << " at " << i;
      std::memset(p, 0xab, size);
      Heap::Free(p);
    }
  }
}

TEST(HeapTest, ReallocateKeepsContentsOverEveryBorder) {
  const size_t kSizes[] = {1, 16, 17, 100, 128, 129, 5000, 32'768, 32'769, 100'000, 3'000'000};
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      auto* p = static_cast<unsigned char*>(Heap::Allocate(from));
      for (size_t i = 0; i < from; ++i) p[i] = static_cast<unsigned char>(i * 7);
      p = static_cast<unsigned char*>(Heap::Reallocate(p, to));
      ASSERT_NE(p, nullptr);
      for (size_t i = 0; i < std::min(from, to); ++i) {
        ASSERT_EQ(p[i], static_cast<unsigned char>(i * 7)) << from << " to " << to << " at " << i;
      }
      std::memset(p, 1, to);
      Heap::FreeSized(p, to);
    }
  }
}

// The first byte in which two pieces of memory differ; `size`: none.
size_t FirstDifference(const unsigned char* a, const unsigned char* b, size_t size) {
  if (std::memcmp(a, b, size) == 0) return size;
  return static_cast<size_t>(std::mismatch(a, a + size, b).first - a);
}

// Programs keep lengths by UsableSize() (redis' strings do), and write up to it.
TEST(HeapTest, ReallocateKeepsEveryByteThatUsableSizePromised) {
  std::vector<unsigned char> pattern(400'000);
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<unsigned char>(i % 251 + 1);
  size_t large_moves = 0;
  for (size_t from = 1; from <= 300'000; from += 1 + from / 29) {
    for (size_t factor : {2, 3, 8}) {
      auto* p = static_cast<unsigned char*>(Heap::Allocate(from));
      void* wall = Heap::Allocate(from);  // as large: it lies behind, and `p` has to move
      ASSERT_TRUE(p != nullptr && wall != nullptr);
      const size_t usable = Heap::UsableSize(p);
      ASSERT_LE(usable, pattern.size());
      std::memcpy(p, pattern.data(), usable);
      auto* to = static_cast<unsigned char*>(Heap::Reallocate(p, usable * factor));
      ASSERT_NE(to, nullptr);
      large_moves += to != p && from > 32'768;
      ASSERT_EQ(FirstDifference(to, pattern.data(), usable), usable)
          << from << " to " << usable * factor;
      // Smaller again: what the smaller one has is kept.
      const size_t least = std::min<size_t>(usable, 20'000);
      to = static_cast<unsigned char*>(Heap::Reallocate(to, least));
      ASSERT_NE(to, nullptr);
      ASSERT_EQ(FirstDifference(to, pattern.data(), least), least) << from << " to " << least;
      Heap::Free(to);
      Heap::Free(wall);
    }
  }
  EXPECT_GT(large_moves, 10u);
}

TEST(HeapTest, ALargeObjectGrowsWhereItIsWhenThePagesBehindItAreFree) {
  void* p = Heap::Allocate(1 << 20);
  void* grown = Heap::Reallocate(p, (1 << 20) + (1 << 19));
  // Whether the pages are free is the neighbours' doing; what was given up is certainly free.
  void* shrunk = Heap::Reallocate(grown, 1 << 20);
  EXPECT_EQ(shrunk, grown);
  EXPECT_EQ(Heap::Reallocate(shrunk, (1 << 20) + (1 << 19)), shrunk);
  Heap::Free(shrunk);
}

TEST(HeapTest, ThereIsNoMemoryForWhatNoMachineHas) {
  EXPECT_EQ(Heap::Allocate(size_t{1} << 60), nullptr);
  EXPECT_EQ(Heap::Allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(Heap::AllocateZeroed(size_t{1} << 47), nullptr);
  EXPECT_EQ(Heap::AllocateAligned(size_t{1} << 62, 8), nullptr);
  void* p = Heap::Allocate(100);
  EXPECT_EQ(Heap::Reallocate(p, size_t{1} << 50), nullptr);
  std::memset(p, 1, 100);  // it is as it was
  Heap::Free(p);
}

// Each thread hands what it allocates to a random slot, and frees what it finds there.
TEST(HeapTest, ThreadsMayFreeWhatOthersAllocatedAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kSlots = 512;
  static std::atomic<uint64_t*> slots[kSlots];
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([t] {
      std::mt19937_64 random(t);
      for (int i = 0; i < 60'000; ++i) {
        const size_t words = 2 + random() % (i % 100 == 0 ? 6000 : 60);
        auto* mine = static_cast<uint64_t*>(Heap::Allocate(words * 8));
        mine[0] = words;
        mine[words - 1] = words;
        uint64_t* theirs = slots[random() % kSlots].exchange(mine, std::memory_order_acq_rel);
        if (theirs == nullptr) continue;
        ASSERT_EQ(theirs[theirs[0] - 1], theirs[0]);
        Heap::Free(theirs);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (auto& slot : slots) Heap::Free(slot.exchange(nullptr));
}

TEST(HeapTest, WhatManyDeadThreadsHeldComesBack) {
  auto spawn = [](int count) {
    for (int i = 0; i < count; ++i) {
      std::thread([] {
        std::vector<void*> held;
        for (size_t size = 1; size < 20'000; size += 500) held.push_back(Heap::Allocate(size));
        for (void* p : held) Heap::Free(p);
      }).join();
    }
  };
  spawn(20);
  const uint64_t before = Heap::Stats().in_spans.value();
  spawn(base::kTsan ? 100 : 1000);
  EXPECT_LE(Heap::Stats().in_spans.value(), before + MiB(1).value());
}

TEST(HeapTest, AThreadMayEndWhileOthersStillFreeItsObjects) {
  for (int round = 0; round < 50; ++round) {
    std::vector<void*> objects(2000);
    std::thread maker([&] {
      for (size_t i = 0; i < objects.size(); ++i) objects[i] = Heap::Allocate(16 + i % 300);
    });
    maker.join();
    std::thread a([&] {
      for (size_t i = 0; i < objects.size(); i += 2) Heap::Free(objects[i]);
    });
    std::thread b([&] {
      for (size_t i = 1; i < objects.size(); i += 2) Heap::Free(objects[i]);
    });
    a.join();
    b.join();
  }
  Heap::Step(1);
  EXPECT_LE(Heap::Stats().live.value(), MiB(8).value());
}

TEST(HeapTest, CachesOfPsMayMoveBetweenThreads) {
  alloc::MCache* cache = Heap::NewCache();
  ASSERT_NE(cache, nullptr);
  std::vector<void*> objects;
  for (int turn = 0; turn < 20; ++turn) {
    std::thread([&] {
      alloc::SetCurrentCache(cache);
      for (int i = 0; i < 500; ++i) objects.push_back(Heap::Allocate(48));
      for (int i = 0; i < 400; ++i) {
        Heap::Free(objects.back());
        objects.pop_back();
      }
      alloc::SetCurrentCache(nullptr);
    }).join();
  }
  for (void* p : objects) Heap::Free(p);
  Heap::TrimCache(cache);
  Heap::DeleteCache(cache);
}

TEST(HeapTest, PreemptionIsOffInSlowPathsAndOnAgainAfter) {
  static thread_local int depth = 0;
  static std::atomic<int> calls{0};
  alloc::SetPreemptHooks({.off = [] { ++depth, ++calls; }, .on = [] { --depth; }});
  std::thread([] {
    std::vector<void*> objects;
    for (int i = 0; i < 1000; ++i) objects.push_back(Heap::Allocate(64));
    objects.push_back(Heap::Allocate(100'000));
    for (void* p : objects) Heap::Free(p);
    EXPECT_EQ(depth, 0);
  }).join();
  EXPECT_GT(calls.load(), 10);
  alloc::SetPreemptHooks({});
}

TEST(HeapTest, StatsAddUpToWhatIsHeld) {
  Heap::SetSamplePeriod(ByteCount(0));  // a sample is a span of its own
  const HeapStats before = Heap::Stats();
  std::vector<void*> objects;
  for (int i = 0; i < 1000; ++i) objects.push_back(Heap::Allocate(1000));
  void* large = Heap::Allocate(MiB(3).value());
  const HeapStats during = Heap::Stats();
  EXPECT_EQ(during.live.value() - before.live.value(), 1000u * 1024 + MiB(3).value());
  EXPECT_EQ(during.large_objects, before.large_objects + 1);
  EXPECT_EQ(during.in_spans.value() + during.idle.value() + during.released.value(),
            during.mapped.value());
  EXPECT_GE(during.in_spans.value(), during.live.value());
  for (void* p : objects) Heap::Free(p);
  Heap::Free(large);
  EXPECT_EQ(Heap::Stats().live.value(), before.live.value());
}

TEST(HeapTest, JsonNamesEveryClassInUse) {
  void* p = Heap::Allocate(600);
  std::string json;
  WriteJson(
      Heap::Stats(),
      [](std::string_view text, void* to) { static_cast<std::string*>(to)->append(text); }, &json);
  EXPECT_NE(json.find("\"live_bytes\": "), std::string::npos);
  EXPECT_NE(json.find("\"limit_bytes\": null"), std::string::npos);
  EXPECT_NE(json.find("{\"size\": 640, \"spans\": "), std::string::npos) << json;
  EXPECT_EQ(std::count(json.begin(), json.end(), '{'), std::count(json.begin(), json.end(), '}'));
  Heap::Free(p);
}

TEST(HeapTest, ThePictureShowsEveryRegionAndWhatItsPagesHold) {
  std::vector<void*> all;
  for (int i = 0; i < 3000; ++i) all.push_back(Heap::Allocate(1024));
  all.push_back(Heap::Allocate(MiB(3).value()));
  std::string svg;
  const auto draw = [&svg] {
    svg.clear();
    return Heap::WritePicture(
        [](std::string_view piece, void* to) { static_cast<std::string*>(to)->append(piece); },
        &svg);
  };
  ASSERT_TRUE(draw());
  const auto count = [&svg](const char* what) {
    size_t n = 0;
    for (size_t at = svg.find(what); at != std::string::npos; at = svg.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(svg.substr(0, 4), "<svg");
  EXPECT_EQ(svg.substr(svg.size() - 7), "</svg>\n");
  EXPECT_EQ(count("<rect"), count("/>"));
  EXPECT_EQ(count("<text"), count("</text>"));
  EXPECT_EQ(count("fill=\"none\""), Heap::Stats().mapped.value() / MiB(64).value());
  EXPECT_GE(count("1024 B"), 1u);
  EXPECT_GE(count("fill=\"#555b66\""), 2u);  // the legend's, and the large object
  const size_t idle_before = count("fill=\"#f1e2b0\"");
  for (void* p : all) Heap::Free(p);
  ASSERT_TRUE(draw());
  EXPECT_GT(count("fill=\"#f1e2b0\""), idle_before);
  Heap::ReleaseAll();
}

TEST(HeapTest, StepReturnsASpikeWithinTenSeconds) {
  Heap::ReleaseAll();
  std::vector<void*> objects;
  for (int i = 0; i < 200; ++i) {
    objects.push_back(Heap::Allocate(MiB(1).value()));
    std::memset(objects.back(), 1, MiB(1).value());
  }
  for (void* p : objects) Heap::Free(p);
  EXPECT_GE(Heap::Stats().idle.value(), MiB(190).value());
  for (int64_t now = 0; now <= 10'000'000'000; now += 100'000'000) Heap::Step(now);
  const HeapStats s = Heap::Stats();
  EXPECT_LE(s.in_spans.value() + s.idle.value(), s.live.value() * 5 / 4 + MiB(16).value());
}

TEST(HeapTest, WhoStepsWhileAnotherDoesReturnsAtOnce) {
  Heap::ReleaseAll();
  const uint64_t held = Heap::Stats().in_spans.value();
  Heap::SetMemoryLimit(ByteCount(held) + MiB(20));
  void* p = Heap::Allocate(MiB(60).value());
  std::memset(p, 1, MiB(60).value());
  Heap::Free(p);
  alloc::core.stepping.store(true);  // as the other has it
  const uint64_t idle = Heap::Stats().idle.value();
  const Heap::StepResult second = Heap::Step(1'000'000'000'000);
  EXPECT_EQ(second.released.value(), 0u);
  EXPECT_FALSE(second.idle);
  EXPECT_EQ(Heap::Stats().idle.value(), idle);
  alloc::core.stepping.store(false);
  EXPECT_GT(Heap::Step(1'000'000'000'000).released.value(), MiB(20).value());
  Heap::SetMemoryLimit(ByteCount(UINT64_MAX));
}

// The runtime's and a program's own; TSan looks.
TEST(HeapTest, ThreadsStepAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([] {
      for (int64_t i = 0; i < 20'000; ++i) Heap::Step(1'100'000'000'000 + i * 1'000'000);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(alloc::core.stepping.load());
}

// Threads allocate, hand over what they got, and do nothing more until the test ends.
TEST(HeapTest, WhatBlockedThreadsAllocatedGoesBackWithinTenSecondsOfItsFree) {
  constexpr int kThreads = 3;
  int64_t now = int64_t{2'000'000'000'000};
  for (const size_t size : {64, 1000, 20'000}) {
    SCOPED_TRACE(size);
    const uint64_t live = Heap::Stats().live.value();
    const size_t count = MiB(12).value() / size;
    std::vector<std::vector<void*>> objects(kThreads);
    std::atomic<int> ready{0};
    std::atomic<bool> stop{false};
    std::vector<std::thread> owners;
    for (std::vector<void*>& mine : objects) {
      owners.emplace_back([&, count, size] {
        for (size_t i = 0; i < count; ++i) mine.push_back(Heap::Allocate(size));
        // Some of it comes back by the owner itself.
        for (size_t i = 0; i < count; i += 5) Heap::Free(std::exchange(mine[i], nullptr));
        ready.fetch_add(1);
        ready.notify_all();
        stop.wait(false);
      });
    }
    for (int seen = 0; seen < kThreads; seen = ready.load()) ready.wait(seen);
    EXPECT_GE(Heap::Stats().live.value(), live + MiB(25).value());
    for (const std::vector<void*>& theirs : objects) {
      for (void* p : theirs) Heap::Free(p);
    }
    for (const int64_t end = now + 10'000'000'000; now < end; now += 100'000'000) Heap::Step(now);
    const HeapStats s = Heap::Stats();
    EXPECT_LE(s.in_spans.value() + s.idle.value(), live * 5 / 4 + MiB(16).value());
    stop = true;
    stop.notify_all();
    for (std::thread& owner : owners) owner.join();
  }
}

// Each fills objects with what tells them apart; the next thread looks at them and frees them.
TEST(HeapTest, SpansAreTakenFromOwnersThatGoOn) {
  constexpr int kThreads = 3;
  constexpr int kBatches = base::kTsan || base::kAsan ? 60 : 400;
  struct Box {
    std::mutex mu;
    std::vector<std::pair<unsigned char*, size_t>> objects;
  };
  std::array<Box, kThreads> boxes;
  std::atomic<int> running{kThreads};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int batch = 0; batch < kBatches; ++batch) {
        const size_t size = size_t{16} << random() % 10;
        std::vector<std::pair<unsigned char*, size_t>> made;
        for (size_t i = 0; i < 40'000 / size + 20; ++i) {
          auto* p = static_cast<unsigned char*>(Heap::Allocate(size));
          std::memset(p, t * 50 + 1, size);
          made.emplace_back(p, size);
        }
        for (size_t i = 0; i < made.size(); i += 7) {
          Heap::Free(made[i].first);
          made[i].first = nullptr;
        }
        std::vector<std::pair<unsigned char*, size_t>> got;
        {
          const std::scoped_lock hold(boxes[t].mu);
          got.swap(boxes[t].objects);
        }
        {
          Box& next = boxes[(t + 1) % kThreads];
          const std::scoped_lock hold(next.mu);
          next.objects.insert(next.objects.end(), made.begin(), made.end());
        }
        const int from = (t + kThreads - 1) % kThreads;
        for (const auto& [p, bytes] : got) {
          if (p == nullptr) continue;
          for (size_t k = 0; k < bytes; ++k) {
            PLIMSOLL_CHECK(p[k] == from * 50 + 1, "an object in use was given back");
          }
          Heap::Free(p);
        }
      }
      running.fetch_sub(1);
    });
  }
  while (running.load() > 0) Heap::ReleaseAll();
  for (std::thread& thread : threads) thread.join();
  for (Box& box : boxes) {
    for (const auto& [p, bytes] : box.objects) Heap::Free(p);
  }
}

TEST(HeapTest, MemoryThatStaysInUseGetsHugePages) {
  std::vector<void*> all;
  for (int i = 0; i < 32; ++i) {
    all.push_back(std::memset(Heap::Allocate(MiB(1).value()), 1, MiB(1).value()));
  }
  const uint64_t before = Heap::Stats().collapsed_total.value();
  int64_t now = int64_t{3'000'000'000'000};
  for (int i = 0; i < 30; ++i) Heap::Step(now += 1'000'000'000);
  for (void* p : all) {
    for (size_t k = 0; k < MiB(1).value(); k += 4096) ASSERT_EQ(static_cast<char*>(p)[k], 1);
  }
  const uint64_t after = Heap::Stats().collapsed_total.value();
  for (void* p : all) Heap::Free(p);
  if (after == before) GTEST_SKIP() << "this kernel gave no huge page";
  EXPECT_GE(after - before, MiB(2).value());
}

TEST(HeapTest, UnderALimitIdleMemoryGoesAtTheNextStep) {
  Heap::ReleaseAll();
  const uint64_t held = Heap::Stats().in_spans.value();
  Heap::SetMemoryLimit(ByteCount(held) + MiB(40));
  void* p = Heap::Allocate(MiB(60).value());
  std::memset(p, 1, MiB(60).value());
  Heap::Free(p);
  Heap::Step(20'000'000'000);
  EXPECT_LE(Heap::Stats().idle.value(), MiB(40).value());
  Heap::SetMemoryLimit(ByteCount(UINT64_MAX));
}

TEST(HeapTest, WhatIsIdleBeyondTheLimitIsReleasedWhenAskedFor) {
  Heap::ReleaseAll();
  EXPECT_FALSE(Heap::IsOverLimit()) << "there is none";
  const uint64_t in_spans = Heap::Stats().in_spans.value();
  void* p = Heap::Allocate(MiB(60).value());
  std::memset(p, 1, MiB(60).value());
  Heap::Free(p);
  Heap::SetMemoryLimit(ByteCount(in_spans) + MiB(40));
  EXPECT_TRUE(Heap::IsOverLimit());
  EXPECT_GE(Heap::ReleaseOverLimit().value(), MiB(20).value());
  EXPECT_FALSE(Heap::IsOverLimit());
  EXPECT_GE(Heap::Stats().idle.value(), MiB(39).value()) << "and no more";
  EXPECT_EQ(Heap::ReleaseOverLimit().value(), 0u);
  Heap::SetMemoryLimit(ByteCount(UINT64_MAX));
}

// In the child of a fork: takes all the memory that there is within the address space it has.
void TakeAllMemory() {
  rlimit none;
  PLIMSOLL_CHECK(getrlimit(RLIMIT_AS, &none) == 0);
  none.rlim_cur = 1;
  PLIMSOLL_CHECK(setrlimit(RLIMIT_AS, &none) == 0);
  for (size_t size = size_t{1} << 20; size >= 16; size /= 2) {
    while (Heap::Allocate(size) != nullptr) {
    }
  }
  // What spans of the classes that the test asks for still have.
  for (size_t size : {size_t{100}, size_t{30'000}}) {
    while (Heap::Allocate(size) != nullptr) {
    }
  }
}

TEST(HeapTest, AnObjectIsMadeSmallerAlsoWithoutMemory) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "a sanitizer needs address space of its own";
  auto check = [] {
    Heap::SetSamplePeriod(ByteCount(0));
    auto* large = static_cast<unsigned char*>(Heap::Allocate(2'000'000));
    auto* small = static_cast<unsigned char*>(Heap::Allocate(20'000));
    void* wall = Heap::Allocate(20'000);
    std::memset(large, 1, 2'000'000);
    std::memset(small, 2, 20'000);
    TakeAllMemory();
    PLIMSOLL_CHECK(Heap::Reallocate(small, 40'000) == nullptr);
    PLIMSOLL_CHECK(Heap::Reallocate(small, 100) == small);
    PLIMSOLL_CHECK(Heap::Reallocate(large, 30'000) == large);
    for (int i = 0; i < 100; ++i) PLIMSOLL_CHECK(small[i] == 2);
    for (int i = 0; i < 30'000; ++i) PLIMSOLL_CHECK(large[i] == 1);
    PLIMSOLL_CHECK(Heap::Stats().idle.value() >= 1'900'000);  // what the large one gave up
    // A sized free may tell the size that it was made to be.
    Heap::FreeSized(small, 100);
    Heap::FreeSized(large, 30'000);
    Heap::Free(wall);
    _exit(0);
  };
  EXPECT_EXIT(check(), testing::ExitedWithCode(0), "");
}

// A sample needs pages of its own, and a record: without memory for these the object is one like
// others, and the turn is the next one's.
TEST(HeapTest, AllocationWithoutMemoryForSamplesComesToAnEnd) {
  if (base::kAsan || base::kTsan) GTEST_SKIP() << "a sanitizer needs address space of its own";
  auto check = [] {
    alarm(20);  // ends what does not end
    Heap::SetSamplePeriod(ByteCount(1));
    PLIMSOLL_CHECK(Heap::Allocate(100) != nullptr);  // a sample, and a span that waits for the next
    TakeAllMemory();
    PLIMSOLL_CHECK(Heap::Allocate(100) == nullptr && Heap::Allocate(30'000) == nullptr);
    _exit(0);
  };
  EXPECT_EXIT(check(), testing::ExitedWithCode(0), "");
}

#define HEAP_DEATH(statement, text) EXPECT_EXIT(statement, testing::ExitedWithCode(2), text)

TEST(HeapDeathTest, MisuseIsToldWithAddressClassAndState) {
  Heap::SetSamplePeriod(ByteCount(0));  // a sample is a span of its own
  if (base::kTsan) GTEST_SKIP() << "TSan forbids threads and fork together";
  HEAP_DEATH(
      {
        void* p = Heap::Allocate(100);
        Heap::Free(p);
        Heap::Free(p);
      },
      "fatal error: free: double free of 0x[0-9a-f]+: object [0-9]+ of a span of 112-byte objects "
      "\\(class 7\\) at 0x[0-9a-f]+, state");
  HEAP_DEATH(
      {
        auto* p = static_cast<char*>(Heap::Allocate(100));
        Heap::Free(p + 32);
      },
      "interior pointer 0x[0-9a-f]+: 32 bytes into object [0-9]+ of a span of 112-byte objects");
  HEAP_DEATH(
      {
        auto* p = static_cast<char*>(Heap::Allocate(100'000));
        Heap::Free(p + 4096);
      },
      "interior pointer 0x[0-9a-f]+: 4096 bytes into a large object of 100000 bytes");
  HEAP_DEATH(
      {
        int local = 0;
        Heap::Free(&local);
      },
      "wild pointer 0x[0-9a-f]+: no allocation of this heap is at this address");
  HEAP_DEATH(
      {
        // Never handed out, in a span that is in use.
        auto* p = static_cast<char*>(Heap::Allocate(32'000));
        Heap::Free(p + 32'768);
      },
      "(double free|wild pointer)");
  HEAP_DEATH(Heap::FreeSized(Heap::Allocate(100), 200),
             "sized free: mismatched size for 0x[0-9a-f]+: told 200: object");
  HEAP_DEATH(Heap::FreeSized(Heap::Allocate(100'000), 200),
             "told 200: 0 bytes into a large object");
  HEAP_DEATH(
      {
        void* p = Heap::Allocate(100'000);
        Heap::Free(p);
        Heap::Free(p);
      },
      "free: double free of 0x[0-9a-f]+: a large object, state free");
  HEAP_DEATH(
      {
        auto* p = static_cast<char*>(Heap::Allocate(100'000));
        Heap::Free(p);
        Heap::Free(p + 50'000);
      },
      "free: wild pointer 0x[0-9a-f]+: within a large object that was freed, state free");
  HEAP_DEATH(
      {
        auto* p = static_cast<char*>(Heap::Reallocate(Heap::Allocate(1'000'000), 100'000));
        Heap::Free(p + 500'000);  // what a shrink gave up
      },
      "free: wild pointer 0x[0-9a-f]+: within a large object");
  // Enough that their spans go back, pages and all, when the cache is trimmed.
  HEAP_DEATH(
      {
        Heap::SetSamplePeriod(ByteCount(0));
        std::vector<char*> objects;
        for (int i = 0; i < 1000; ++i) {
          objects.push_back(static_cast<char*>(Heap::Allocate(6000)));
        }
        for (char* p : objects) Heap::Free(p);
        Heap::ReleaseAll();
        Heap::Free(objects[500]);
      },
      "free: double free of 0x[0-9a-f]+: an object of a span of [0-9]+-byte objects .class "
      "[0-9]+., "
      "state free");
  HEAP_DEATH(Heap::Free(reinterpret_cast<void*>(0xdeadbeef00000000)), "wild pointer");
  HEAP_DEATH(
      {
        void* p = Heap::Allocate(64);
        Heap::Free(p);
        (void)Heap::Reallocate(p, 1000);
      },
      "realloc: double free of");
}

TEST(HeapDeathTest, ASecondFreeByAnotherThreadIsFoundWhenItIsSent) {
  if (base::kTsan) GTEST_SKIP() << "TSan forbids threads and fork together";
  HEAP_DEATH(
      {
        void* p = Heap::Allocate(64);
        std::thread([p] {
          Heap::Free(p);
          Heap::Free(p);
        }).join();
      },
      "double free of");
  HEAP_DEATH(
      {
        void* p = Heap::Allocate(64);
        std::thread([p] { Heap::Free(p); }).join();
        std::thread([p] { Heap::Free(p); }).join();
      },
      "double free of");
}

}  // namespace
}  // namespace plimsoll
