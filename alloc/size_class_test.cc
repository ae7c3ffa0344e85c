#include "plimsoll/alloc/size_class.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace plimsoll::alloc {
namespace {

TEST(SizeClassTest, IndexAgreesWithDivisionAtEveryOffsetOfEverySpan) {
  for (size_t c = 1; c < kClassCount; ++c) {
    const SizeClass& k = kSizeClasses[c];
    for (uint32_t offset = 0; offset < k.pages * kPageSize; ++offset) {
      const ObjectIndex at = Index(offset, k.magic);
      ASSERT_EQ(at.index, offset / k.size) << "class " << c << " offset " << offset;
      ASSERT_EQ(at.at_start, offset % k.size == 0) << "class " << c << " offset " << offset;
    }
  }
}

TEST(SizeClassTest, EverySizeFrom128WastesAtMostAnEighthOfItsSpan) {
  for (size_t size = 128; size <= kMaxSmall; ++size) {
    const SizeClass& k = kSizeClasses[ClassOf(size)];
    const double used = static_cast<double>(k.objects * size) / (k.pages * kPageSize);
    ASSERT_GE(used, 0.875) << size;
  }
}

TEST(SizeClassTest, BitmapsHaveABitForEveryObjectAndOneForATail) {
  for (size_t c = 1; c < kClassCount; ++c) {
    const SizeClass& k = kSizeClasses[c];
    EXPECT_GE(k.words * 64, k.objects);
    if (k.pages * kPageSize % k.size != 0) {
      EXPECT_GT(k.words * 64, k.objects) << "class " << c;
    }
  }
}

TEST(SizeClassTest, ObjectsOfAPowerOfTwoAreAClassSoAlignmentCostsNothing) {
  for (size_t size = 16; size <= kMaxSmall; size *= 2) {
    EXPECT_EQ(kSizeClasses[ClassOf(size)].size, size);
  }
}

TEST(SizeClassTest, TheSmallestAndLargestSizesHaveTheExpectedClasses) {
  const struct {
    size_t size, object;
  } kCases[] = {{0, 16},    {1, 16},      {16, 16},     {17, 32},       {127, 128},    {128, 128},
                {129, 144}, {1024, 1024}, {1025, 1152}, {32767, 32768}, {32768, 32768}};
  for (const auto& c : kCases) EXPECT_EQ(kSizeClasses[ClassOf(c.size)].size, c.object) << c.size;
}

}  // namespace
}  // namespace plimsoll::alloc
