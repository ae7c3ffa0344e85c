// Size classes: every small size is rounded up to one of a few, and each class has spans of its
// own.
//
//   const SizeClass& c = kSizeClasses[ClassOf(100)];   // 112-byte objects, 73 to a span of one
//   page
//
// The table is made by a constexpr generator and proved below by static_assert:
//   (1) classes grow; each size is a multiple of 16, so that every object is aligned to 16;
//   (2) a request of 128 bytes or more wastes at most 12.5 % of its span, rounding, tail and all;
//   (3) each power of two from 16 to 32768 is a class, so that alignment needs no padding: an
//       object is aligned to the largest power of two that divides its class's size;
//   (4) spans are at most 10 pages and 512 objects;
//   (5) Index() divides exactly, and tells an object's start from its inside, for any offset in a
//   span.
// There is no class of 8 or 24: malloc promises 16-byte alignment, and one table serves all uses.
#ifndef PLIMSOLL_ALLOC_SIZE_CLASS_H_
#define PLIMSOLL_ALLOC_SIZE_CLASS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/units.h"

namespace plimsoll::alloc {

inline constexpr size_t kMaxSmall = 32768;  // above it: whole pages, class 0
inline constexpr size_t kLinearMax = 128;   // up to it, a size's class is (size + 15) / 16
inline constexpr size_t kMaxSpanPages = 10;
inline constexpr size_t kMaxObjects = 512;  // in one span

struct SizeClass {
  uint32_t size;     // bytes of an object
  uint32_t pages;    // of a span
  uint32_t objects;  // in a span
  uint32_t magic;    // ceil(2^32 / size): see Index()
  uint32_t words;    // of 64 bits in a bitmap with a bit for each object, and for the tail's start
};

namespace internal {

inline constexpr size_t kClassCapacity = 96;

struct ClassTable {
  std::array<SizeClass, kClassCapacity> classes{};
  size_t count = 1;  // class 0 is "not small"
};

constexpr SizeClass MakeClass(uint32_t size, uint32_t pages) {
  const uint32_t bytes = pages * kPageSize;
  const uint32_t objects = bytes / size;
  const bool tail = bytes % size != 0;
  return {size, pages, objects, static_cast<uint32_t>(((uint64_t{1} << 32) + size - 1) / size),
          tail ? objects / 64 + 1 : (objects + 63) / 64};
}

// Whether a request of `least` bytes in objects of `size` stays within an eighth of waste.
constexpr bool WastesLittle(uint32_t least, uint32_t size, uint32_t pages) {
  const uint32_t bytes = pages * kPageSize;
  return uint64_t{bytes / size} * least * 8 >= uint64_t{bytes} * 7;
}

// The span for a class: enough objects that refills are rare, few enough pages that a class used
// once costs little; 0 when no span of at most ten pages will do.
constexpr uint32_t PagesForClass(uint32_t least, uint32_t size) {
  uint32_t best = 0;
  for (uint32_t pages = 1; pages <= kMaxSpanPages; ++pages) {
    if (pages * kPageSize < size || !WastesLittle(least, size, pages)) continue;
    best = pages;
    if (pages * kPageSize / size >= 64 || pages >= 8) break;
  }
  return best;
}

constexpr ClassTable MakeClassTable() {
  ClassTable table;
  for (uint32_t size = 16; size <= kLinearMax; size += 16) {
    table.classes[table.count++] = MakeClass(size, 1);
  }
  uint32_t previous = kLinearMax;
  while (previous < kMaxSmall) {
    const uint32_t step = previous < 512 ? 16 : previous < 1024 ? 64 : 128;
    uint32_t limit = 16;  // the next power of two: never stepped over, by (3)
    while (limit <= previous) limit *= 2;
    uint32_t chosen = 0;
    for (uint32_t size = previous + step; size <= limit; size += step) {
      if (PagesForClass(previous + 1, size) != 0) chosen = size;
    }
    if (chosen == 0) return {};  // refused by the proofs below
    table.classes[table.count++] = MakeClass(chosen, PagesForClass(previous + 1, chosen));
    previous = chosen;
  }
  return table;
}

inline constexpr ClassTable kTable = MakeClassTable();

}  // namespace internal

inline constexpr size_t kClassCount = internal::kTable.count;  // class 0 included
inline constexpr std::array<SizeClass, internal::kClassCapacity> kSizeClasses =
    internal::kTable.classes;

namespace internal {

// Two scales in one table: steps of 16 up to 1024, steps of 128 up to 32768.
constexpr size_t ClassSlot(size_t size) {
  return size <= 1024 ? (size + 15) >> 4 : 64 + ((size - 1024 + 127) >> 7);
}
inline constexpr size_t kClassSlots = ClassSlot(kMaxSmall) + 1;

constexpr std::array<uint8_t, kClassSlots> MakeClassOf() {
  std::array<uint8_t, kClassSlots> slots{};
  slots[0] = 1;
  size_t of = 1;
  for (size_t size = 16; size <= kMaxSmall; size += 16) {
    while (kSizeClasses[of].size < size) ++of;
    slots[ClassSlot(size)] = static_cast<uint8_t>(of);  // the last, largest size of a slot stays
  }
  return slots;
}

[[gnu::visibility("hidden")]] inline constexpr std::array<uint8_t, kClassSlots> kClassOf =
    MakeClassOf();

}  // namespace internal

// The class of the smallest objects that hold `size`. Requires: size <= kMaxSmall. Size 0 is 1.
constexpr size_t ClassOf(size_t size) { return internal::kClassOf[internal::ClassSlot(size)]; }

// An offset within a span, divided by the object size through a multiplication.
struct ObjectIndex {
  uint32_t index;
  bool at_start;  // the offset is that of an object's first byte
};

// For offset = k * size + m and 2^32 = q * size - r the product is k * 2^32 + (k * r + m * magic):
// its upper half is k, and its lower half is below magic if and only if m is 0. (Lemire, Kaser,
// Kurz: "Faster remainder by direct computation", 2019.)
constexpr ObjectIndex Index(uint64_t offset, uint32_t magic) {
  const uint64_t product = offset * magic;
  return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product) < magic};
}

