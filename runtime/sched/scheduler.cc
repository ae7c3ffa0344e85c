// The start of the scheduler, and what it tells about itself.

#include "plimsoll/runtime/sched/scheduler.h"

#include <cxxabi.h>
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/preempt.h"
#include "plimsoll/runtime/sched/stack_use.h"
#include "plimsoll/runtime/sched/trim.h"

namespace plimsoll::sched {
namespace {

// Until the poller is given, and in tests without one: only waits, and is broken.
class FutexSource : public IdleSource {
 public:
  void Poll(int64_t wait_ns, GList&) override {
    if (wait_ns == 0) return;
    if (word_.load(std::memory_order_acquire) == 0) base::FutexWait(word_, 0, wait_ns);
    word_.exchange(0, std::memory_order_acquire);
  }
  void Break() override {
    word_.store(1, std::memory_order_release);
    base::FutexWake(word_, 1);
  }
  bool HasWaiters() const override { return false; }

 private:
  std::atomic<uint32_t> word_{0};
};
// Never destroyed: Ms look there while the process ends.
FutexSource& DefaultSource() {
  alignas(FutexSource) static char storage[sizeof(FutexSource)];
  static FutexSource* source = ::new (storage) FutexSource;
  return *source;
}

}  // namespace

void SetIdleSource(IdleSource* source) {
  PLIMSOLL_CHECK(sched.started.load(std::memory_order_relaxed) == kNotStarted,
                 "SetIdleSource after the scheduler has started");
  sched.source = source;
}

void ShortSlices(bool on) {
  sched.slice_ns.store(on ? kShortSliceNs : kSliceNs, std::memory_order_relaxed);
}

void SetThreadEndHook(void (*hook)()) { sched.on_thread_end = hook; }

stack::StackPool& Stacks() { return sched.stacks; }

void PublishM(M* m) {
  m->id = sched.m_count.fetch_add(1, std::memory_order_relaxed);
  m->all_link = sched.all_ms.load(std::memory_order_relaxed);
  // release: pairs with the acquire of a dump, which reads the M
  while (!sched.all_ms.compare_exchange_weak(m->all_link, m, std::memory_order_release,
                                             std::memory_order_relaxed)) {
  }
}

void BecomeM(M* m, pthread_t thread) {
  m->thread = thread;
  m->tid.store(static_cast<int32_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
  m->picks_slowly = sched.migrate_always;
  m->no_preempt = 1;  // g0 is never preempted
  m->g0.is_system_stack = true;
  m->g = &m->g0;
  m->eh = reinterpret_cast<ExceptionState*>(abi::__cxa_get_globals());
  m->errno_address = &errno;
  m->altstack = InstallAltStack();
  plimsoll_tls_m = m;
  PublishM(m);
  if (sched.on_thread_start != nullptr) sched.on_thread_start(m->id);
}

void Run(const RunOptions& options, const internal::EntryOps& entry, void* closure,
         const int* exit_code) {
  PLIMSOLL_CHECK(sched.started.load(std::memory_order_relaxed) == kNotStarted,
                 "plimsoll::Main was called twice: there is one runtime a process");
  PLIMSOLL_CHECK(options.procs >= 1 && options.procs <= kMaxProcs, "procs is ", options.procs);
  if (sched.source == nullptr) sched.source = &DefaultSource();
  sched.spin_budget.SetQuota(options.spin_quota);
  sched.on_thread_start = options.on_thread_start;
  sched.migrate_always = options.migrate_always && !options.seeded;
  sched.resumes_slowly.store(sched.migrate_always, std::memory_order_relaxed);
  sched.coarse_now_ns.store(NowNanos(), std::memory_order_relaxed);
  sched.last_poll_ns.store(NowNanos(), std::memory_order_relaxed);

  PLIMSOLL_CHECK(MakePs(options.procs), "no memory for ", options.procs,
                 " Ps: ", base::ErrnoName(errno));
  sched.procs.store(options.procs, std::memory_order_release);
  {
    base::SpinLockHolder hold(sched.mu);
    for (int i = options.procs - 1; i >= 1; --i) {
      P* p = sched.all_ps[i];
      p->status.store(PStatus::kIdle, std::memory_order_relaxed);
      p->idle_link = sched.idle_ps;
      sched.idle_ps = p;
      sched.idle_p_count.fetch_add(1, std::memory_order_relaxed);
    }
  }

  PrepareToAttach();
  WatchForks();
  static constinit M main_m;
  BecomeM(&main_m, pthread_self());
  sched.own_threads.fetch_add(1, std::memory_order_relaxed);
  AcquireP(&main_m, sched.all_ps[0]);
  sched.started.store(kStarted, std::memory_order_release);
  if (options.seeded) {
    PLIMSOLL_CHECK(options.procs == 1, "a seeded run has one P, not ", options.procs);
    chooser_seeded = true;
    sched.calls_unusually = true;
    // For good: each end of a region asks the Chooser whether to yield (YieldBySeed).
    main_m.attention.store(1, std::memory_order_relaxed);
    Reseed(options.seed);
    sched.mode.fetch_or(kSeeded, std::memory_order_relaxed);
  } else {
    // One M more than Ps: the one that waits in the idle source is then not the one that is woken
    // for every goroutine, and there is one that can take the P of a goroutine that is preempted.
    sched.preempt_slices = options.preempt;
    const int signal = options.preempt_signal != 0 ? options.preempt_signal : SIGURG;
    if (InstallPreemptHandler(signal)) sched.preempt_signal = signal;
    if (options.trim_parked_ns > 0) StartTrimming(options.trim_parked_ns);
    StartThreads(options.procs + (options.migrate_always ? options.procs : 0));
  }

  struct MainClosure {
    const internal::EntryOps* entry;
    void* closure;
    const int* exit_code;
    void (*before)();
    void operator()() {
      CurrentG()->is_main = true;
      if (before != nullptr) before();
      entry->run(closure);
      PrintStackLedger();
      ExitProcess(*exit_code);
    }
  };
  MainClosure main_closure{&entry, closure, exit_code, options.before_main};
  if (!internal::Spawn(internal::kEntryOps<MainClosure>, &main_closure,
                       {.stack = options.main_stack})) {
    internal::FatalNoStack();
  }
  ScheduleLoop(&main_m);
  // The process's first thread cannot end before the process does.
  StayFrozen();
}

Stats GetStats() {
  Stats s;
  s.procs = sched.procs.load(std::memory_order_acquire);
  s.idle_procs = sched.idle_p_count.load(std::memory_order_relaxed);
  s.threads = static_cast<int>(sched.m_count.load(std::memory_order_relaxed)) -
              sched.ms_ended.load(std::memory_order_relaxed);
  s.idle_threads = sched.idle_m_count.load(std::memory_order_relaxed);
  s.spinning = sched.spinning.load(std::memory_order_relaxed);
  s.goroutines = LiveGoroutines();
  s.resumed = sched.resumed.load(std::memory_order_relaxed);
  s.resumed_here = sched.resumed_here.load(std::memory_order_relaxed);
  s.preemptions = sched.preemptions.load(std::memory_order_relaxed);
  s.preempt_signals = sched.preempt_asked.load(std::memory_order_relaxed);
  s.preempt_deferred = sched.preempt_deferred.load(std::memory_order_relaxed);
  s.preempt_asleep = sched.preempt_asleep.load(std::memory_order_relaxed);
  s.preempt_no_thread = sched.preempt_no_thread.load(std::memory_order_relaxed);
  s.slice_ns = sched.slice_ns.load(std::memory_order_relaxed);
  s.thread_failures = sched.thread_failures.load(std::memory_order_relaxed);
  s.deadlock_looks = sched.deadlock_looks.load(std::memory_order_relaxed);
  const int made = sched.procs_made.load(std::memory_order_acquire);
  for (int i = 0; i < made; ++i) {
    const P* p = sched.all_ps[i];
    s.switches += p->stat_switches.load(std::memory_order_relaxed);
    s.steals += p->stat_steals.load(std::memory_order_relaxed);
    s.stolen += p->stat_stolen.load(std::memory_order_relaxed);
    s.spawns += p->stat_spawns.load(std::memory_order_relaxed);
    s.spins += p->stat_spins.load(std::memory_order_relaxed);
    s.looks += p->stat_looks.load(std::memory_order_relaxed);
    s.short_looks += p->stat_short_looks.load(std::memory_order_relaxed);
    s.look_ns += p->stat_look_ns.load(std::memory_order_relaxed);
  }
  return s;
}

int CurrentProc() {
  NoPreempt guard;
  const M* m = CurrentM();
  return m != nullptr && m->p != nullptr ? m->p->id : -1;
}

int CurrentThread() {
  const M* m = CurrentM();
  return m != nullptr ? static_cast<int>(m->id) : -1;
}

}  // namespace plimsoll::sched
