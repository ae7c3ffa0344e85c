// A PollDesc is one open descriptor as the poller sees it: two semaphores on which a goroutine
// waits for readiness, and a deadline for each.
//
//   rg_  wg_     kNil -- kWait -- a parked G      an edge takes any of them to kReady,
//     ^            |                              a waiter takes kReady to kNil
//     +- kReady <--+
//
//   field                       who may touch it
//   rg_, wg_                    one waiter each; the poller, the timers and Close, by CAS
//   closing_, Side::expired     written before the semaphore is looked at, by (2) of Dekker's kind
//   Side::deadline, armed_at    holder of mu_
//   sequence_                   DescPool, while nobody uses the descriptor
//
// Why it is so, and the invariants: DESIGN.md.
#ifndef PLIMSOLL_RUNTIME_NETPOLL_POLL_DESC_H_
#define PLIMSOLL_RUNTIME_NETPOLL_POLL_DESC_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::netpoll {

enum class Mode : uint8_t { kRead, kWrite };

enum class WaitResult : uint8_t {
  kReady,     // try the call again
  kTimedOut,  // the deadline of this mode has passed
  kClosed,    // Evict was called
};

// A deadline that never comes.
inline constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

class alignas(64) PollDesc {
 public:
  PollDesc() = default;
  PollDesc(const PollDesc&) = delete;
  PollDesc& operator=(const PollDesc&) = delete;

  // Whether a call may be tried: kReady, or the reason why not. Never blocks.
  WaitResult Check(Mode mode) const;

  // Parks until an edge of `mode` that nobody has used yet, a deadline, or Evict. At most one
  // goroutine at a time for each mode. kReady may be wrong: the call then says EAGAIN.
  WaitResult Wait(Mode mode);

  // Sets the time, on sched::NowNanos()'s clock, from which Wait and Check say kTimedOut. A time
  // that has passed wakes the waiter at once; kNoDeadline takes the deadline away.
  void SetDeadline(Mode mode, int64_t deadline_ns);

  // Wakes the waiters for good: from now on Wait and Check say kClosed. Once.
  void Evict();

  // False once the peer has ended its side or sent urgent data: then a short read may leave
  // something behind it.
  bool ShortReadMeansEmpty() const { return !marked_.load(std::memory_order_acquire); }

  // For the poller. ----------------------------------------------------------------------------

  // An edge. Returns the goroutine that it wakes, to be readied by the caller, or null.
  sched::G* OnEdge(Mode mode) { return Unblock(Semaphore(mode), /*edge=*/true); }
  void MarkEnded() { marked_.store(true, std::memory_order_release); }

  // The descriptor, for an engine that must name it again. Written before it is armed.
  void set_fd(int fd) { fd_.store(fd, std::memory_order_relaxed); }
  int fd() const { return fd_.load(std::memory_order_relaxed); }

  uint32_t sequence() const { return sequence_.load(std::memory_order_acquire); }
  uint32_t index() const { return index_; }

  // How many goroutines wait on any descriptor.
  static int64_t Waiters() { return waiters_.load(std::memory_order_relaxed); }

 private:
  friend class DescPool;

  // What a semaphore holds when it is not a G's address.
  enum : uintptr_t { kNil = 0, kReadyWord = 1, kWaitWord = 2 };

  using Word = std::atomic<uintptr_t>;

  struct Side {
    explicit Side(PollDesc* owner, Mode mode)
        : owner(owner), mode(mode), timer(&PollDesc::OnTimer, this) {}
    PollDesc* owner;
    Mode mode;
    std::atomic<bool> expired{false};
    int64_t deadline = kNoDeadline;
    int64_t armed_at = kNoDeadline;  // when the timer will fire, at the latest
    sched::SchedTimer timer;
  };

  static bool CommitWait(sched::G* g, void* word);
  static void OnTimer(void* side, int64_t now_ns);
  static sched::G* Unblock(Word& word, bool edge);
  void ArmUntilAgreed(Side& side, int64_t when_ns);
  bool Block(Side& side);
  void DisarmTimers();
  void Reset();

  Word& Semaphore(Mode mode) { return mode == Mode::kRead ? rg_ : wg_; }
  Side& SideOf(Mode mode) { return mode == Mode::kRead ? read_ : write_; }
  const Side& SideOf(Mode mode) const { return mode == Mode::kRead ? read_ : write_; }

  static inline std::atomic<int64_t> waiters_{0};

  Word rg_{kNil};
  Word wg_{kNil};
  std::atomic<uint32_t> sequence_{0};  // by invariant 2 of DESIGN.md
  uint32_t index_ = 0;                 // its place in the pool; never changes
  std::atomic<int> fd_{-1};
  std::atomic<bool> closing_{false};
  std::atomic<bool> marked_{false};
  base::SpinLock mu_;
  Side read_{this, Mode::kRead};
  Side write_{this, Mode::kWrite};
  PollDesc* next_free_ = nullptr;  // DescPool's
};

}  // namespace plimsoll::netpoll

#endif  // PLIMSOLL_RUNTIME_NETPOLL_POLL_DESC_H_
