// A P is the right to run goroutines: there are GOMAXPROCS of them, and an M must hold one.
//
//   status     who holds it            how it changes
//   kIdle      the idle list           under Scheduler::mu_
//   kRunning   an M (m->p == this)     by that M
//   kSyscall   an M in BlockingCall    CAS, by that M coming back or by sysmon taking it
//   kPreempted an M that waits in      CAS, by sysmon or by who stops the world
//              place
//   kStopped   who stopped the world   while it is stopped, or while the P is out of service
//
// All changes, and by whom: DESIGN.md, "States".
//
// Everything else in a P belongs to the M that holds it, but for the run queue's thieves, the
// timers (under timers_mu) and the counters that sysmon reads.
#ifndef PLIMSOLL_RUNTIME_SCHED_P_H_
#define PLIMSOLL_RUNTIME_SCHED_P_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/g.h"
#include "plimsoll/runtime/sched/run_queue.h"
#include "plimsoll/runtime/sched/timers.h"
#include "plimsoll/runtime/timer/timer_heap.h"

namespace plimsoll::sched {

struct M;

enum class PStatus : uint32_t { kIdle, kRunning, kSyscall, kPreempted, kStopped };

// "No timer": later than any time.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// The door of the timer heap into a SchedTimer.
struct TimerAccess {
  static int64_t When(const SchedTimer& t) { return t.when_; }
  static int32_t& Index(SchedTimer& t) { return t.heap_index_; }
  static std::atomic<P*>& Owner(SchedTimer& t) { return t.owner_; }
  static std::atomic<uint32_t>& Running(SchedTimer& t) { return t.running_; }
  static void Fire(SchedTimer& t, int64_t now);
};

struct alignas(128) P {
  RunQueue<G, 256> queue;

  alignas(64) int32_t id = 0;
  std::atomic<PStatus> status{PStatus::kStopped};
  // Who holds it, or held it last: a hint for others, who may find the M without it.
  std::atomic<M*> m{nullptr};
  // While kPreempted: the M that waits in place, and its goroutine.
  M* preempted_m = nullptr;
  G* preempted_g = nullptr;
  P* idle_link = nullptr;              // guarded by Scheduler::mu_
  std::atomic<uint32_t> schedtick{0};  // + 1 for each goroutine that starts a time slice
  std::atomic<uint32_t> syscalltick{0};
  std::atomic<bool> preempt{false};  // sysmon: the slice has run out
  uint64_t random = 0;               // xorshift state of the victim's choice

  // Dead goroutines with their stacks, to be used again: warm, and without a lock. Up to a batch in
  // free_gs, and a whole one or none in free_spare.
  G* free_gs = nullptr;
  int32_t free_count = 0;
  uint32_t new_gs = 0;  // made by this P, not used again
  G* free_spare = nullptr;
  uint64_t next_id = 0, last_id = 0;  // ids taken in batches

  alignas(64) base::SpinLock timers_mu;
  timer::TimerHeap<SchedTimer, TimerAccess> timers ABSL_GUARDED_BY(timers_mu);
  // The earliest deadline in `timers`, kNever if none: read without the lock.
  std::atomic<int64_t> next_when{kNever};

  // Counters, written by the holder with relaxed stores and read by anyone.
  alignas(64) std::atomic<uint64_t> stat_switches{0};
  std::atomic<uint64_t> stat_steals{0};
  std::atomic<uint64_t> stat_stolen{0};
  std::atomic<uint64_t> stat_spawns{0};
  std::atomic<uint64_t> stat_reaps{0};
  std::atomic<uint64_t> stat_spins{0};
  std::atomic<uint64_t> stat_looks{0};
  std::atomic<uint64_t> stat_short_looks{0};
  std::atomic<uint64_t> stat_look_ns{0};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_P_H_
