// Finding a runnable goroutine in seeded mode: any of them, or the clock.

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/trace_hooks.h"
#include "plimsoll/runtime/timer/page_array.h"

namespace plimsoll::sched {
namespace {

// Everything that is runnable, in the order it came. Of the one thread of seeded mode.
struct Runnable {
  G** gs = nullptr;
  size_t size = 0;
  size_t capacity = 0;
  bool fire_timers = false;  // the clock was chosen, on a goroutine's stack
};
constinit Runnable the_runnable;

void Add(Runnable& r, G* g) {
  if (r.size == r.capacity) {
    const size_t capacity = r.capacity == 0 ? 512 : r.capacity * 2;
    void* pages = timer::GrowPages(r.gs, r.capacity * sizeof(G*), capacity * sizeof(G*));
    if (pages == nullptr) base::Fatal("runtime: no memory for ", r.size, " runnable goroutines");
    r.gs = static_cast<G**>(pages);
    r.capacity = capacity;
  }
  r.gs[r.size++] = g;
}

// From the queues, where Ready, Go and Yield put them as always.
void Collect(Runnable& r, P* p) {
  bool from_next;
  while (G* g = p->queue.Get(&from_next)) Add(r, g);
  if (sched.global_size.load(std::memory_order_relaxed) == 0) return;
  base::SpinLockHolder hold(sched.mu);
  while (G* g = sched.global.PopFront()) Add(r, g);
  sched.global_size.store(0, std::memory_order_relaxed);
}

}  // namespace

G* PickSeeded(M* m, P* p) {
  Runnable& r = the_runnable;
  Collect(r, p);
  PassTime();
  sched.coarse_now_ns.store(VirtualNanos(), std::memory_order_relaxed);
  const bool timers = p->next_when.load(std::memory_order_relaxed) != kNever;
  // The clock is one more that may go: a timer may fire whoever could run instead.
  if (timers && (r.size == 0 || SeededBelow(8) == 0)) {
    r.fire_timers = true;
    return m->g->is_system_stack ? nullptr : &m->g0;
  }
  if (r.size == 0) return nullptr;
  const size_t at = SeededBelow(static_cast<uint32_t>(r.size));
  G* g = r.gs[at];
  r.gs[at] = r.gs[--r.size];
  p->schedtick.store(p->schedtick.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  p->stat_switches.store(p->stat_switches.load(std::memory_order_relaxed) + 1,
                         std::memory_order_relaxed);
  return g;
}

G* FindSeeded(M* m) {
  Runnable& r = the_runnable;
  P* p = m->p;
  for (;;) {
    if (r.fire_timers) {
      r.fire_timers = false;
      AdvanceClockTo(p->next_when.load(std::memory_order_relaxed));
      (Tracing() ? RunTimersTold : RunTimers)(m, p, VirtualNanos());
    }
    if (G* g = PickSeeded(m, p)) return g;
    if (r.fire_timers) continue;
    if (sched.source->HasWaiters()) {
      base::Fatal(
          "runtime: a goroutine of a seeded run waits for a descriptor, which no seed wakes");
    }
    base::Fatal("all goroutines are asleep - deadlock! (seed ", ChoicesMade().seed, ", after ",
                ChoicesMade().choices, " choices)");
  }
}

void YieldBySeed(M* m) {
  if (m->p == nullptr || m->g->is_system_stack) return;
  if (SeededBelow(4) == 0) Yield();
}

}  // namespace plimsoll::sched
