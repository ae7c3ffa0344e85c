// A MarkStack holds grey objects: marked, not yet scanned. It grows by chunks of its own memory, so
// that it works in a stopped world, where malloc's lock may be held.
#ifndef PLIMSOLL_RUNTIME_GC_MARK_STACK_H_
#define PLIMSOLL_RUNTIME_GC_MARK_STACK_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/collectable.h"

namespace plimsoll::gc::internal {

// Bytes at `address` to be scanned as `shape` says: an object, or a piece of a large one.
struct Grey {
  uintptr_t address;
  const alloc::ObjectShape* shape;
};

// A large object is scanned in pieces of so much.
inline constexpr size_t kPieceBytes = 16 << 10;

class MarkStack {
 public:
  constexpr MarkStack() = default;
  ~MarkStack();
  MarkStack(const MarkStack&) = delete;
  MarkStack& operator=(const MarkStack&) = delete;

  bool empty() const { return used_ == 0 && (chunk_ == nullptr || chunk_->below == nullptr); }

  void Push(Grey grey) {
    if (chunk_ == nullptr || used_ == kEntries) [[unlikely]]
      Grow();
    chunk_->entries[used_++] = grey;
  }
  // False: there is no memory for it.
  bool TryPush(Grey grey) {
    if ((chunk_ == nullptr || used_ == kEntries) && !TryGrow()) [[unlikely]]
      return false;
    chunk_->entries[used_++] = grey;
    return true;
  }
  // Requires: not empty.
  Grey Pop() {
    if (used_ == 0) [[unlikely]]
      Shrink();
    return chunk_->entries[--used_];
  }

  // Moves up to `most` entries, the oldest half of the topmost chunk, to `to`. Returns how many.
  size_t TakeOldest(Grey* to, size_t most);

  // Gives chunks back that were needed once.
  void Trim();

 private:
  static constexpr size_t kChunkBytes = 64 << 10;
  static constexpr size_t kEntries = (kChunkBytes - 16) / sizeof(Grey);
  struct Chunk {
    Chunk* below;
    uint64_t unused;
    Grey entries[kEntries];
  };
  static_assert(sizeof(Chunk) == kChunkBytes);

  void Grow();
  bool TryGrow();
  void Shrink();

  Chunk* chunk_ = nullptr;  // the topmost
  size_t used_ = 0;         // entries of it
  Chunk* spare_ = nullptr;  // above it
};

// Pushes what there is to scan of an object that was just marked: nothing of a noscan one, a large
// one in pieces, the last first, so that the stack gives the first.
inline void PushObject(MarkStack& stack, const alloc::Object& o) {
  const alloc::ObjectShape* shape = o.span->shape;
  if (shape->layout.kind == alloc::Layout::Kind::kNoscan) return;
  const uintptr_t base = o.base();
  if (shape->size_class == 0 && shape->layout.kind == alloc::Layout::Kind::kMask) [[unlikely]] {
    for (uintptr_t piece = (o.span->bytes() - 1) / kPieceBytes + 1; piece-- > 0;) {
      stack.Push({base + piece * kPieceBytes, shape});
    }
    return;
  }
  stack.Push({base, shape});
}

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_MARK_STACK_H_
