// Sysmon watches the Ps, without one: it takes Ps back from blocking calls, ends time slices, and
// polls a source that nobody polls.

#include <unistd.h>

#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/preempt.h"
#include "plimsoll/runtime/sched/schedtrace.h"
#include "plimsoll/runtime/sched/thread_state.h"
#include "plimsoll/runtime/sched/trace_hooks.h"
#include "plimsoll/runtime/sched/trim.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kSysmonShortestNs = 20'000;
constexpr int64_t kAskAgainNs = 200'000;     // a signal that came where the P cannot be given away
constexpr int64_t kGentleNs = 2'000'000;     // how long libc's text is left alone
constexpr int64_t kReleaseNs = 4'000'000;    // how long a release is waited for
constexpr int64_t kAskSlowlyNs = 5'000'000;  // no answer, or no thread
constexpr int64_t kSleepersNs = 1'000'000;   // all that wait would only sleep
constexpr int64_t kFirstLookNs = 50'000;     // at a thread that may sleep with its P
constexpr int64_t kLastLookNs = 2'000'000;
constexpr uint32_t kManySlices = 8;
constexpr int64_t kSysmonLongestNs = 10'000'000;
// What a goroutine spins for a lock at a time (CanSpin): 30 times PAUSE, 0.3 to 1.3 us.
constexpr int64_t kLockSpinNs = 1000;

// What sysmon saw of a P at its last look.
struct Seen {
  uint32_t schedtick = 0;
  int64_t slice_since_ns = 0;
  uint32_t syscalltick = 0;
  int64_t syscall_since_ns = 0;
  int64_t first_asked_ns = 0;  // in this slice
  int64_t ask_next_ns = 0;
  bool queued = false;
  uint32_t tick_when_queued = 0;
  uint64_t spins = 0;
  // Of its thread, at the last look for one that sleeps.
  int64_t cpu_ns = 0;
  int64_t cpu_at_ns = 0;
  int64_t look_pause_ns = 0;
};

// A slice begins: what `m` does from now on is watched.
void WatchFrom(Seen& s, const M* m, int64_t now) {
  s.cpu_at_ns = now;
  s.cpu_ns = m != nullptr ? ThreadCpuNanos(m->tid.load(std::memory_order_relaxed)) : 0;
  s.look_pause_ns = kFirstLookNs;
}

// Others wait in place, and one of them may hold what p's thread sleeps for (DESIGN.md, "One that
// would only sleep"). Asks for p where that is so. Returns when to look again.
int64_t LookForSleeper(P* p, Seen& s, int64_t now) {
  if (sched.in_place.load(std::memory_order_relaxed) == 0 || !sched.preempt_slices ||
      sched.preempt_signal == 0 || sched.frozen()) {
    return kNever;
  }
  if (now < s.cpu_at_ns + s.look_pause_ns) return s.cpu_at_ns + s.look_pause_ns;
  const M* m = p->m.load(std::memory_order_acquire);
  if (m == nullptr) return kNever;
  // First what is cheap: one that used its time does not sleep. And one that was kept from a CPU
  // by the kernel, or sleeps for moments only, is not yet to be disturbed.
  const int64_t cpu = ThreadCpuNanos(m->tid.load(std::memory_order_relaxed));
  const bool idle = cpu - s.cpu_ns < (now - s.cpu_at_ns) / 8;
  s.cpu_ns = cpu;
  s.cpu_at_ns = now;
  if (!idle) {
    if (s.look_pause_ns < kLastLookNs) s.look_pause_ns *= 2;
  } else {
    s.look_pause_ns = kAskAgainNs;
    if (SleepsInFutex(m->tid.load(std::memory_order_relaxed))) {
      if (FutexWaited sleeper; FindSuccessor(p, &sleeper) == Successor::kThere) {
        AskForP(p, kAskedAsleep);
      } else {
        s.look_pause_ns = kSleepersNs;
      }
    }
  }
  return s.cpu_at_ns + s.look_pause_ns;
}

// The slice on p is over: has it given away, where somebody waits and somebody can take it. Returns
// when to look again.
int64_t EndSlice(P* p, Seen& s, int64_t now) {
  // At a scheduling point the goroutine does it by itself.
  p->preempt.store(true, std::memory_order_relaxed);
  if (!sched.preempt_slices || sched.preempt_signal == 0 || !SomebodyWaits(p) || sched.frozen()) {
    return kNever;
  }
  if (now < s.ask_next_ns) return s.ask_next_ns;
  FutexWaited sleeper;
  const Successor successor = FindSuccessor(p, &sleeper);
  if (successor == Successor::kNone) return s.ask_next_ns = now + kSleepersNs;
  if (successor == Successor::kNoThread) {
    sched.preempt_no_thread.fetch_add(1, std::memory_order_relaxed);
    AskForThread();
    return s.ask_next_ns = now + kAskSlowlyNs;
  }
  if (s.first_asked_ns == 0) s.first_asked_ns = now;
  const int64_t since = now - s.first_asked_ns;
  // Who would run slept for a word that was not 0: a lock, and at most moments this one holds it
  // again. It is stopped at one where it does not, if such a one comes soon.
  if (sleeper.word != nullptr && sleeper.value != 0 && since < kReleaseNs) {
    if (M* m = p->m.load(std::memory_order_acquire)) m->release = sleeper;
    AskForP(p, kAskedAtRelease);
    return s.ask_next_ns = now + kSysmonShortestNs;
  }
  AskForP(p, since >= kGentleNs ? kAskedForGood : kAskedGently);
  // One that does not answer sleeps where no handler runs: reading a disk, or being stopped.
  return s.ask_next_ns = now + (since < kSliceNs ? kAskAgainNs : kAskSlowlyNs);
}

