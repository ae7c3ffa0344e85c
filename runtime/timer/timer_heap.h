// A TimerHeap keeps deadlines in order: a 4-ary min-heap whose nodes can be taken out or moved in
// O(log n).
//
//   TimerHeap<Node, NodeAccess> heap;     // NodeAccess::When(node), NodeAccess::Index(node)&
//   heap.Push(n);  heap.Min();  heap.Remove(n);  heap.Update(n);
//
//   node ── Index ──> slot s      at_[s]  ─────────>  entries_[at] = {when, s}
//        <────────── node_[s]
//
// 4-ary: half the levels of a binary heap, and the four children share a cache line of keys (the
// root stands at kLead, so that they begin one). A node knows its slot, which stays, and not its
// place in the heap, which changes with every sift: nodes lie on the stacks of sleeping goroutines,
// a page apart, and to tell each where it now stands was a miss of cache and TLB at each level
// (half the cost of a million sleepers).
//
// Memory:   grows by doubling from mmap, never by malloc: it is used with preemption off.
// Threads:  one at a time, under the owner's lock.
// Invariants:
//   (1) At(i).when >= At((i - 1) / 4).when.
//   (2) s = Index(node): node_[s] is the node, and At(at_[s]).slot == s. A node in no heap
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
  Node* Min() const { return node_[static_cast<size_t>(At(0).slot)]; }
  int64_t MinWhen() const { return At(0).when; }

  // False: no memory to grow. Requires: the node is in no heap.
  [[nodiscard]] bool Push(Node* node) {
    PLIMSOLL_DCHECK(Access::Index(*node) < 0);
    if (size_ + kLead >= entries_.capacity() && !entries_.Grow()) return false;
    const int32_t slot = TakeSlot();
    if (slot == kNone) return false;
    node_[static_cast<size_t>(slot)] = node;
    Access::Index(*node) = slot;
    At(size_) = {Access::When(*node), slot};
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
    Place(at, At(last));
    Fix(at);
  }

  // Moves a node whose When() has changed to its place. Requires: it is in this heap.
  void Update(Node* node) {
    const size_t at = PlaceOf(*node);
    At(at).when = Access::When(*node);
    Fix(at);
  }

  // For tests: whether (1) to (3) hold.
  bool Valid() const {
    size_t used = 0;
    for (size_t i = 0; i < size_; ++i, ++used) {
      const size_t slot = static_cast<size_t>(At(i).slot);
      if (Access::Index(*node_[slot]) != At(i).slot) return false;
      if (at_[slot] != static_cast<int32_t>(i)) return false;
      if (i > 0 && At(i).when < At((i - 1) / 4).when) return false;
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
  static_assert(4 * sizeof(Entry) == 64);

  // Unused entries before the root: At(1), At(5), … begin a cache line.
  static constexpr size_t kLead = 3;

  Entry& At(size_t i) { return entries_[i + kLead]; }
  const Entry& At(size_t i) const { return entries_[i + kLead]; }

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
    At(at) = e;
    at_[static_cast<size_t>(e.slot)] = static_cast<int32_t>(at);
  }

  void Fix(size_t at) {
    if (at > 0 && At(at).when < At((at - 1) / 4).when) {
      Up(at);
    } else {
      Down(at);
    }
  }

  void Up(size_t at) {
    const Entry moving = At(at);
    while (at > 0) {
      const size_t parent = (at - 1) / 4;
      if (At(parent).when <= moving.when) break;
      Place(at, At(parent));
      at = parent;
    }
    Place(at, moving);
  }

  void Down(size_t at) {
    // The root, its children and theirs: what will soon be the earliest. Who rises to there is told
    // to the cache, some ten removals ahead: a node that sleeps is in none, and at the last moment
    // it was waited for (a seventh of the time of a million sleepers).
    constexpr size_t kSoon = 1 + 4 + 16;
    const Entry moving = At(at);
    for (;;) {
      const size_t first = 4 * at + 1;
      if (first >= size_) break;
      const size_t end = first + 4 < size_ ? first + 4 : size_;
      size_t least = first;
      for (size_t c = first + 1; c < end; ++c) {
        if (At(c).when < At(least).when) least = c;
      }
      if (At(least).when >= moving.when) break;
      Place(at, At(least));
      if (at < kSoon) __builtin_prefetch(node_[static_cast<size_t>(At(at).slot)], 1);
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
