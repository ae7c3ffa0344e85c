// What the parts of the scheduler share: its state, and the steps between them. Private to sched/.
#ifndef PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_
#define PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_

#include <atomic>
#include <cstdint>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/g.h"
#include "plimsoll/runtime/sched/global_queue.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/m.h"
#include "plimsoll/runtime/sched/p.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/spin_budget.h"
#include "plimsoll/runtime/sched/tls.h"

namespace plimsoll::sched {

enum Mode : uint32_t {
  kFrozen = 1,    // the process is ending
  kSeeded = 2,    // chooser.h: one thread, choices by a seed
  kStopping = 4,  // stop_world.h: no M may pick a goroutine. Written under mu
  kTracing = 8,   // trace.h: every pick is told. Written while the world is stopped
  kNoting = 16,   // NoteEnds: every end is noted. Written before Run
};
// Those under which goroutines are picked as ever.
inline constexpr uint32_t kPickedAsUsual = kTracing | kNoting;

// Of Scheduler::started. Spawn compares with kStarted alone.
enum Started : uint32_t { kNotStarted, kStarted, kStartedAndTraced, kForked };

inline constexpr int64_t kSliceNs = 10'000'000;  // a goroutine's time slice, as Go's
inline constexpr int64_t kShortSliceNs = 3'000'000;

struct Scheduler {
  base::SpinLock mu;

  // The global queue: goroutines that no P owns.
  GlobalQueue global ABSL_GUARDED_BY(mu);
  // Those that wait in place for a P, each bound to its M (DESIGN.md, "States").
  GList bound ABSL_GUARDED_BY(mu);
  bool bound_next ABSL_GUARDED_BY(mu) = false;  // whose turn it was
  std::atomic<int32_t> global_size{0};          // of both
  std::atomic<int32_t> in_place{0};             // of bound alone: sysmon reads it

  // Idle Ps and idle Ms, last in first out: the warmest first.
  P* idle_ps ABSL_GUARDED_BY(mu) = nullptr;
  std::atomic<int32_t> idle_p_count{0};
  std::atomic<uint64_t> ps_taken{0};  // + 1 whenever an idle P is taken
  M* idle_ms ABSL_GUARDED_BY(mu) = nullptr;
  std::atomic<int32_t> idle_m_count{0};

  std::atomic<int32_t> spinning{0};
  // Somebody wanted to wake an M and found no idle P, or no M for it: who is about to give its P up
  // looks once more.
  bool need_spinning ABSL_GUARDED_BY(mu) = false;
  std::atomic<int32_t> procs{0};       // in service; changes while the world is stopped
  std::atomic<int32_t> procs_made{0};  // at least procs: Ps are never unmade
  P* all_ps[kMaxProcs] = {};           // [0, procs_made) are set before procs_made is
  std::atomic<uint32_t> m_count{0};
  std::atomic<M*> all_ms{nullptr};  // every M there was, by all_link: for handlers, without a lock
  SpinBudget spin_budget;
  void (*on_thread_start)(unsigned m) = nullptr;
  void (*on_thread_end)() = nullptr;  // SetThreadEndHook

  // The poller's role: last_poll_ns is 0 while an M waits in the idle source.
  IdleSource* source = nullptr;
  std::atomic<int64_t> last_poll_ns{1};
  std::atomic<int64_t> poll_until{
      kNever};  // when that M will wake by itself; kNever while none waits

