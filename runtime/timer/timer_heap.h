// A TimerHeap keeps deadlines in order: a 4-ary min-heap whose entries know where they stand, so
// that one can be taken out or moved in O(log n).
//
//   TimerHeap<Node, NodeAccess> heap;     // NodeAccess::When(node), NodeAccess::Index(node)&
//   heap.Push(n);  heap.Min();  heap.Remove(n);  heap.Update(n);
//
// 4-ary: half the levels of a binary heap, and the four children share a cache line of keys. Keys
// are kept beside the pointers, so sifting touches no node but the ones it moves.
//
// Memory:   grows by doubling from mmap, never by malloc: it is used with preemption off.
// Threads:  one at a time, under the owner's lock.
// Invariants:
//   (1) entries_[i].when >= entries_[(i - 1) / 4].when.
//   (2) Index(entries_[i].node) == i; a node in no heap has index -1.
#ifndef PLIMSOLL_RUNTIME_TIMER_TIMER_HEAP_H_
#define PLIMSOLL_RUNTIME_TIMER_TIMER_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/timer/page_array.h"

namespace plimsoll::timer {

template <typename Node, typename Access>
class TimerHeap {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // The node with the earliest deadline. Requires: not empty.
  Node* Min() const { return entries_[0].node; }
  int64_t MinWhen() const { return entries_[0].when; }

  // False: no memory to grow. Requires: the node is in no heap.
  [[nodiscard]] bool Push(Node* node) {
    PLIMSOLL_DCHECK(Access::Index(*node) < 0);
    if (size_ == entries_.capacity() && !entries_.Grow()) return false;
    const size_t at = size_++;
    entries_[at] = {Access::When(*node), node};
    Access::Index(*node) = static_cast<int32_t>(at);
    Up(at);
    return true;
  }

  // Requires: the node is in this heap.
  void Remove(Node* node) {
    const size_t at = static_cast<size_t>(Access::Index(*node));
    PLIMSOLL_DCHECK(at < size_ && entries_[at].node == node);
    Access::Index(*node) = -1;
    const size_t last = --size_;
    if (at == last) return;
    Place(at, entries_[last]);
    Fix(at);
  }

  // Moves a node whose When() has changed to its place. Requires: it is in this heap.
  void Update(Node* node) {
    const size_t at = static_cast<size_t>(Access::Index(*node));
    entries_[at].when = Access::When(*node);
    Fix(at);
  }

  // For tests: whether (1) and (2) hold.
  bool Valid() const {
    for (size_t i = 0; i < size_; ++i) {
      if (Access::Index(*entries_[i].node) != static_cast<int32_t>(i)) return false;
      if (i > 0 && entries_[i].when < entries_[(i - 1) / 4].when) return false;
    }
    return true;
  }

 private:
  struct Entry {
    int64_t when;
    Node* node;
  };

  void Place(size_t at, const Entry& e) {
    entries_[at] = e;
    Access::Index(*e.node) = static_cast<int32_t>(at);
  }

  void Fix(size_t at) {
    if (at > 0 && entries_[at].when < entries_[(at - 1) / 4].when) {
      Up(at);
    } else {
      Down(at);
    }
  }

  void Up(size_t at) {
    const Entry moving = entries_[at];
    while (at > 0) {
      const size_t parent = (at - 1) / 4;
      if (entries_[parent].when <= moving.when) break;
      Place(at, entries_[parent]);
      at = parent;
    }
    Place(at, moving);
  }

  void Down(size_t at) {
    const Entry moving = entries_[at];
    for (;;) {
      const size_t first = 4 * at + 1;
      if (first >= size_) break;
      const size_t end = first + 4 < size_ ? first + 4 : size_;
      size_t least = first;
      for (size_t c = first + 1; c < end; ++c) {
        if (entries_[c].when < entries_[least].when) least = c;
      }
      if (entries_[least].when >= moving.when) break;
      Place(at, entries_[least]);
      at = least;
    }
    Place(at, moving);
  }

  PageArray<Entry> entries_;
  size_t size_ = 0;
};

}  // namespace plimsoll::timer

#endif  // PLIMSOLL_RUNTIME_TIMER_TIMER_HEAP_H_
