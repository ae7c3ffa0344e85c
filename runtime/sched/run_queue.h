// A RunQueue is a P's own ring of runnable goroutines, with one place of honour in front.
//
//   runnext   [ G ]          the goroutine just readied by the running one; runs next
//   ring      head ->  G G G G  <- tail       kSize places, first in, first out
//
//   who            may
//   the owner P    Put, PutBack, Get               (one M at a time: the one that holds the P)
//   anyone         StealInto, size, empty          (with a P of its own)
//
// Invariants:
//   (1) tail_ is written by the owner alone; head_ by CAS, by the owner or a thief.
//   (2) 0 <= tail_ - head_ <= kSize, as 32-bit differences that wrap.
//   (3) A place between head_ and tail_ holds a G that was stored before tail_ was released.
//   (4) A G is in at most one place: who wins the CAS on head_ (or on runnext_) owns it.
//   (5) Who sees runnext_ emptied by the owner sees each tail_ that the owner stored before it.
//
// The algorithm is Go's (src/runtime/proc.go, runqput, runqget, runqgrab), in our own words; the
// planted faults of tests/model show which order is needed where.
#ifndef PLIMSOLL_RUNTIME_SCHED_RUN_QUEUE_H_
#define PLIMSOLL_RUNTIME_SCHED_RUN_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/alloc/base/spin_lock.h"

namespace plimsoll::sched {

template <typename T, uint32_t kSize>
class RunQueue {
  static_assert((kSize & (kSize - 1)) == 0 && kSize >= 2, "a power of two, for the wrap of (2)");

 public:
  static constexpr uint32_t kCapacity = kSize;

  // Makes g the next to run. The one it displaces goes to the back of the ring; if the ring is
  // full, `overflow(batch, n)` gets half of the ring and that one. Returns true if one was
  // displaced.
  // `alone`, here and in Get: there are no other Ps, and so no thieves.
  template <typename Overflow>
  bool PutNext(T* g, Overflow&& overflow, bool alone = false) {
    T* old;
    if (alone) {
      old = runnext_.load(std::memory_order_relaxed);
      // release: for the M that this P goes to next
      runnext_.store(g, std::memory_order_release);
    } else {
      // acq_rel: a thief that takes g sees all that made it runnable; we see all of the displaced
      // one.
      old = runnext_.exchange(g, std::memory_order_acq_rel);
    }
    if (old == nullptr) return false;
    PutBack(old, overflow);
    return true;
  }

