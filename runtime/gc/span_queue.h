// A SpanQueue holds spans with grey objects, first in first out: the longer one waits, the more of
// its objects are grey when it is scanned. It grows in its own memory, as MarkStack does.
#ifndef PLIMSOLL_RUNTIME_GC_SPAN_QUEUE_H_
#define PLIMSOLL_RUNTIME_GC_SPAN_QUEUE_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/span.h"

namespace plimsoll::gc::internal {

class SpanQueue {
 public:
  constexpr SpanQueue() = default;
  ~SpanQueue();
  SpanQueue(const SpanQueue&) = delete;
  SpanQueue& operator=(const SpanQueue&) = delete;

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  void Push(alloc::Span* span) {
    if (size_ == room_) [[unlikely]]
      Grow();
    ring_[(first_ + size_++) & (room_ - 1)] = span;
  }
  // Requires: not empty.
  alloc::Span* Pop() {
    alloc::Span* span = ring_[first_];
    first_ = (first_ + 1) & (room_ - 1);
    --size_;
    return span;
  }
  // The one that `after` others come before; null: there are no more.
  alloc::Span* Peek(size_t after) const {
    return after < size_ ? ring_[(first_ + after) & (room_ - 1)] : nullptr;
  }

 private:
  void Grow();

  alloc::Span** ring_ = nullptr;
  size_t first_ = 0;
  size_t size_ = 0;
  size_t room_ = 0;  // a power of two
};

}  // namespace plimsoll::gc::internal

#endif  // PLIMSOLL_RUNTIME_GC_SPAN_QUEUE_H_
