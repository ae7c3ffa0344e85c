// A G is a goroutine: a saved stack pointer, what it waits for, and what a switch must carry along.
//
//   the top of a goroutine's stack (a G shares the page that its first frames touch anyway)
//
//     lo                                                                       hi
//     +------- … ------------+-----------+---------+-----------------+---------+
//     |  frames, downwards   |  closure  |    G    |  colour, 0–960  |  link   |
//     +------- … ------------+-----------+---------+-----------------+---------+
//
//   status      owner                          in a queue?
//   kIdle       a free list                    no
//   kRunnable   the queue it is in             yes
//   kRunning    its M                          no
//   kWaiting    whoever will call Ready        in that primitive's queue, through its waiter
//   kSyscall    its M, in a BlockingCall       no
//   kPreempted  its M, which waits in place    yes, bound to that M; not yet while its P is
//   kPreempted kDead       the M that frees it            no
//
// Invariants:
//   (1) sp is valid while status is kRunnable or kWaiting and the commit of the park has run;
//       call_sp while it is kSyscall or kPreempted, and while it is queued on its way out of a
//       call: what a stop of the world is shown of it does not change under the eyes of who looks
//       twice.
//   (2) link is used by one list at a time: a run queue's overflow, the global queue, a free list.
//   (3) eh and saved_errno hold the goroutine's own while it does not run; the thread's while it
//   does.
//   (4) In the global queue, ahead is the goroutine some places behind in it, or null near its end.
#ifndef PLIMSOLL_RUNTIME_SCHED_G_H_
#define PLIMSOLL_RUNTIME_SCHED_G_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/stack/stack_pool.h"

namespace plimsoll::sched {

struct M;
struct LocalNode;

// What __cxa_get_globals() points to (Itanium C++ ABI, 2.2.2): the caught exceptions of a thread,
// and how many are in flight. Each goroutine has its own.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

enum class GStatus : uint8_t { kIdle, kRunnable, kRunning, kWaiting, kSyscall, kPreempted, kDead };

enum WakesSlowly : uint8_t {
  kProxy = 1,     // stands for a foreign thread
  kWakeTold = 2,  // the tracer is told. Set by who parks, cleared by who readies
};

struct alignas(64) G {
  // The first line: all that a park and a switch touch. Goroutines by the thousand are not in the
  // cache, and each line of theirs is then a miss of its own.
  void* sp = nullptr;    // by (1)
  G* link = nullptr;     // by (2)
  G* ahead = nullptr;    // by (4)
  M* bound_m = nullptr;  // set: runs on this M alone. Written before it is queued
  std::atomic<GStatus> status{GStatus::kIdle};
  WaitReason reason = WaitReason::kNone;
  bool is_system_stack = false;  // an M's g0
  uint8_t wakes_slowly = 0;      // bits of WakesSlowly: Ready tests all of them at once
  int saved_errno = 0;
  ExceptionState eh;             // by (3)
  int64_t waiting_since_ns = 0;  // sysmon's coarse clock

  const internal::EntryOps* entry = nullptr;
  void* closure = nullptr;
  uint64_t id = 0;
  uint64_t parent_id = 0;       // of the goroutine that made it; 0: a foreign thread
  uintptr_t created_at = 0;     // the return address of its Go
  LocalNode* locals = nullptr;  // task-local values (locals.h)
  stack::Stack stack;
  uintptr_t call_sp = 0;           // by (1)
  const void* ucontext = nullptr;  // kPreempted in a handler: what the kernel saved
  bool is_main = false;
  bool is_sticky = false;               // GoOptions: locked to its thread from its start
  bool left_call = false;               // kRunnable: it comes from a BlockingCall; by (1)
  int32_t locks = 0;                    // of LockOsThread
  M* last_m = nullptr;                  // migrate=always: where it parked
  bool is_runtimes_own = false;         // not counted, not dumped
  bool is_attached = false;             // a foreign thread; `stack` is that thread's (attach.h)
  std::atomic<uint32_t> proxy_word{0};  // a proxy's futex: 1 once Ready
  bool is_proxy() const { return (wakes_slowly & kProxy) != 0; }
  // How deep the stack had been when it was trimmed, in bytes, while the goroutine was trimmed_id.
  uint64_t trimmed_id = 0;
  uint64_t trimmed_depth = 0;
  void* tsan_fiber = nullptr;
  void* asan_fake_stack = nullptr;
  char label[32] = {};
};

static_assert(offsetof(G, entry) == 64, "what a switch touches fills the first line");

// Spreads the tops of stacks over the first-level cache's sets: were they all at one offset in a
// page, every switch would evict the same few lines.
inline constexpr uintptr_t kStackColours = 16;

// Where the G of a stack lies: below the pool's link and the colour, on a cache line.
inline G* GOfStack(const stack::Stack& s) {
  const uintptr_t colour = (s.hi >> stack::kMinClassShift) % kStackColours;
  return reinterpret_cast<G*>((s.hi - 64 - colour * 64 - sizeof(G)) & ~uintptr_t{63});
}

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_G_H_