  // Puts g at the back. overflow(T** batch, uint32_t n) is called when the ring is full.
  template <typename Overflow>
  void PutBack(T* g, Overflow&& overflow) {
    for (;;) {
      // acquire: pairs with the CAS of a thief, so that we do not overwrite a place it still reads
      const uint32_t head = head_.load(std::memory_order_acquire);
      const uint32_t tail = tail_.load(std::memory_order_relaxed);  // by (1)
      if (tail - head < kSize) {
        ring_[tail % kSize].store(g, std::memory_order_relaxed);
        // release: by (3); pairs with the acquire in Grab
        tail_.store(tail + 1, std::memory_order_release);
        return;
      }
      // Full: half of it and g go elsewhere.
      T* batch[kSize / 2 + 1];
      constexpr uint32_t n = kSize / 2;
      for (uint32_t i = 0; i < n; ++i) {
        batch[i] = ring_[(head + i) % kSize].load(std::memory_order_relaxed);
      }
      uint32_t expected = head;
      // release: pairs with the acquire above in a later PutBack
      if (!head_.compare_exchange_strong(expected, head + n, std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
        continue;  // a thief made room
      }
      batch[n] = g;
      overflow(batch, n + 1);
      return;
    }
  }

  // The next to run, or null. *from_next tells whether it came from runnext, and so inherits the
  // time slice of the one that readied it.
  T* Get(bool* from_next, bool alone = false) {
    T* next = runnext_.load(std::memory_order_relaxed);
    if (alone && next != nullptr) {
      // release: by (5); sysmon looks too, and is no thief
      runnext_.store(nullptr, std::memory_order_release);
      *from_next = true;
      return next;
    }
    // A thief may take it meanwhile; only the owner sets it, so one try is enough. acq_rel: acquire
    // for what was readied from elsewhere, release by (5).
    if (next != nullptr &&
        runnext_.compare_exchange_strong(next, nullptr, std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
      *from_next = true;
      return next;
    }
    *from_next = false;
    return GetFromRing();
  }

  T* GetFromRing() {
    for (;;) {
      uint32_t head = head_.load(std::memory_order_acquire);
      const uint32_t tail = tail_.load(std::memory_order_relaxed);
      if (tail == head) return nullptr;
      T* g = ring_[head % kSize].load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        PrefetchAhead();
        return g;
      }
    }
  }

  // Tells the cache of the one that is to run some turns from now: of thousands, none is in it.
  void PrefetchAhead() const {
    constexpr uint32_t kTurns = 3;
    const uint32_t at = head_.load(std::memory_order_relaxed) + kTurns;
    if (static_cast<int32_t>(tail_.load(std::memory_order_relaxed) - at) <= 0) return;
    // A thief may have it: then the line is fetched for nothing. It is never read here.
    const T* g = ring_[at % kSize].load(std::memory_order_relaxed);
    __builtin_prefetch(g, 1);
    // Below a goroutine lie its closure and its first frames.
    __builtin_prefetch(reinterpret_cast<const char*>(g) - 64, 1);
    __builtin_prefetch(reinterpret_cast<const char*>(g) - 128, 1);
  }

  // Moves half of this queue (at least one) into `mine`, whose owner is the caller, and returns the
  // last of them to be run at once; null if there was nothing. `take_next`: also runnext, if the
  // ring is empty. Requires: `mine` has room for kSize / 2.
  T* StealInto(RunQueue& mine, bool take_next) {
    const uint32_t my_tail = mine.tail_.load(std::memory_order_relaxed);
    uint32_t n = Grab(mine, my_tail, take_next);
    if (n == 0) return nullptr;
    --n;
    T* g = mine.ring_[(my_tail + n) % kSize].load(std::memory_order_relaxed);
    // release: by (3) for thieves of ours
    if (n > 0) mine.tail_.store(my_tail + n, std::memory_order_release);
    return g;
  }

  // How many are in the ring; runnext not counted. Exact only for the owner.
  uint32_t ring_size() const {
    const uint32_t head = head_.load(std::memory_order_relaxed);
    const uint32_t tail = tail_.load(std::memory_order_relaxed);
    return tail - head;
  }

  // The goroutine in front, to see whether there is one; not to be touched.
  const T* peek_next() const { return runnext_.load(std::memory_order_relaxed); }

  // Whether both ring and runnext were empty at one moment: reads until tail did not move, since
  // the owner may carry a G from runnext to the ring between two reads. It then empties runnext by
  // (5), and our second look at tail, after the acquire of runnext, cannot return the old one. A
  // thief that empties runnext need not release: it does so only where it saw the ring empty, and
  // then a G that was displaced is in its owner's hand still, or has been taken.
  bool Empty() const {
    for (;;) {
      const uint32_t head = head_.load(std::memory_order_seq_cst);
      const uint32_t tail = tail_.load(std::memory_order_seq_cst);
      const T* next = runnext_.load(std::memory_order_seq_cst);
      if (tail == tail_.load(std::memory_order_seq_cst)) return head == tail && next == nullptr;
    }
  }

 private:
  uint32_t Grab(RunQueue& mine, uint32_t my_tail, bool take_next) {
    for (;;) {
      uint32_t head = head_.load(std::memory_order_acquire);
      const uint32_t tail = tail_.load(std::memory_order_acquire);  // by (3)
      uint32_t n = tail - head;
      n = n - n / 2;
      if (n == 0) {
        if (!take_next) return 0;
        T* next = runnext_.load(std::memory_order_relaxed);
        if (next == nullptr) return 0;
        if (!runnext_.compare_exchange_strong(next, nullptr, std::memory_order_acquire,
                                              std::memory_order_relaxed)) {
          continue;
        }
        mine.ring_[my_tail % kSize].store(next, std::memory_order_relaxed);
        return 1;
      }
      if (n > kSize / 2) continue;  // head and tail were read apart
      for (uint32_t i = 0; i < n; ++i) {
        T* g = ring_[(head + i) % kSize].load(std::memory_order_relaxed);
        mine.ring_[(my_tail + i) % kSize].store(g, std::memory_order_relaxed);
      }
      // release: the reads above come before the owner may reuse the places
      if (head_.compare_exchange_weak(head, head + n, std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return n;
      }
    }
  }

  // Thieves write head_, the owner tail_: each has a line of its own.
  alignas(64) std::atomic<uint32_t> head_{0};
  alignas(64) std::atomic<uint32_t> tail_{0};
  alignas(64) std::atomic<T*> runnext_{nullptr};
  alignas(64) std::atomic<T*> ring_[kSize] = {};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_RUN_QUEUE_H_