namespace internal {

constexpr bool Grows() {  // (1)
  for (size_t c = 1; c < kClassCount; ++c) {
    if (kSizeClasses[c].size % 16 != 0) return false;
    if (c > 1 && kSizeClasses[c].size <= kSizeClasses[c - 1].size) return false;
  }
  return kSizeClasses[kClassCount - 1].size == kMaxSmall;
}

constexpr bool WastesAtMostAnEighth() {  // (2): the worst request of each class
  for (size_t c = 1; c < kClassCount; ++c) {
    const uint32_t least = kSizeClasses[c - 1].size + 1 > 128 ? kSizeClasses[c - 1].size + 1 : 128;
    if (kSizeClasses[c].size < 128) continue;
    if (!WastesLittle(least, kSizeClasses[c].size, kSizeClasses[c].pages)) return false;
  }
  return true;
}

constexpr bool HasPowersOfTwo() {  // (3)
  for (size_t size = 16; size <= kMaxSmall; size *= 2) {
    if (kSizeClasses[ClassOf(size)].size != size) return false;
  }
  return true;
}

constexpr bool SpansAreSmall() {  // (4)
  for (size_t c = 1; c < kClassCount; ++c) {
    if (kSizeClasses[c].pages > kMaxSpanPages || kSizeClasses[c].objects > kMaxObjects)
      return false;
    if (kSizeClasses[c].words * 64 > kMaxObjects) return false;
  }
  return true;
}

constexpr bool DividesExactly() {  // (5): the conditions of the comment at Index()
  for (size_t c = 1; c < kClassCount; ++c) {
    const SizeClass& k = kSizeClasses[c];
    const uint64_t r = uint64_t{k.magic} * k.size - (uint64_t{1} << 32);
    if ((k.objects + 1) * r >= k.magic) return false;
  }
  return true;
}

constexpr bool RoundsUpToTheNearest() {
  for (size_t size = 1; size <= kMaxSmall; ++size) {
    const size_t c = ClassOf(size);
    if (kSizeClasses[c].size < size || (c > 1 && kSizeClasses[c - 1].size >= size)) return false;
    if (size <= kLinearMax && c != (size + 15) / 16) return false;
  }
  return true;
}

static_assert(kClassCount > 1 && kClassCount < kClassCapacity);
static_assert(Grows());
static_assert(WastesAtMostAnEighth());
static_assert(HasPowersOfTwo());
static_assert(SpansAreSmall());
static_assert(DividesExactly());
static_assert(RoundsUpToTheNearest());

}  // namespace internal
}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_SIZE_CLASS_H_
