// A TimerHeap keeps deadlines in order: a 4-ary min-heap whose nodes can be taken out or moved in
// O(log n).
//
//   TimerHeap<Node, NodeAccess> heap;     // NodeAccess::When(node), NodeAccess::Index(node)&
//   heap.Push(n);  heap.Min();  heap.Remove(n);  heap.Update(n);
//
//   node ── Index ──> slot s      at_[s]  ─────────>  entries_[at] = {when, s}
//        <────────── node_[s]
//
// 4-ary: half the levels of a binary heap, and the four children share a cache line of keys. A node
// knows its slot, which stays, and not its place in the heap, which changes with every sift: nodes
// lie on the stacks of sleeping goroutines, a page apart, and to tell each where it now stands was
// a miss of cache and TLB at each level (half the cost of a million sleepers).
//
// Memory:   grows by doubling from mmap, never by malloc: it is used with preemption off.
// Threads:  one at a time, under the owner's lock.
// Invariants:
//   (1) entries_[i].when >= entries_[(i - 1) / 4].when.
//   (2) s = Index(node): node_[s] is the node, and entries_[at_[s]].slot == s. A node in no heap
//   has
//       index -1.
//   (3) A slot that no node has is in the list from free_: at_[s] is the next one, or kNone.
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
  Node* Min() const { return node_[entries_[0].slot]; }
  int64_t MinWhen() const { return entries_[0].when; }

  // Tells the cache of the nodes of which one is the next Min().
  void PrefetchNext() const {
    for (size_t c = 1; c < 5 && c < size_; ++c) __builtin_prefetch(node_[entries_[c].slot], 1);
  }

  // False: no memory to grow. Requires: the node is in no heap.
  [[nodiscard]] bool Push(Node* node) {
    PLIMSOLL_DCHECK(Access::Index(*node) < 0);
    if (size_ == entries_.capacity() && !entries_.Grow()) return false;
    const int32_t slot = TakeSlot();
    if (slot == kNone) return false;
    node_[static_cast<size_t>(slot)] = node;
    Access::Index(*node) = slot;
    entries_[size_] = {Access::When(*node), slot};
    Up(size_++);
    return true;
  }

  // Requires: the node is in this heap.
  void Remove(Node* node) {
    const int32_t slot = Access::Index(*node);
    const size_t at = PlaceOf(*node);
    Access::Index(*node) = -1;
    at_[static_cast<size_t>(slot)] = free_;
    free_ = slot;
    const size_t last = --size_;
    if (at == last) return;
    Place(at, entries_[last]);
    Fix(at);
  }

  // Moves a node whose When() has changed to its place. Requires: it is in this heap.
  void Update(Node* node) {
    const size_t at = PlaceOf(*node);
    entries_[at].when = Access::When(*node);
    Fix(at);
  }

  // For tests: whether (1) to (3) hold.
  bool Valid() const {
    size_t used = 0;
    for (size_t i = 0; i < size_; ++i, ++used) {
      const size_t slot = static_cast<size_t>(entries_[i].slot);
      if (Access::Index(*node_[slot]) != entries_[i].slot) return false;
      if (at_[slot] != static_cast<int32_t>(i)) return false;
      if (i > 0 && entries_[i].when < entries_[(i - 1) / 4].when) return false;
    }
    for (int32_t s = free_; s != kNone; s = at_[static_cast<size_t>(s)]) {
      if (++used > slots_) return false;
    }
    return used == slots_;
  }

 private:
  static constexpr int32_t kNone = -1;

  struct Entry {
    int64_t when;
    int32_t slot;
  };

  int32_t TakeSlot() {
    if (free_ != kNone) {
      const int32_t slot = free_;
      free_ = at_[static_cast<size_t>(slot)];
      return slot;
    }
    if (slots_ == at_.capacity() && !at_.Grow()) return kNone;
    if (slots_ == node_.capacity() && !node_.Grow()) return kNone;
    return static_cast<int32_t>(slots_++);
  }

  size_t PlaceOf(const Node& node) const {
    const size_t slot = static_cast<size_t>(Access::Index(const_cast<Node&>(node)));
    PLIMSOLL_DCHECK(slot < slots_ && node_[slot] == &node);
    return static_cast<size_t>(at_[slot]);
  }

  void Place(size_t at, const Entry& e) {
    entries_[at] = e;
    at_[static_cast<size_t>(e.slot)] = static_cast<int32_t>(at);
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
  PageArray<int32_t> at_;  // by slot, as node_
  PageArray<Node*> node_;
  size_t slots_ = 0;  // that were ever taken
  int32_t free_ = kNone;
};

}  // namespace plimsoll::timer

#endif  // PLIMSOLL_RUNTIME_TIMER_TIMER_HEAP_H_
