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
//   kDead       the M that frees it            no
//
// Invariants:
//   (1) sp is valid while status is kRunnable or kWaiting and the commit of the park has run.
//   (2) link is used by one list at a time: a run queue's overflow, the global queue, a free list.
//   (3) eh and saved_errno hold the goroutine's own while it does not run; the thread's while it
//   does.
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

// What __cxa_get_globals() points to (Itanium C++ ABI, 2.2.2): the caught exceptions of a thread,
// and how many are in flight. Each goroutine has its own.
struct ExceptionState {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

enum class GStatus : uint8_t { kIdle, kRunnable, kRunning, kWaiting, kDead };

struct alignas(64) G {
  void* sp = nullptr;  // by (1)
  G* link = nullptr;   // by (2)
  std::atomic<GStatus> status{GStatus::kIdle};
  WaitReason reason = WaitReason::kNone;
  bool is_system_stack = false;  // an M's g0
  bool is_proxy = false;         // a foreign thread
  bool is_main = false;
  int saved_errno = 0;
  ExceptionState eh;  // by (3)
  uint64_t id = 0;
  int64_t waiting_since_ns = 0;  // sysmon's coarse clock
  stack::Stack stack;
  const internal::EntryOps* entry = nullptr;
  void* closure = nullptr;
  std::atomic<uint32_t> proxy_word{0};  // a proxy's futex: 1 once Ready
  void* tsan_fiber = nullptr;
  void* asan_fake_stack = nullptr;
  char label[32] = {};
};

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
