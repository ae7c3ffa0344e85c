#include "plimsoll/alloc/heap_census.h"

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/size_class.h"

namespace plimsoll {
namespace {

// A kernel that has every page below `end` in memory.
uint64_t Below(uintptr_t at, size_t bytes, void* arg) {
  const uintptr_t end = *static_cast<uintptr_t*>(arg);
  return at >= end ? 0 : at + bytes <= end ? bytes : end - at;
}

HeapCensus Take(uintptr_t end) {
  HeapCensus census;
  EXPECT_TRUE(TakeHeapCensus(&census, Below, &end));
  return census;
}

// No allocation is chosen to stand between guard pages, by chance and out of its class.
class HeapCensusTest : public testing::Test {
 protected:
  HeapCensusTest() { Heap::SetSamplePeriod(ByteCount(0)); }
};

TEST_F(HeapCensusTest, CountsWhatWasAllocatedByClass) {
  const HeapCensus before = Take(UINTPTR_MAX);
  void* small[100];
  for (void*& p : small) p = Heap::Allocate(100);
  void* large = Heap::Allocate(1 << 20);
  const HeapCensus after = Take(UINTPTR_MAX);
  const size_t c = alloc::ClassOf(100);
  EXPECT_EQ(after.allocated[c].objects - before.allocated[c].objects, 100u);
  EXPECT_EQ((after.allocated[c].objects_bytes - before.allocated[c].objects_bytes).value(),
            100u * alloc::kSizeClasses[c].size);
  EXPECT_GE(after.allocated[c].span_bytes, after.allocated[c].objects_bytes);
  EXPECT_EQ(after.allocated[0].objects - before.allocated[0].objects, 1u);
  EXPECT_EQ((after.allocated[0].objects_bytes - before.allocated[0].objects_bytes).value(),
            uint64_t{1} << 20);
  EXPECT_EQ(after.collected[c].spans, 0u);
  for (void* p : small) Heap::Free(p);
  Heap::Free(large);
  EXPECT_EQ(Take(UINTPTR_MAX).allocated[0].objects, before.allocated[0].objects);
}

// Whatever is said to be in memory is somebody's, once.
TEST_F(HeapCensusTest, WhatIsInMemoryIsSomebodys) {
  void* first = Heap::Allocate(3 << 20);
  void* second = Heap::Allocate(5000);
  ASSERT_TRUE(IsHeapRegion(reinterpret_cast<uintptr_t>(first)));
  int local;
  EXPECT_FALSE(IsHeapRegion(reinterpret_cast<uintptr_t>(&local)));
  const uintptr_t middle = reinterpret_cast<uintptr_t>(first) + (1 << 20);
  for (const uintptr_t end : {uintptr_t{0}, middle, UINTPTR_MAX}) {
    SCOPED_TRACE(end);
    const HeapCensus census = Take(end);
    ByteCount sum = census.idle_resident + census.guarded.resident;
    for (size_t c = 0; c < alloc::kClassCount; ++c) {
      sum += census.allocated[c].resident + census.collected[c].resident;
      EXPECT_LE(census.allocated[c].resident, census.allocated[c].span_bytes);
    }
    EXPECT_EQ(sum, census.resident);
    EXPECT_EQ(census.resident.value() == 0, end == 0);
  }
  EXPECT_GE(Take(middle).allocated[0].resident.value(), uint64_t{1} << 20);
  EXPECT_LT(Take(middle).allocated[0].resident, Take(UINTPTR_MAX).allocated[0].resident);
  Heap::Free(first);
  Heap::Free(second);
}

}  // namespace
}  // namespace plimsoll
