// A GlobalQueue holds the goroutines that no P owns: a list, oldest first, that tells the cache
// ahead of time what will be taken.
//
// A burst leaves hundreds of thousands here whose lines are in no cache, and a list by itself can
// only be walked one miss after the other: with G::ahead some of them are under way at once.
// Guarded by Scheduler::mu.
#ifndef PLIMSOLL_RUNTIME_SCHED_GLOBAL_QUEUE_H_
#define PLIMSOLL_RUNTIME_SCHED_GLOBAL_QUEUE_H_

#include <cstdint>

#include "plimsoll/runtime/sched/g.h"

namespace plimsoll::sched {

class GlobalQueue {
 public:
  int32_t size() const { return size_; }

  // How many were ever taken. What is put in now goes when that is `taken() + size()`.
  uint64_t taken() const { return taken_; }

  void PushBack(G* g) {
    g->link = nullptr;
    g->ahead = nullptr;
    if (tail_ == nullptr) {
      head_ = g;
    } else {
      tail_->link = g;
    }
    tail_ = g;
    G*& before = recent_[pushed_++ % kAhead];  // the one kAhead places before g
    if (size_ >= kAhead) before->ahead = g;    // else it was taken already
    before = g;
    ++size_;
  }

  G* PopFront() {
    G* g = head_;
    if (g == nullptr) return nullptr;
    __builtin_prefetch(g->ahead, 1);
    head_ = g->link;
    if (head_ == nullptr) tail_ = nullptr;
    g->link = nullptr;
    --size_;
    ++taken_;
    return g;
  }

 private:
  static constexpr int32_t kAhead = 8;

  G* head_ = nullptr;
  G* tail_ = nullptr;
  int32_t size_ = 0;
  uint64_t taken_ = 0;
  uint32_t pushed_ = 0;
  G* recent_[kAhead] = {};  // the last kAhead pushed, if they are still queued
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_GLOBAL_QUEUE_H_
