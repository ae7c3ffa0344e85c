#include "plimsoll/runtime/netpoll/poll_desc.h"

#include "plimsoll/alloc/base/check.h"

namespace plimsoll::netpoll {

WaitResult PollDesc::Check(Mode mode) const {
  // seq_cst: the second half of the waiter's handshake with Evict, SetDeadline and OnTimer.
  if (closing_.load(std::memory_order_seq_cst)) return WaitResult::kClosed;
  if (SideOf(mode).expired.load(std::memory_order_seq_cst)) return WaitResult::kTimedOut;
  return WaitResult::kReady;
}

WaitResult PollDesc::Wait(Mode mode) {
  Side& side = SideOf(mode);
  while (true) {
    if (const WaitResult r = Check(mode); r != WaitResult::kReady) return r;
    if (Block(side)) return WaitResult::kReady;
    // Woken without an edge, and perhaps without a reason any more: a deadline that expired was put
    // off before we ran. Look again.
  }
}

// True: an edge was used up.
bool PollDesc::Block(Side& side) {
  Word& word = Semaphore(side.mode);
  while (true) {
    uintptr_t value = kReadyWord;
    // pairs with the release in Unblock: what arrived before the edge is there to be read
    if (word.compare_exchange_strong(value, kNil, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return true;
    }
    value = kNil;
    // seq_cst: first half of the handshake; the load in Check below is the second
    if (word.compare_exchange_strong(value, kWaitWord, std::memory_order_seq_cst,
                                     std::memory_order_relaxed)) {
      break;
    }
    PLIMSOLL_CHECK(value == kReadyWord, "netpoll: two goroutines wait on one descriptor");
  }
  if (Check(side.mode) == WaitResult::kReady) {
    waiters_.fetch_add(1, std::memory_order_relaxed);  // by invariant 6
    sched::Park(sched::WaitReason::kIoWait, &CommitWait, &word);
    waiters_.fetch_sub(1, std::memory_order_relaxed);
  }
  return word.exchange(kNil, std::memory_order_acquire) == kReadyWord;
}

bool PollDesc::CommitWait(sched::G* g, void* word) {
  uintptr_t wait = kWaitWord;
  // release: who takes the G out of the word sees it parked
  return static_cast<Word*>(word)->compare_exchange_strong(
      wait, reinterpret_cast<uintptr_t>(g), std::memory_order_acq_rel, std::memory_order_relaxed);
}

sched::G* PollDesc::Unblock(Word& word, bool edge) {
  // seq_cst: second half of the handshake of Evict, SetDeadline and OnTimer
  uintptr_t old = word.load(std::memory_order_seq_cst);
  while (true) {
    if (old == kReadyWord || (old == kNil && !edge)) return nullptr;
    if (word.compare_exchange_weak(old, edge ? kReadyWord : kNil, std::memory_order_seq_cst,
                                   std::memory_order_seq_cst)) {
      break;
    }
  }
  if (old == kNil || old == kWaitWord) return nullptr;
  return reinterpret_cast<sched::G*>(old);
}

void PollDesc::SetDeadline(Mode mode, int64_t deadline_ns) {
  Side& side = SideOf(mode);
  sched::G* wake = nullptr;
  bool arm = false;
  {
    sched::NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    if (closing_.load(std::memory_order_relaxed)) return;
    side.deadline = deadline_ns;
    if (deadline_ns == kNoDeadline) {
      side.expired.store(false, std::memory_order_seq_cst);
    } else if (deadline_ns <= sched::NowNanos()) {
      side.expired.store(true, std::memory_order_seq_cst);
      wake = Unblock(Semaphore(mode), /*edge=*/false);
    } else {
      side.expired.store(false, std::memory_order_seq_cst);
      arm = deadline_ns < side.armed_at;
      if (arm) side.armed_at = deadline_ns;
    }
  }
  if (wake != nullptr) sched::Ready(wake);
  if (arm) ArmUntilAgreed(side, deadline_ns);
}

// Arms the timer for the earliest time that anybody has asked for; mu_ is not held, for Arm may
// wait for a running OnTimer, which takes it.
void PollDesc::ArmUntilAgreed(Side& side, int64_t when_ns) {
  while (true) {
    side.timer.Arm(when_ns);
    sched::NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    // Somebody armed it for an earlier time before we armed it for this one.
    if (side.armed_at >= when_ns) return;
    when_ns = side.armed_at;
  }
}

void PollDesc::OnTimer(void* arg, int64_t now_ns) {
  Side& side = *static_cast<Side*>(arg);
  PollDesc& self = *side.owner;
  sched::G* wake = nullptr;
  int64_t again = kNoDeadline;
  {
    base::SpinLockHolder hold(self.mu_);
    side.armed_at = kNoDeadline;
    if (side.deadline == kNoDeadline || self.closing_.load(std::memory_order_seq_cst)) return;
    if (side.deadline <= now_ns) {
      side.expired.store(true, std::memory_order_seq_cst);
      wake = Unblock(self.Semaphore(side.mode), /*edge=*/false);
    } else {
      again = side.armed_at = side.deadline;  // it was put off
    }
  }
  if (wake != nullptr) sched::Ready(wake);
  if (again != kNoDeadline) self.ArmUntilAgreed(side, again);
}

void PollDesc::Evict() {
  {
    sched::NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    PLIMSOLL_CHECK(!closing_.load(std::memory_order_relaxed), "netpoll: evicted twice");
    closing_.store(true, std::memory_order_seq_cst);
    read_.deadline = write_.deadline = kNoDeadline;
  }
  for (Side* side : {&read_, &write_}) {
    if (sched::G* g = Unblock(Semaphore(side->mode), /*edge=*/false)) sched::Ready(g);
  }
}

// Not in Evict: a SetDeadline that was under way then may arm a timer after it.
void PollDesc::DisarmTimers() {
  for (Side* side : {&read_, &write_}) side->timer.Disarm();
}

// Back to how it was made. Requires: nobody uses it, and DisarmTimers() since anybody did.
void PollDesc::Reset() {
  rg_.store(kNil, std::memory_order_relaxed);
  wg_.store(kNil, std::memory_order_relaxed);
  closing_.store(false, std::memory_order_relaxed);
  marked_.store(false, std::memory_order_relaxed);
  for (Side* side : {&read_, &write_}) {
    side->expired.store(false, std::memory_order_relaxed);
    side->deadline = side->armed_at = kNoDeadline;
  }
}

}  // namespace plimsoll::netpoll
