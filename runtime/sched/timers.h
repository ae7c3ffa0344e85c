// A SchedTimer runs a short function at a time, on whichever P looks first: the timer heap behind
// Sleep, deadlines, time.Timer and the poller.
//
//   sched::SchedTimer t(fire, arg);
//   t.Arm(sched::NowNanos() + 5'000'000);
//   ...
//   bool was_pending = t.Disarm();   // afterwards `fire` neither runs nor will run
//
// The function runs with preemption off on a system stack or a goroutine's: it must be short, must
// not park and must not allocate; Ready(), Break() and re-arming its own timer are what it is for.
// Threads:   Arm, Disarm and the function's runs are serialised by the timer; any thread may call.
// Lifetime:  the destructor disarms. Disarm waits for a run in progress on another thread, and
//            takes back what that run has armed; called from within the function itself it does not
//            wait.
// Precision: never early; late by scheduling only. A deadline beyond int64 is "never".
#ifndef PLIMSOLL_RUNTIME_SCHED_TIMERS_H_
#define PLIMSOLL_RUNTIME_SCHED_TIMERS_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::sched {

struct P;

class SchedTimer {
 public:
  using Fn = void (*)(void* arg, int64_t now_ns);

  SchedTimer(Fn fn, void* arg) : fn_(fn), arg_(arg) {}
  ~SchedTimer() { Disarm(); }
  SchedTimer(const SchedTimer&) = delete;
  SchedTimer& operator=(const SchedTimer&) = delete;

  // Sets the time; a pending timer moves to it. True if it was pending.
  bool Arm(int64_t when_ns);

  // Takes the timer back. True if it was pending, that is, if this call prevented a run.
  bool Disarm();

  // Ends a timer that has fired or was disarmed, and that nobody else knows any more: waits for a
  // run in progress, and leaves the destructor nothing to do.
  void Retire() {
    AwaitRun();
    owner_.store(nullptr, std::memory_order_relaxed);
  }

 private:
  friend struct TimerAccess;  // the heaps of runtime/timer, held per P

  bool RunsElsewhere() const;
  void AwaitRun() const;

  Fn fn_;
  void* arg_;
  int64_t when_ = 0;
  int32_t heap_index_ = -1;           // its slot; guarded by the owner's timer lock; -1: in no heap
  std::atomic<P*> owner_{nullptr};    // whose heap holds it, or held it last
  std::atomic<uint32_t> running_{0};  // 1 + the M's id while fn_ runs
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_TIMERS_H_
