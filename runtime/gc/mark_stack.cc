#include "plimsoll/runtime/gc/mark_stack.h"

#include <algorithm>
#include <cstring>

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"

namespace plimsoll::gc::internal {

MarkStack::~MarkStack() {
  Trim();
  alloc::MmapPages pages;
  while (chunk_ != nullptr) {
    Chunk* below = chunk_->below;
    pages.Unmap(chunk_, ByteCount(kChunkBytes));
    chunk_ = below;
  }
}

void MarkStack::Grow() {
  // A mark stack is bounded by the objects there are, and the words that a start kept: 16 bytes for
  // each.
  if (!TryGrow()) base::Fatal("gc: no memory for the mark stack");
}

bool MarkStack::TryGrow() {
  Chunk* chunk = spare_;
  if (chunk != nullptr) {
    spare_ = chunk->below;
  } else {
    alloc::MmapPages pages;
    const alloc::Mapping m = pages.Map(ByteCount(kChunkBytes), ByteCount(4096), 0);
    if (m.base == nullptr) return false;
    chunk = static_cast<Chunk*>(m.base);
  }
  chunk->below = chunk_;
  chunk_ = chunk;
  used_ = 0;
  return true;
}

void MarkStack::Shrink() {
  Chunk* chunk = chunk_;
  chunk_ = chunk->below;
  chunk->below = spare_;
  spare_ = chunk;
  used_ = kEntries;
}

size_t MarkStack::TakeOldest(Grey* to, size_t most) {
  const size_t n = std::min(used_ / 2, most);
  if (n == 0) return 0;
  std::memcpy(to, chunk_->entries, n * sizeof(Grey));
  std::memmove(chunk_->entries, chunk_->entries + n, (used_ - n) * sizeof(Grey));
  used_ -= n;
  return n;
}

void MarkStack::Trim() {
  alloc::MmapPages pages;
  while (spare_ != nullptr) {
    Chunk* below = spare_->below;
    pages.Unmap(spare_, ByteCount(kChunkBytes));
    spare_ = below;
  }
}

}  // namespace plimsoll::gc::internal