// Charges what goroutines spun for locks since the last look: too little each time to ask a clock.
// What was spun while nothing was charged stays so.
void ChargeLockSpins(int64_t now, Seen* seen) {
  const int n = sched.procs.load(std::memory_order_acquire);  // pairs with SetProcs: all_ps
  uint64_t spins = 0;
  for (int i = 0; i < n; ++i) {
    const uint64_t all = sched.all_ps[i]->stat_spins.load(std::memory_order_relaxed);
    spins += all - seen[i].spins;
    seen[i].spins = all;
  }
  if (!sched.spin_budget.counts()) return;
  sched.spin_budget.Charge(static_cast<int64_t>(spins) * kLockSpinNs, now);
  sched.spin_budget.Refresh(now);
}

// Looks at every P once. Returns true if there was something to do. *soon becomes the time of the
// next thing to do, if that is earlier.
bool WatchPs(int64_t now, Seen* seen, int64_t* soon) {
  bool did = false;
  const int64_t slice_ns = sched.slice_ns.load(std::memory_order_relaxed);
  const int n = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) {
    P* p = sched.all_ps[i];
    Seen& s = seen[i];
    const PStatus status = p->status.load(std::memory_order_acquire);
    // A goroutine that goes from one short blocking call to the next has a slice as well, and so
    // has one that stops the world again and again: most looks may fall into a stop. (It keeps its
    // P. Of those that were stopped the slice goes on after the start.)
    const bool stops =
        status == PStatus::kStopped && p->m.load(std::memory_order_relaxed) != nullptr;
    if (status == PStatus::kRunning || status == PStatus::kSyscall || stops) {
      const uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
      if (tick != s.schedtick || s.slice_since_ns == 0) {
        const bool goes_fast = tick - s.schedtick >= kManySlices && s.look_pause_ns != 0;
        s.schedtick = tick;
        s.slice_since_ns = now;
        s.first_asked_ns = s.ask_next_ns = 0;
        if (sched.in_place.load(std::memory_order_relaxed) > 0) {
          const int64_t pause_ns = s.look_pause_ns;
          WatchFrom(s, p->m.load(std::memory_order_acquire), now);
          // Many slices since the last look: nobody slept, and it is like one that used its time.
          if (goes_fast) s.look_pause_ns = pause_ns < kLastLookNs ? pause_ns * 2 : pause_ns;
        }
      }
      int64_t next = s.slice_since_ns + slice_ns;
      if (now >= next) {
        if (status == PStatus::kRunning) {
          next = EndSlice(p, s, now);
        } else {
          p->preempt.store(true, std::memory_order_relaxed);
          next = kNever;
        }
      }
      if (next < *soon) *soon = next;
      if (status == PStatus::kRunning) {
        next = LookForSleeper(p, s, now);
        if (next < *soon) *soon = next;
      }
    }
    if (status == PStatus::kPreempted) {
      const HandedOver done = HandOverPreempted(p);
      s.schedtick = p->schedtick.load(std::memory_order_relaxed);
      s.slice_since_ns = now;
      s.first_asked_ns = s.ask_next_ns = 0;
      if (done.goes_on) {
        s.slice_since_ns = now - slice_ns + kAskAgainNs;
      }
      WatchFrom(s, done.to, now);
      if (now + kFirstLookNs < *soon) *soon = now + kFirstLookNs;
      // One alone waits for a slice. Of several, the next stop may be soon (one that sleeps).
      if (sched.in_place.load(std::memory_order_relaxed) > 1) did = true;
      continue;
    }
    if (status == PStatus::kRunning) {
      const uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
      // What stayed queued between two looks waits for a goroutine that does not park: a Ready into
      // an empty runnext, and a Yield, wake nobody.
      const bool queued = !p->queue.Empty();
      if (queued && s.queued && s.tick_when_queued == tick &&
          sched.idle_p_count.load(std::memory_order_relaxed) > 0) {
        WakeIfIdle();
        did = true;
      }
      s.queued = queued;
      s.tick_when_queued = tick;
      // Its timers are late: it runs something long.
      const int64_t when = p->next_when.load(std::memory_order_relaxed);
      if (when != kNever && when < now - 1'000'000 &&
          sched.idle_p_count.load(std::memory_order_relaxed) > 0) {
        WakeIfIdle();
        did = true;
      }
    } else if (status == PStatus::kSyscall) {
      const uint32_t tick = p->syscalltick.load(std::memory_order_relaxed);
      if (tick != s.syscalltick) {
        s.syscalltick = tick;
        s.syscall_since_ns = now;
        continue;
      }
      // Left for a whole tick. With nothing queued and another P idle it may stay where it is, for
      // 10 ms at most: then the idle source would not be looked at.
      if (p->queue.Empty() && p->next_when.load(std::memory_order_relaxed) == kNever &&
          sched.idle_p_count.load(std::memory_order_relaxed) +
                  sched.spinning.load(std::memory_order_relaxed) >
              0 &&
          now - s.syscall_since_ns < kSliceNs) {
        continue;
      }
      PStatus expected = PStatus::kSyscall;
      // acq_rel: the M that comes back sees that its P is gone; we see what it left in the P
      if (p->status.compare_exchange_strong(expected, PStatus::kIdle, std::memory_order_acq_rel)) {
        did = true;
        if (Tracing()) TraceRetake(p);
        HandOffP(p);
      }
    } else {
      if (status != PStatus::kStopped) s.slice_since_ns = 0;
      s.queued = false;
    }
  }
  return did;
}

}  // namespace

