// A FreezeWait says how long a dump waits for a thread that it asked to stop and to show its
// frames.
//
//   FreezeWait wait(NowNanos());              // all were asked now
//   for (each thread) {
//     wait.For(cpu);                          // what it has used of a CPU
//     while (!answered && wait.GoesOn(NowNanos(), state, cpu)) Sleep();
//   }
//
//   the thread                              is waited for
//   runs, or waits for a CPU                until it has used 100 ms of one: it blocks the signal
//   sleeps, in the kernel or stopped        100 ms: it cannot answer, or blocks the signal
//   nobody can tell (no /proc)              1 s
//   all of them together                    10 s
//
// On a busy machine, or one whose quota is used up, a thread may get no CPU for seconds; a dump
// without its frames is worth little, and nobody waits for the process any more.
#ifndef PLIMSOLL_RUNTIME_SCHED_FREEZE_WAIT_H_
#define PLIMSOLL_RUNTIME_SCHED_FREEZE_WAIT_H_

#include <cstdint>

namespace plimsoll::sched {

class FreezeWait {
 public:
  static constexpr int64_t kCpuNs = 100'000'000;
  static constexpr int64_t kAsleepNs = 100'000'000;
  static constexpr int64_t kUntoldNs = 1'000'000'000;
  static constexpr int64_t kAllNs = 10'000'000'000;

  explicit FreezeWait(int64_t asked_ns) : asked_ns_(asked_ns) {}

  // The next one, which has used so much of a CPU.
  void For(int64_t cpu_ns) {
    cpu_ns_ = cpu_ns;
    ran_ns_ = asked_ns_;
  }

  // Whether to look again, in a moment. `state`: ThreadState's.
  bool GoesOn(int64_t now, char state, int64_t cpu_ns) {
    if (now - asked_ns_ >= kAllNs) return false;
    if (state == 'R') {
      ran_ns_ = now;
      return cpu_ns - cpu_ns_ < kCpuNs;
    }
    return now - ran_ns_ < (state == 0 ? kUntoldNs : kAsleepNs);
  }

 private:
  const int64_t asked_ns_;
  int64_t cpu_ns_ = 0;
  int64_t ran_ns_ = 0;  // when it was last seen to run, or was asked
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_FREEZE_WAIT_H_
