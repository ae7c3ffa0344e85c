#include "plimsoll/runtime/gc/span_queue.h"

#include "plimsoll/alloc/backing/mmap_pages.h"
#include "plimsoll/alloc/base/check.h"

namespace plimsoll::gc::internal {

SpanQueue::~SpanQueue() {
  alloc::MmapPages pages;
  if (ring_ != nullptr) pages.Unmap(ring_, ByteCount(room_ * sizeof(*ring_)));
}

void SpanQueue::Grow() {
  constexpr size_t kFirst = 4096;
  const size_t room = room_ == 0 ? kFirst : room_ * 2;
  alloc::MmapPages pages;
  const alloc::Mapping m = pages.Map(ByteCount(room * sizeof(*ring_)), ByteCount(4096), 0);
  // Bounded by the spans there are: 8 bytes for each, and as much again.
  if (m.base == nullptr) base::Fatal("gc: no memory for the queue of spans: ", m.error);
  auto** ring = static_cast<alloc::Span**>(m.base);
  for (size_t i = 0; i < size_; ++i) ring[i] = ring_[(first_ + i) & (room_ - 1)];
  if (ring_ != nullptr) pages.Unmap(ring_, ByteCount(room_ * sizeof(*ring_)));
  ring_ = ring;
  first_ = 0;
  room_ = room;
}

}  // namespace plimsoll::gc::internal
