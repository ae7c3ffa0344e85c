#include "plimsoll/alloc/fixed_alloc.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace plimsoll {
namespace {

struct alignas(64) Line {
  Line() = default;
  explicit Line(int v) : value(v) {}
  uint64_t link = 0;
  int value = 0;
};

constinit FixedAlloc<Line> static_lines;

TEST(FixedAllocTest, WorksFromStaticStorageWithoutAConstructorRun) {
  Line* line = static_lines.New(5);
  ASSERT_NE(line, nullptr);
  EXPECT_EQ(line->value, 5);
  static_lines.Delete(line);
  EXPECT_EQ(static_lines.live(), 0u);
}

TEST(FixedAllocTest, SlotsAreDistinctAlignedAndDoNotOverlap) {
  FixedAlloc<Line> lines;
  std::set<uintptr_t> seen;
  for (int i = 0; i < 10'000; ++i) {
    Line* line = lines.New(i);
    ASSERT_NE(line, nullptr);
    const auto address = reinterpret_cast<uintptr_t>(line);
    ASSERT_EQ(address % 64, 0u);
    ASSERT_TRUE(seen.insert(address).second);
  }
  uintptr_t previous = 0;
  for (uintptr_t address : seen) {
    if (previous != 0) {
      ASSERT_GE(address - previous, sizeof(Line));
    }
    previous = address;
  }
  EXPECT_EQ(lines.live(), 10'000u);
}

TEST(FixedAllocTest, ReusesWhatWasDeletedLastAndTakesNoMore) {
  FixedAlloc<Line> lines;
  Line* a = lines.New(1);
  Line* b = lines.New(2);
  const ByteCount mapped = lines.mapped();
  lines.Delete(a);
  lines.Delete(b);
  for (int i = 0; i < 100'000; ++i) {
    Line* line = lines.New(3);
    ASSERT_EQ(line, b);
    lines.Delete(line);
  }
  EXPECT_EQ(lines.mapped(), mapped);
}

TEST(FixedAllocTest, FreshStorageReadsAsZero) {
  FixedPool pool(256, 64);
  for (int i = 0; i < 1000; ++i) {
    const auto* bytes = static_cast<const unsigned char*>(pool.Allocate());
    ASSERT_NE(bytes, nullptr);
    for (int k = 0; k < 256; ++k) ASSERT_EQ(bytes[k], 0) << i << " " << k;
  }
}

TEST(FixedAllocTest, OnlyTheFirstWordOfADeletedSlotChanges) {
  FixedPool pool(64, 8);
  auto* slot = static_cast<uint64_t*>(pool.Allocate());
  for (int i = 0; i < 8; ++i) slot[i] = 100 + i;
  pool.Free(slot);
  for (int i = 1; i < 8; ++i) EXPECT_EQ(slot[i], 100u + i);
}

TEST(FixedAllocTest, ChunksGrowSoThatManySlotsNeedFewMappings) {
  FixedPool pool(512, 64);
  for (int i = 0; i < 100'000; ++i) ASSERT_NE(pool.Allocate(), nullptr);
  EXPECT_GE(pool.mapped().value(), 51'200'000u);
  EXPECT_LE(pool.mapped().value(), 51'200'000u + MiB(2).value());
}

TEST(FixedAllocTest, ThreadsAtOnceNeverShareASlot) {
  FixedAlloc<Line> lines;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&lines, t] {
      std::vector<Line*> mine;
      for (int round = 0; round < 20'000; ++round) {
        if (mine.size() < 50) {
          mine.push_back(lines.New(t));
        } else {
          for (Line* line : mine) {
            ASSERT_EQ(line->value, t);
            lines.Delete(line);
          }
          mine.clear();
        }
      }
      for (Line* line : mine) lines.Delete(line);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(lines.live(), 0u);
}

TEST(FixedAllocDeathTest, RunningOffTheEndOfAChunkHitsAGuardPage) {
  FixedPool pool(4096, 4096);
  auto* first = static_cast<volatile char*>(pool.Allocate());
  EXPECT_DEATH(first[-1] = 1, "");
}

}  // namespace
}  // namespace plimsoll
