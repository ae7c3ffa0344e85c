// The runtime's threads: how Ms are made, and sysmon, which watches them.

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/internal.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kSliceNs = 10'000'000;  // a goroutine's time slice, as Go's
constexpr int64_t kSysmonShortestNs = 20'000;
constexpr int64_t kSysmonLongestNs = 10'000'000;

// Ms live for ever: an idle one costs a parked thread, and is found again by its address.
M* NewM() {
  static_assert(sizeof(M) <= 4096);
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : ::new (memory) M;
}

void* ThreadOfM(void* arg) {
  M* m = static_cast<M*>(arg);
  BecomeM(m, pthread_self());
  // A new M looks for work if there is a P for it; whoever asked for it may have found another by
  // now.
  if (P* p = TakeIdleP()) {
    AcquireP(m, p);
    m->spinning = true;
    sched.spinning.fetch_add(1, std::memory_order_seq_cst);
  }
  ScheduleLoop(m);
}

// Signals are for goroutines' threads to take; the runtime's own threads block them all.
bool StartThread(void* (*fn)(void*), void* arg, bool block_signals) {
  sigset_t all, before;
  sigfillset(&all);
  if (block_signals) pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  sched.threads_in_making.fetch_add(1, std::memory_order_seq_cst);
  sched.own_threads.fetch_add(1, std::memory_order_seq_cst);
  const int rc = pthread_create(&thread, nullptr, fn, arg);
  if (block_signals) pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (rc != 0) sched.own_threads.fetch_sub(1, std::memory_order_seq_cst);
  sched.threads_in_making.fetch_sub(1, std::memory_order_seq_cst);
  if (rc == 0) {
    pthread_detach(thread);
    return true;
  }
  // Told at the 1st, 2nd, 4th, … failure: a pod at its pids.max would fill its log otherwise.
  const uint64_t failures = sched.thread_failures.fetch_add(1, std::memory_order_relaxed) + 1;
  if ((failures & (failures - 1)) == 0) {
    base::RawLog("plimsoll: a thread could not be made: ", base::ErrnoName(rc), " (", failures,
                 " times); work waits for the ", sched.m_count.load(std::memory_order_relaxed),
                 " there are; see pids.max and RLIMIT_NPROC");
  }
  return false;
}

bool MakeM() {
  M* m = NewM();
  if (m == nullptr) return false;
  if (StartThread(ThreadOfM, m, /*block_signals=*/false)) return true;
  munmap(m, 4096);
  return false;
}

// Threads are made here and not by who needs one: pthread_create calls malloc, whose lock a
// preempted goroutine may hold.
void* Maker(void*) {
  int64_t pause_ns = -1;
  for (;;) {
    if (sched.maker_requests.load(std::memory_order_acquire) == 0) {
      base::FutexWait(sched.maker_requests, 0);
      continue;
    }
    // One thread for any number of requests: it looks for work, and wakes the next by itself.
    sched.maker_requests.store(0, std::memory_order_release);
    if (MakeM()) {
      pause_ns = -1;
      continue;
    }
    // No thread for now. The work waits for the Ms there are; look again after a while.
    pause_ns = pause_ns < 0 ? 10'000'000 : pause_ns < 1'000'000'000 ? pause_ns * 2 : pause_ns;
    std::atomic<uint32_t> nobody{0};
    base::FutexWait(nobody, 0, pause_ns);
    if (sched.idle_p_count.load(std::memory_order_relaxed) > 0 &&
        sched.idle_m_count.load(std::memory_order_relaxed) == 0) {
      sched.maker_requests.store(1, std::memory_order_release);
    }
  }
}

// What sysmon saw of a P at its last look.
struct Seen {
  uint32_t schedtick = 0;
  int64_t slice_since_ns = 0;
  uint32_t syscalltick = 0;
  int64_t syscall_since_ns = 0;
  bool queued = false;
  uint32_t tick_when_queued = 0;
};

// Looks at every P once. Returns true if there was something to do.
bool WatchPs(int64_t now, Seen* seen) {
  bool did = false;
  const int n = sched.procs.load(std::memory_order_acquire);
  for (int i = 0; i < n; ++i) {
    P* p = sched.all_ps[i];
    Seen& s = seen[i];
    const PStatus status = p->status.load(std::memory_order_acquire);
    // A goroutine that goes from one short blocking call to the next has a slice as well.
    if (status == PStatus::kRunning || status == PStatus::kSyscall) {
      const uint32_t tick = p->schedtick.load(std::memory_order_relaxed);
      if (tick != s.schedtick || s.slice_since_ns == 0) {
        s.schedtick = tick;
        s.slice_since_ns = now;
      } else if (now - s.slice_since_ns >= kSliceNs) {
        p->preempt.store(true, std::memory_order_relaxed);
      }
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
        HandOffP(p);
      }
    } else {
      s.slice_since_ns = 0;
      s.queued = false;
    }
  }
  return did;
}

// Watches, without a P: takes back Ps from blocking calls, ends time slices, polls a source that
// nobody polls. Own memory only (DESIGN.md, "Sysmon").
void* Sysmon(void*) {
  static Seen seen[kMaxProcs];
  std::atomic<uint32_t> never{0};
  int64_t pause_ns = kSysmonShortestNs;
  int idle_rounds = 0;
  for (;;) {
    base::FutexWait(never, 0, pause_ns);
    int64_t now = NowNanos();
    const int64_t end = sched.exit_deadline_ns.load(std::memory_order_relaxed);
    if (end != 0 && now >= end) _exit(sched.exit_code.load(std::memory_order_relaxed));

    const int procs = sched.procs.load(std::memory_order_relaxed);
    if (end == 0 && sched.idle_p_count.load(std::memory_order_seq_cst) == procs) {
      sched.sysmon_sleeps.store(1, std::memory_order_seq_cst);
      // A P that was taken before it saw the word is seen here.
      if (sched.idle_p_count.load(std::memory_order_seq_cst) == procs) {
        base::FutexWait(sched.sysmon_sleeps, 1);
      }
      sched.sysmon_sleeps.store(0, std::memory_order_relaxed);
      now = NowNanos();
      idle_rounds = 0;
      pause_ns = kSysmonShortestNs;
    }
    sched.coarse_now_ns.store(now, std::memory_order_relaxed);

    bool did = WatchPs(now, seen);
    // All Ps busy for 10 ms with nobody in the idle source: look there for them.
    int64_t last = sched.last_poll_ns.load(std::memory_order_relaxed);
    if (last != 0 && now - last > kSliceNs && sched.source->HasWaiters() &&
        sched.last_poll_ns.compare_exchange_strong(last, now, std::memory_order_seq_cst)) {
      GList ready;
      sched.source->Poll(0, ready);
      if (!ready.empty()) {
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

}  // namespace

void StartThreads(int ms) {
  StartThread(Maker, nullptr, /*block_signals=*/true);
  StartThread(Sysmon, nullptr, /*block_signals=*/true);
  for (int i = 0; i < ms; ++i) {
    if (!MakeM()) break;
  }
}

void AskForThread() {
  if (sched.maker_requests.exchange(1, std::memory_order_acq_rel) == 0) {
    base::FutexWake(sched.maker_requests, 1);
  }
}

void WakeSysmon() {
  if (sched.sysmon_sleeps.exchange(0, std::memory_order_seq_cst) != 0) {
    base::FutexWake(sched.sysmon_sleeps, 1);
  }
}

}  // namespace plimsoll::sched
