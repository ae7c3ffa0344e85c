// The queues of runnable goroutines: a P's ring, the global queue, and lists on their way into
// them.

#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {

void GList::PushBack(G* g) {
  g->link = nullptr;
  if (tail_ == nullptr) {
    head_ = g;
  } else {
    tail_->link = g;
  }
  tail_ = g;
  ++size_;
}

void GList::PushFront(G* g) {
  g->link = head_;
  head_ = g;
  if (tail_ == nullptr) tail_ = g;
  ++size_;
}

G* GList::PopFront() {
  G* g = head_;
  if (g == nullptr) return nullptr;
  head_ = g->link;
  if (head_ == nullptr) tail_ = nullptr;
  g->link = nullptr;
  --size_;
  return g;
}

bool PutLocal(P* p, G* g, bool next) {
  if (!next) {
    p->queue.PutBack(g, PutGlobalBatch);
    return true;
  }
  return p->queue.PutNext(g, PutGlobalBatch) || p->queue.ring_size() > 0;
}

G* TakeBoundLocked() {
  G* g = sched.bound.PopFront();
  if (g != nullptr) PublishGlobalSize();
  return g;
}

void PutGlobal(G* g) {
  base::SpinLockHolder hold(sched.mu);
  sched.global.PushBack(g);
  PublishGlobalSize();
}

void PutGlobalBatch(G** batch, uint32_t n) {
  base::SpinLockHolder hold(sched.mu);
  for (uint32_t i = 0; i < n; ++i) sched.global.PushBack(batch[i]);
  PublishGlobalSize();
}

void PutGlobalList(GList& list) {
  base::SpinLockHolder hold(sched.mu);
  while (G* g = list.PopFront()) sched.global.PushBack(g);
  PublishGlobalSize();
}

void InjectList(M* m, GList& list) {
  int n = list.size();
  if (n == 0) return;
  P* p = m != nullptr ? m->p : nullptr;
  if (p == nullptr) {
    GList runnable;
    while (G* g = list.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      runnable.PushBack(g);
    }
    PutGlobalList(runnable);
  } else {
    while (G* g = list.PopFront()) {
      g->status.store(GStatus::kRunnable, std::memory_order_relaxed);
      PutLocal(p, g, /*next=*/false);
    }
  }
  WakeIfIdle();
}

}  // namespace plimsoll::sched