// Own memory only (DESIGN.md, "Threads").
void* Sysmon(void*) {
  static Seen seen[kMaxProcs];
  int64_t pause_ns = kSysmonShortestNs;
  int idle_rounds = 0;
  int64_t last_second_ns = NowNanos();
  int64_t soon = kNever;
  uint32_t word = 0;
  for (;;) {
    int64_t wait_ns = pause_ns;
    if (soon != kNever) {
      const int64_t left = soon - NowNanos();
      if (left < wait_ns) wait_ns = left > kSysmonShortestNs ? left : kSysmonShortestNs;
    }
    base::FutexWait(sched.sysmon_word, word, wait_ns);
    // acquire: pairs with the release of who gave its P away
    word = sched.sysmon_word.load(std::memory_order_acquire);
    soon = kNever;
    int64_t now = NowNanos();
    const int64_t end = sched.exit_deadline_ns.load(std::memory_order_relaxed);
    if (end != 0 && now >= end) _exit(sched.exit_code.load(std::memory_order_relaxed));

    const int procs = sched.procs.load(std::memory_order_relaxed);
    PrintSchedTraceIfDue(now);
    const int64_t release_ns = ReleaseIdleGs(now);
    const int64_t trim_ns = LookForStacksToTrim(
        now, /*idle=*/sched.idle_p_count.load(std::memory_order_relaxed) == procs);
    bool nothing_ran = false;
    if (end == 0 && !SchedTracing() &&
        sched.idle_p_count.load(std::memory_order_seq_cst) == procs) {
      sched.sysmon_sleeps.store(1, std::memory_order_seq_cst);
      const uint64_t taken = sched.ps_taken.load(std::memory_order_relaxed);
      // A P that was taken before it saw the word is seen here.
      if (sched.idle_p_count.load(std::memory_order_seq_cst) == procs) {
        const bool release_first = trim_ns < 0 || (release_ns >= 0 && release_ns < trim_ns);
        base::FutexWait(sched.sysmon_sleeps, 1, release_first ? release_ns : trim_ns);
        nothing_ran = taken == sched.ps_taken.load(std::memory_order_seq_cst);
      }
      sched.sysmon_sleeps.store(0, std::memory_order_relaxed);
      now = NowNanos();
      idle_rounds = 0;
      pause_ns = kSysmonShortestNs;
    }
    sched.coarse_now_ns.store(now, std::memory_order_relaxed);

    ChargeLockSpins(now, seen);
    bool did = WatchPs(now, seen, &soon);
    // Not where sysmon woke for memory alone: an idle process stays idle.
    if (now - last_second_ns >= 1'000'000'000 && !nothing_ran) {
      last_second_ns = now;
      WakeHousekeeper();
    }
    // All Ps busy for 10 ms with nobody in the idle source: look there for them.
    int64_t last = sched.last_poll_ns.load(std::memory_order_relaxed);
    if (last != 0 && now - last > kSliceNs && sched.source->HasWaiters() &&
        sched.last_poll_ns.compare_exchange_strong(last, now, std::memory_order_seq_cst)) {
      GList ready;
      sched.source->Poll(0, ready);
      if (!ready.empty()) {
        if (Tracing()) TracePoll(nullptr, ready);
        InjectList(nullptr, ready);
        did = true;
      }
    }
    if (did) {
      idle_rounds = 0;
      pause_ns = kSysmonShortestNs;
    } else if (++idle_rounds > 50 && pause_ns < kSysmonLongestNs) {
      pause_ns = pause_ns * 2 < kSysmonLongestNs ? pause_ns * 2 : kSysmonLongestNs;
    }
  }
}

void WakeSysmon() {
  if (sched.sysmon_sleeps.exchange(0, std::memory_order_seq_cst) != 0) {
    // Who parks before sysmon looks notes when; not the time at which all fell asleep.
    sched.coarse_now_ns.store(NowNanos(), std::memory_order_relaxed);
    base::FutexWake(sched.sysmon_sleeps, 1);
  }
}

}  // namespace plimsoll::sched
