// The Scheduler runs goroutines on threads: it finds a runnable G for each M that holds a P.
//
//   sched::RunOptions options{.procs = 2};
//   sched::Run(options, entry, closure);       // never returns; //runtime:runtime calls it
//
//   who                       where it looks, in this order
//   a goroutine that parks    runnext, the ring, the global queue                on its own stack
//   an M with nothing to run  due timers, the same, the idle source, other Ps'   on its g0
//                             queues and timers; then it gives its P up, looks
//                             at all of them once more, and sleeps
//
// Invariants, and DESIGN.md tells why:
//   (1) A goroutine runs only on an M that holds a P; a P is held by at most one M.
//   (2) One goes to sleep only after it has, with a full fence between, taken itself out of the
//       spinning count and looked at every queue; one who queues a G looks, with a full fence
//       between, at the spinning count: so one of them sees the other.
//   (3) mu_ is a leaf, but for an M's signal_mu: nothing else is locked and nobody is readied while
//       it is held.
#ifndef PLIMSOLL_RUNTIME_SCHED_SCHEDULER_H_
#define PLIMSOLL_RUNTIME_SCHED_SCHEDULER_H_

#include <atomic>
#include <cstdint>
#include <limits>

#include "plimsoll/alloc/base/units.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/stack/stack_pool.h"

namespace plimsoll::sched {

inline constexpr int kMaxProcs = 1024;

struct RunOptions {
  int procs = 1;  // Ps, 1 to kMaxProcs
  // CPUs that the kernel gives, where there is a quota: looking for work takes at most a twentieth
  // of them, and of one or less nothing (DESIGN.md, "Spinning").
  double spin_quota = std::numeric_limits<double>::infinity();
  bool preempt = true;            // false: time slices end at scheduling points alone
  bool migrate_always = false;    // each parked goroutine goes on on another thread: for tests
  int preempt_signal = 0;         // by which signal; 0: SIGURG
  ByteCount main_stack = MiB(8);  // of the main goroutine
  // How long a goroutine is parked before the memory of its stack that it does not use goes back to
  // the system (trim.h); 0: it never does.
  int64_t trim_parked_ns = 60'000'000'000;
  void (*before_main)() = nullptr;  // called on the main goroutine's stack, first
  // All choices from `seed`, on one thread (chooser.h). Requires: procs == 1.
  bool seeded = false;
  uint64_t seed = 0;
  // Called on each M's thread before it runs goroutines, with the M's number; may allocate.
  void (*on_thread_start)(unsigned m) = nullptr;
};

// Makes the Ps and Ms, turns the calling thread into M 0, and runs the closure as goroutine 1. When
// that returns, the process exits with what it left in *exit_code. Call once, from the main thread.
[[noreturn]] void Run(const RunOptions& options, const internal::EntryOps& entry, void* closure,
                      const int* exit_code);

// What the scheduler counts; each number on its own is exact at some recent moment.
struct Stats {
  int procs = 0;
  int idle_procs = 0;
  int threads = 0;  // Ms that have a thread
  int idle_threads = 0;
  int spinning = 0;
  int64_t goroutines = 0;  // without the scheduler's own; maybe with some that just ended
  uint64_t switches = 0;
  uint64_t steals = 0;  // successful ones
  uint64_t stolen = 0;  // goroutines they moved
  uint64_t spawns = 0;
  uint64_t spins = 0;              // times that a goroutine spun for a lock (CanSpin)
  uint64_t looks = 0;              // times that an M looked at other Ps for work
  uint64_t short_looks = 0;        // of these, those where the quota allowed no more than one look
  uint64_t look_ns = 0;            // all of them together, by the clock
  uint64_t resumed = 0;            // in migrate_always: parked goroutines that went on
  uint64_t resumed_here = 0;       // of these, on the thread they had parked on
  uint64_t preemptions = 0;        // slices that were ended in place
  uint64_t preempt_signals = 0;    // sent, to end a slice or to stop the world
  uint64_t preempt_deferred = 0;   // of these, those that came where the P could not be given away
  uint64_t preempt_asleep = 0;     // of the preemptions, those of a thread that slept in a futex
  uint64_t preempt_no_thread = 0;  // slices that went on because no thread could take the P
  int64_t slice_ns = 0;            // as it is now: see ShortSlices
  uint64_t thread_failures = 0;    // threads that could not be made
  uint64_t deadlock_looks = 0;     // times that all slept and the threads were counted
};
Stats GetStats();

// Makes a thread of the runtime's own, for good: it blocks signals, runs no goroutine and readies
// none, so a deadlock is one in spite of it. Calls malloc. False: none could be made.
bool StartOwnThread(void* (*fn)(void*));

// While it is on, a goroutine that others wait for keeps its P for 3 ms at a stretch, not for 10:
// for work that takes its share of the Ps in turns as short. Any thread.
void ShortSlices(bool on);

// Called on a thread that will run goroutines no more (it is detached, or its locked goroutine has
// ended), while it still holds a P, with preemption off. Set before the threads are there.
void SetThreadEndHook(void (*hook)());

// Whether `address` is on the stack of a thread that is attached (attach.h). A guess where that
// thread detaches meanwhile.
bool OnAttachedStack(uintptr_t address);

// Whether `address` is on the altstack that the calling thread has from the runtime: of a local,
// its function was called by a signal handler.
bool OnAltStack(uintptr_t address);

// Prints "goroutine N [reason, M minutes]:" for every goroutine, by raw writes. Any thread.
void DumpGoroutines();

stack::StackPool& Stacks();

// The number of the thread (M) that runs the caller, from 0; -1 on a foreign thread.
int CurrentThread();

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SCHEDULER_H_
