#include "plimsoll/alloc/fixed_alloc.h"

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/sanitizer.h"

namespace plimsoll {
namespace {

constexpr uint64_t kGuard = 4096;
constexpr uint64_t kFirstChunk = uint64_t{64} << 10;
constexpr uint64_t kLargestChunk = uint64_t{2} << 20;

}  // namespace

void* FixedPool::Allocate() {
  base::SpinLockHolder hold(mu_);
  if (free_ != nullptr) {
    FreeSlot* slot = free_;
    free_ = slot->next;
    ++live_;
    return slot;
  }
  if (end_ - next_ < slot_bytes_ && !Grow()) return nullptr;
  void* slot = reinterpret_cast<void*>(next_);
  next_ += slot_bytes_;
  ++live_;
  return slot;
}

void FixedPool::Free(void* slot) {
  base::SpinLockHolder hold(mu_);
  auto* link = static_cast<FreeSlot*>(slot);
  link->next = free_;
  free_ = link;
  --live_;
}

bool FixedPool::Grow() {
  uint64_t bytes = mapped_ < kFirstChunk ? kFirstChunk : mapped_;
  if (bytes > kLargestChunk) bytes = kLargestChunk;
  while (bytes < slot_bytes_) bytes *= 2;
  alloc::MmapPages pages;
  const uint64_t whole = bytes + 2 * kGuard;
  const alloc::Mapping mapping = pages.Map(ByteCount(whole), ByteCount(kGuard), 0);
  if (mapping.base == nullptr) return false;
  const uintptr_t base = reinterpret_cast<uintptr_t>(mapping.base);
  // A guard that the kernel has no VMA for is done without: it is a second line of defence.
  (void)pages.Guard(mapping.base, ByteCount(kGuard));
  (void)pages.Guard(reinterpret_cast<void*>(base + kGuard + bytes), ByteCount(kGuard));
  next_ = base + kGuard;
  end_ = next_ + bytes;
  mapped_ += bytes;
  base::RegisterLeakRoots(reinterpret_cast<void*>(next_), bytes);
  return true;
}

ByteCount FixedPool::mapped() const {
  base::SpinLockHolder hold(mu_);
  return ByteCount(mapped_);
}

size_t FixedPool::live() const {
  base::SpinLockHolder hold(mu_);
  return live_;
}

}  // namespace plimsoll
