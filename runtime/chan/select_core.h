// SelectRun is Select without types: one of several sends and receives, at most once.
//
//   how it goes                                            locks
//   0. with Default: if no channel is ready, and none      none
//      changed while we looked at the others, that is all
//   1. look at every channel's flags; of those that        none, then the one chosen
//      seem ready choose one at random, and try it
//   2. lock all; look again; choose; do it                 all, in order of address
//   3. queue a Waiter on each, park; the commit unlocks    all, until the goroutine is off its
//   stack
//   4. whoever claims first does the work and wakes us     the winner's own
//   5. take our Waiters out of the queues that lost        one at a time
//
// Invariants:
//   (1) Exactly one case takes effect: a waker must win `claim` before it moves a value.
//   (2) No Waiter of ours is queued anywhere once Run has returned.
//   (3) The commit may still be unlocking while a waker has us running again; the frame that it
//       reads stays, because step 5 locks every channel that the commit has yet to unlock.
//   (4) Choosing among n that are ready is uniform: one draw among n, not the first of a rotation.
#ifndef PLIMSOLL_RUNTIME_CHAN_SELECT_CORE_H_
#define PLIMSOLL_RUNTIME_CHAN_SELECT_CORE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "plimsoll/runtime/chan/channel_core.h"
#include "plimsoll/runtime/chan/wait_queue.h"

namespace plimsoll::internal {

// One send or receive that a select may do.
struct SelectOp {
  ChannelCore* core = nullptr;  // null: the nil channel, never ready
  void* slot = nullptr;         // the value to send, or where to put the one received
  bool sending = false;
  // What a run needs for each, kept here so that it allocates nothing.
  uint32_t version;       // the channel's, when it was looked at without its lock
  SelectOp* next_locked;  // in order of address, each channel once
  union {
    Waiter waiter;  // begins to live when the run parks
  };

  SelectOp() {}  // NOLINT: the rest is written before it is read
};

struct Selected {
  int index;        // of the op that took effect; -1: none
  Outcome outcome;  // kDone, kClosed; kWouldBlock or kTimedOut when none did
};

class SelectRun {
 public:
  // deadline_ns as in ChannelCore: kAtOnce never parks.
  static Selected Run(std::span<SelectOp> ops, int64_t deadline_ns);

 private:
  explicit SelectRun(std::span<SelectOp> ops) : ops_(ops) {}

  bool NoneWasReady();
  Selected TryUnlocked();
  void SortByLock();
  void LockAll();
  void UnlockAll();
  Selected TryLocked(sched::G** wake);
  Selected Park(int64_t deadline_ns);

  static bool Ready(const SelectOp& op) {
    if (op.core == nullptr) return false;
    return op.sending ? op.core->SendReady() : op.core->RecvReady();
  }
  static Outcome Perform(SelectOp& op, sched::G** wake) {
    return op.sending ? op.core->SendLocked(op.slot, wake) : op.core->RecvLocked(op.slot, wake);
  }
  // One of the ops that seem ready, each as likely as another; -1 when none does.
  int ChooseReady() const;

  static bool CommitUnlock(sched::G* g, void* first_locked);

  std::span<SelectOp> ops_;
  SelectOp* first_locked_ = nullptr;
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_CHAN_SELECT_CORE_H_