  std::atomic<int> max_threads{10'000};  // SetMaxThreads
  std::atomic<int> ms_ended{0};          // of m_count

  // Every parked goroutine goes on on another M: for tests of thread-local state.
  bool migrate_always = false;
  std::atomic<bool> resumes_slowly{false};  // that, or a tracer is told: g0 looks which
  // A BlockingCall is told, or a seed chooses and it runs inline. Written while the world is
  // stopped, read by who holds a P: so it need not be atomic, and a call tests it where it lies.
  bool calls_unusually = false;
  std::atomic<uint64_t> resumed{0};       // counted in that mode alone
  std::atomic<uint64_t> resumed_here{0};  // on the M it had parked on

  // Preemption (preempt.h).
  int preempt_signal = 0;                      // 0: none
  bool preempt_slices = true;                  // false: only to stop the world
  std::atomic<int64_t> slice_ns{kSliceNs};     // shorter: see ShortSlices
  std::atomic<uint32_t> sysmon_word{0};        // + 1: sysmon is to look at once
  std::atomic<uint64_t> preempt_asked{0};      // signals sent
  std::atomic<uint64_t> preempt_deferred{0};   // came where the P could not be given away
  std::atomic<uint64_t> preemptions{0};        // slices ended in place
  std::atomic<uint64_t> preempt_no_thread{0};  // slices that ran on: no thread to take the P
  std::atomic<uint64_t> preempt_asleep{0};     // Ps taken from threads that slept in a futex

  // Sysmon sleeps for good while every P is idle.
  std::atomic<uint32_t> sysmon_sleeps{0};
  std::atomic<int64_t> coarse_now_ns{0};

  // The thread that makes threads.
  std::atomic<uint32_t> maker_requests{0};
  std::atomic<uint64_t> thread_failures{0};
  std::atomic<bool> deadlock_watched{false};  // by one DeadlockWatch
  std::atomic<uint64_t> deadlock_looks{0};
  std::atomic<int32_t> threads_in_making{0};  // counted in own_threads, maybe not yet there
  std::atomic<int32_t> own_threads{0};        // of this process, that can never Ready from outside

  // Made and ended where there was no P; a P counts its own. LiveGoroutines adds them up: one
  // counter for all would be a line that every spawn on every P writes.
  std::atomic<uint64_t> spawned{0};
  std::atomic<uint64_t> reaped{0};
  std::atomic<G*> housekeeper{nullptr};  // parked until sysmon wakes it
  std::atomic<bool> main_left{false};    // main called Goexit
  std::atomic<uint64_t> next_id{1};
  std::atomic<int32_t> blocking_calls{0};

  base::SpinLock free_mu;
  G* free_batches ABSL_GUARDED_BY(free_mu) = nullptr;
  int32_t free_batch_count ABSL_GUARDED_BY(free_mu) = 0;
  int32_t free_batch_low ABSL_GUARDED_BY(free_mu) = 0;  // the least since sysmon looked last

  int32_t stop_wait ABSL_GUARDED_BY(mu) = 0;  // Ps that are not stopped yet
  std::atomic<uint32_t> stop_word{0};         // 1: all are

  std::atomic<uint32_t> started{kNotStarted};
  // Bits of Mode; 0 is the usual. One word, so that a pick reads one.
  std::atomic<uint32_t> mode{0};
  bool stopping() const { return (mode.load(std::memory_order_relaxed) & kStopping) != 0; }
  bool frozen() const { return (mode.load(std::memory_order_relaxed) & kFrozen) != 0; }
  std::atomic<int32_t> frozen_ms{0};
  std::atomic<int64_t> exit_deadline_ns{0};
  std::atomic<int> exit_code{0};

  stack::StackPool stacks;
};

extern Scheduler sched;

// --- goroutine.cc: making, starting and ending goroutines.

// Sets no_preempt back to `count`; at zero the M looks what is wanted of it.
inline void EndRegion(M* m, int32_t count) {
  TsanReleaseP(m->p);
  m->no_preempt = count;
  if (count == 0 && m->attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    AtSafePoint();
}
// Takes dead goroutines from this P's list to the shared one when it has many.
void ReapG(M* m, G* g);
// Gives the dead goroutines of a P that goes out of service to the others.
void ShareFreeGs(P* p);
// How many were made and have not ended. While others make and end some it may count a few that
// have ended meanwhile, never too few.
int64_t LiveGoroutines();

// By sysmon: gives memory of dead goroutines that nobody used for a second back to the system, a
// little at a time. Returns when it wants to be called again, in ns: 0 at once, -1 not before
// something runs.
int64_t ReleaseIdleGs(int64_t now);

// Calls note(g) for each goroutine that ends, off its stack, in its commit. Before Run. (The mode
// says so to its last pick, which looks there anyway: an end that is not noted costs nothing. One
// that ends locked to its thread makes no pick, and is not noted.)
void NoteEnds(void (*note)(const G* g));
// At a pick, in that mode: if the goroutine that picks ends, its commit shall note it.
void NoteIfEnds(M* m);

// Leaves the current goroutine for good. Its destructors have run.
[[noreturn]] void ExitGoroutine();

// --- find_work.cc: finding work.

// The next to run on this P, or null for none. On a parking goroutine's stack, where no timer's
// function may run since the commit has not, it may be g0.
G* PickLocal(M* m, P* p);
// A slice begins. Only for who holds p.
inline void NextTick(P* p) {
  p->schedtick.store(p->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}
// Every choice of a goroutine is counted.
inline void CountSwitch(P* p, bool new_slice) {
  if (new_slice) NextTick(p);
  p->stat_switches.store(p->stat_switches.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
}
// Whether there is one P only, and so nobody who steals.
inline bool OneP() { return sched.procs.load(std::memory_order_relaxed) == 1; }
// PickLocal, and in short where there are no timers, no global queue, no mode and no slice that is
// over to think of.
inline G* PickNext(M* m, P* p) {
  if (sched.mode.load(std::memory_order_relaxed) == 0 && !m->picks_slowly &&
      p->next_when.load(std::memory_order_relaxed) == kNever &&
      !p->preempt.load(std::memory_order_relaxed) &&
      sched.global_size.load(std::memory_order_relaxed) == 0) [[likely]] {
    bool from_next;
    G* g = p->queue.Get(&from_next, OneP());
    if (g == nullptr) return nullptr;
    CountSwitch(p, !from_next);
    if (g->bound_m == nullptr || g->bound_m == m) [[likely]]
      return g;
    m->hand_to = g;
    return &m->g0;
  }
  return PickLocal(m, p);
}
// The loop of an M's g0. Returns when the thread is to end.
void ScheduleLoop(M* m);
// Whether anything is runnable in any queue.
bool WorkSomewhere();

// --- seeded.cc: finding work in seeded mode.

// As PickLocal, but any that is runnable, or g0 where the clock was chosen.
G* PickSeeded(M* m, P* p);
// On g0: runs the timers that the clock was moved to, then picks. Fatal where nobody could ever run
// again.
G* FindSeeded(M* m);
// At the end of a no-preempt region: yields now and then, for a preemption that may come anywhere.
void YieldBySeed(M* m);

// --- queues.cc: where runnable goroutines wait.

// Puts g at the front (or the back) of this P's queue. Returns whether the ring has something now.
bool PutLocal(P* p, G* g, bool next);
void PutGlobal(G* g);
void PutGlobalBatch(G** batch, uint32_t n);
void PutGlobalList(GList& list);
// The first of those that wait in place and would do more than sleep; where there is none, the
// first; or null.
G* TakeBoundLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// Queues g, which waits in place and whose bound_m is set.
void PutBoundLocked(G* g, bool at_front) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// Of those that wait in place, the first that is not to be passed over; null: none.
const G* FirstBoundLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// After a change of the global queues.
inline void PublishGlobalSize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu) {
  sched.global_size.store(sched.global.size() + sched.bound.size(), std::memory_order_relaxed);
}
// Queues `list`: into this M's P if it has one, else globally; wakes Ps for them.
void InjectList(M* m, GList& list);

// --- idle.cc: idling and waking.

// Wakes one P if one idles and nobody looks for work already. Preceded by a queue store; has the
// fence of (2).
void WakeIfIdle();
// The same after PutLocal said that the ring has something; does nothing where there is one P.
inline void WakeForRing() {
  if (sched.procs.load(std::memory_order_relaxed) > 1) WakeIfIdle();
}
// Gives `p` to an idle M, or asks for a thread. p null: an idle P, if there is one.
void StartM(P* p, bool spinning);
// This M lets its P go for a blocking call or for good; somebody else may need it.
void HandOffP(P* p);
void AcquireP(M* m, P* p);
// Gives `p`, which nobody holds, to an M that waits for one.
void GrantP(P* p, M* m);
// Takes an idle P, or null.
P* TakeIdleP();
P* TakeIdlePLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// Puts a P that nobody holds into the idle list, or, where the world is being stopped, out of use.
void PutPDownLocked(P* p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// Puts this M's P down.
void ReleasePLocked(M* m) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);
// Puts this M to sleep until StartM gives it a P.
void StopM(M* m);

// --- stop_world.cc

// Counts p as stopped.
void StopPLocked(P* p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(sched.mu);

// --- scheduler.cc

// Makes the calling thread M number m_count.
void BecomeM(M* m, pthread_t thread);
// Gives m its number and shows it to those who walk all_ms.
void PublishM(M* m);

// --- lock_os_thread.cc

// On g0 of an M whose goroutine is locked: gives its P away and waits until it is granted one, when
// that goroutine may run.
void StopLockedM(M* m);
// What a g0 does that serves one goroutine alone, bound to its M.
[[noreturn]] void LockedLoop(M* m);
// Fatal when `more` Ms would be too many.
void CheckThreadLimit(int more);

// --- procs.cc

// Makes Ps until there are n, out of service. False: no memory.
bool MakePs(int n);
// Lets the function of CallEachSecond run.
void WakeHousekeeper();

// --- timers.cc

// Runs what is due in p's heap. Returns the earliest deadline left.
int64_t RunTimers(M* m, P* p, int64_t now);
// The same, told to the tracer.
int64_t RunTimersTold(M* m, P* p, int64_t now);
// The earliest deadline of all Ps.
int64_t EarliestTimer();
// Tells the M in the idle source that there is a deadline before it would wake.
void TimerMovedForward(int64_t when);

// --- threads.cc: the thread that makes threads, and Ms' beginnings.

void StartThreads(int ms);
void AskForThread();
// Memory for an M, for good. Null: there is none.
M* NewM();

// --- attach.cc

// Before the first thread can attach. May allocate.
void PrepareToAttach();

// --- fork.cc

// Has a forked child marked. May allocate.
void WatchForks();
inline bool InForkedChild() { return sched.started.load(std::memory_order_relaxed) == kForked; }
[[noreturn]] void FatalForked();

// --- sysmon.cc

void* Sysmon(void*);
void WakeSysmon();

// --- exit.cc

[[noreturn]] void ExitProcess(int code);
// Called by an M about to wait for ever: Fatal if nobody could ever wake anything again. True:
// somebody is awake, and asks before it sleeps. False: that cannot be told now.
bool CheckDeadlock();
// Asks that, now and then where it cannot be told: one M does (DESIGN.md, "Deadlock").
class DeadlockWatch {
 public:
  DeadlockWatch() = default;
  ~DeadlockWatch() { GiveUp(); }
  DeadlockWatch(const DeadlockWatch&) = delete;
  DeadlockWatch& operator=(const DeadlockWatch&) = delete;

  // How long the caller may sleep before it asks again, in ns; -1: for ever, since somebody is
  // awake, or another watches.
  int64_t Ask();

 private:
  void GiveUp();
  int64_t pause_ns_ = 0;  // 0: another watches, or nobody
};
// Called by one that put its P down and will not ask again: has an M do it in its place.
void HaveDeadlockWatched();
[[noreturn]] void StayFrozen();

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_INTERNAL_H_
