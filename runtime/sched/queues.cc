// The queues of runnable goroutines: a P's ring, the global queue, and lists on their way into
// them.

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

constexpr int kLookedAt = 16;                        // of those that wait in place: one call each
constexpr int64_t kPassedOverAtMostNs = 20'000'000;  // two slices, for each that waits
constexpr int64_t kTurnNs = 10'000'000;              // a slice

// Whether the futex wait that m's goroutine would enter again would put it to sleep. The kernel
// compares, for the word may be unmapped by now, and that is for the goroutine to find out.
bool WouldSleep(const M* m) {
  const FutexWaited& w = m->waited;
  if (w.word == nullptr) return false;
  // Wakes none and moves none, if the word holds the value; else EAGAIN.
  return base::RawSyscall(SYS_futex, w.word, FUTEX_CMP_REQUEUE | w.flags, 0, 0, w.word, w.value) ==
         0;
}

bool WouldGoOn(const G* g) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  M* m = g->bound_m;
  if (!WouldSleep(m)) return true;
  const int64_t now = sched.coarse_now_ns.load(std::memory_order_relaxed);
  if (m->passed_over_ns == 0) m->passed_over_ns = now;
  return now - m->passed_over_ns >= kPassedOverAtMostNs * sched.bound.size();
}

// Also where that turn is over by now: it is still at the head.
bool HadItsTurnBefore(const G* other, const G* g) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const int64_t ends = other->bound_m->turn_ends_ns;
  return ends != 0 && ends <= g->bound_m->turn_ends_ns;
}

}  // namespace

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

void GList::PushBehind(G* g, bool (*stays_ahead)(const G* other, const G* g)) {
  G* before = nullptr;
  for (G* at = head_; at != nullptr && stays_ahead(at, g); at = at->link) before = at;
  if (before == nullptr) {
    PushFront(g);
  } else if (before == tail_) {
    PushBack(g);
  } else {
    g->link = before->link;
    before->link = g;
    ++size_;
  }
}

G* GList::PopFirst(bool (*wanted)(const G*), int among) {
  G* before = nullptr;
  G* g = head_;
  for (int i = 0; g != nullptr && i < among; ++i, before = g, g = g->link) {
    if (!wanted(g)) continue;
    (before != nullptr ? before->link : head_) = g->link;
    if (tail_ == g) tail_ = before;
    g->link = nullptr;
    --size_;
    return g;
  }
  return nullptr;
}

bool PutLocal(P* p, G* g, bool next) {
  if (!next) {
    p->queue.PutBack(g, PutGlobalBatch);
    return true;
  }
  return p->queue.PutNext(g, PutGlobalBatch) || p->queue.ring_size() > 0;
}

G* TakeBoundLocked() {
  if (sched.bound.empty()) return nullptr;
  G* g = sched.bound.PopFirst(WouldGoOn, kLookedAt);
  // All sleep. Who waits in place is woken by nobody but us, so one of them goes back to sleep
  // where what it waits for can wake it.
  if (g == nullptr) g = sched.bound.PopFront();
  PublishGlobalSize();
  sched.in_place.store(sched.bound.size(), std::memory_order_relaxed);
  M* m = g->bound_m;
  m->passed_over_ns = 0;
  const int64_t now = sched.coarse_now_ns.load(std::memory_order_relaxed);
  if (m->turn_ends_ns <= now) m->turn_ends_ns = now + kTurnNs;
  return g;
}

void PutBoundLocked(G* g, bool at_front) {
  M* m = g->bound_m;
  m->goes_at = sched.global.taken();
  if (at_front) {
    sched.bound.PushFront(g);
  } else if (m->waited.word != nullptr &&
             sched.coarse_now_ns.load(std::memory_order_relaxed) < m->turn_ends_ns) {
    // It fell asleep in its turn, and so was kept from it by those that go on now. Behind others
    // whose turn was earlier: else the last to try would be the first to try again.
    sched.bound.PushBehind(g, HadItsTurnBefore);
  } else {
    m->turn_ends_ns = 0;
    m->goes_at += static_cast<uint64_t>(sched.global.size());
    sched.bound.PushBack(g);
  }
  PublishGlobalSize();
  sched.in_place.store(sched.bound.size(), std::memory_order_relaxed);
}

const G* FirstBoundLocked() {
  const G* g = sched.bound.front();
  for (int i = 0; g != nullptr && i < kLookedAt; ++i, g = g->link) {
    if (WouldGoOn(g)) return g;
  }
  return nullptr;
}

void PutGlobal(G* g) {
  if (InForkedChild()) [[unlikely]]
    FatalForked();
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
