// What AddressSanitizer is told of the heap's memory: an object may be touched as far as it was
// asked for, until it is freed. Other builds tell nobody anything.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/units.h"
#include "plimsoll/alloc/heap.h"

namespace plimsoll {
namespace {

// Within a class, at its end, across the sizes of ASan's granules of 8 bytes, and whole pages.
constexpr size_t kSizes[] = {1, 8, 13, 16, 100, 1000, 5000, 32'768, 40'000, 1'000'000};

template <typename T>
T Opaque(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// Every byte of [p, p + size) may be touched, and none behind it up to `end`.
void ExpectOpen(const char* p, size_t size, size_t end) {
  EXPECT_FALSE(base::AnyPoisoned(p, size)) << size;
  for (size_t i = size; i < end; i += 1 + i / 16) {
    if (base::AnyPoisoned(p + i, 1)) continue;
    ADD_FAILURE() << "byte " << i << " of " << end << " may be touched, not those before " << size
                  << " alone";
    return;
  }
}
void ExpectClosed(const char* p, size_t size) { ExpectOpen(p, 0, size); }

// What the heap would let a caller of UsableSize() have, which opens it.
size_t ClassBytes(size_t size) {
  void* p = Heap::Allocate(size);
  const size_t bytes = Heap::UsableSize(p);
  Heap::Free(p);
  return bytes;
}

class HeapPoisonTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!base::kAsan) GTEST_SKIP() << "this build has no AddressSanitizer to tell";
    Heap::SetSamplePeriod(GetParam() == 0 ? ByteCount(0) : KiB(4));
  }
  void TearDown() override { Heap::SetSamplePeriod(MiB(2)); }
};

INSTANTIATE_TEST_SUITE_P(WithoutSamplesAndWith, HeapPoisonTest, testing::Values(0, 1));

TEST_P(HeapPoisonTest, AnObjectIsOpenAsFarAsItWasAskedForAndClosedOnceFreed) {
  for (size_t size : kSizes) {
    SCOPED_TRACE(size);
    // A guarded sample has its end at a guard page, and no room behind it.
    const size_t end = GetParam() == 0 ? ClassBytes(size) : size;
    for (int round = 0; round < 100; ++round) {  // fresh memory, and such as was freed
      auto* p = static_cast<char*>(Heap::Allocate(size));
      ExpectOpen(p, size, end);
      Heap::Free(p);
      ExpectClosed(p, end);

      p = static_cast<char*>(Heap::AllocateZeroed(size));
      ExpectOpen(p, size, end);
      Heap::FreeSized(p, size);
      ExpectClosed(p, end);

      p = static_cast<char*>(Heap::AllocateAligned(64, size));
      ExpectOpen(p, size, size);
      Heap::FreeAlignedSized(p, 64, size);
      ExpectClosed(p, size);
    }
  }
}

TEST_P(HeapPoisonTest, UsableSizeOpensWhatItPromises) {
  for (size_t size : kSizes) {
    auto* p = static_cast<char*>(Heap::Allocate(size));
    const size_t usable = Heap::UsableSize(p);
    ExpectOpen(p, usable, usable);
    std::memset(p, 1, usable);
    Heap::Free(p);
    ExpectClosed(p, usable);
  }
}

TEST_P(HeapPoisonTest, ReallocateOpensTheNewSizeAndClosesWhatItLeft) {
  for (size_t from : kSizes) {
    for (size_t to : kSizes) {
      SCOPED_TRACE(testing::Message() << from << " to " << to);
      const size_t end = GetParam() == 0 ? ClassBytes(to) : to;
      auto* p = static_cast<char*>(Heap::Allocate(from));
      auto* q = static_cast<char*>(Heap::Reallocate(p, to));
      ExpectOpen(q, to, end);
      if (q != p) {
        ExpectClosed(p, from);
      } else if (to < from) {
        ExpectClosed(p + to, from - to);  // pages that were given up too
      }
      Heap::Free(q);
      ExpectClosed(q, end);
    }
  }
}

TEST_P(HeapPoisonTest, WhatAnotherThreadFreesIsClosedBeforeItsOwnerKnows) {
  std::vector<char*> all;
  for (int i = 0; i < 1000; ++i) all.push_back(static_cast<char*>(Heap::Allocate(48)));
  std::thread([&all] {
    for (char* p : all) Heap::Free(p);
  }).join();
  for (const char* p : all) ExpectClosed(p, 48);
}

TEST_P(HeapPoisonTest, PagesThatWentBackAreClosed) {
  std::vector<char*> all;
  for (int i = 0; i < 1000; ++i) all.push_back(static_cast<char*>(Heap::Allocate(6000)));
  for (char* p : all) Heap::Free(p);
  Heap::ReleaseAll();
  for (const char* p : all) ExpectClosed(p, 6000);
}

TEST_P(HeapPoisonTest, ATouchIsReportedWithItsPlace) {
  const char* const kReport =
      "ERROR: AddressSanitizer: (use-after-poison|unknown-crash) on address "
      "0x[0-9a-f]+(.|\n)*heap_poison_test";
  for (size_t size : {size_t{13}, size_t{100}, size_t{100'000}}) {
    SCOPED_TRACE(size);
    EXPECT_DEATH(
        {
          auto* p = static_cast<volatile char*>(Heap::Allocate(size));
          Heap::Free(const_cast<char*>(p));
          (void)Opaque(p)[size / 2];
        },
        kReport);
    EXPECT_DEATH(
        {
          Heap::SetSamplePeriod(ByteCount(0));
          auto* p = static_cast<volatile char*>(Heap::Allocate(size));
          Opaque(p)[size] = 1;
        },
        kReport);
  }
}

}  // namespace
}  // namespace plimsoll
