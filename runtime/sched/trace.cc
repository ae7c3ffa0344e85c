#include "plimsoll/runtime/sched/trace.h"

#include <sched.h>

#include <iterator>
#include <limits>

#include "plimsoll/runtime/sched/chooser.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace_hooks.h"

namespace plimsoll::sched {
namespace {

constexpr std::string_view kKindTexts[] = {
    "spawn",    "run",     "park",          "yield",     "end",    "ready", "steal",
    "hand-off", "preempt", "blocking call", "return",    "retake", "timer", "poll",
    "stop",     "start",   "gc begin",      "gc marked", "gc end",
};
static_assert(std::size(kKindTexts) == static_cast<size_t>(TraceKind::kCount));

// Who is told. `arg` is written before `fn`, and stays.
struct Door {
  std::atomic<TraceFn> fn{nullptr};
  std::atomic<void*> arg{nullptr};
  std::atomic<int64_t> inside{0};  // calls that may be in the tracer
};
constinit Door door;

// Sysmon and foreign threads tell too, whom no stop of the world stops: so who ends it waits for
// those inside. seq_cst, here and in StopTracing: either we see that `fn` is gone, or it sees us.
void Tell(TraceEvent event) {
  door.inside.fetch_add(1, std::memory_order_seq_cst);
  if (const TraceFn fn = door.fn.load(std::memory_order_seq_cst); fn != nullptr) {
    event.when_ns = NowNanos();
    fn(door.arg.load(std::memory_order_relaxed), event);
  }
  door.inside.fetch_sub(1, std::memory_order_release);
}

int32_t ProcOf(const M* m) { return m != nullptr && m->p != nullptr ? m->p->id : -1; }
int32_t ThreadOf(const M* m) { return m != nullptr ? static_cast<int32_t>(m->id) : -1; }
uint32_t Micros(int64_t ns) {
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(ns / 1000 < kMost ? ns / 1000 : kMost);
}
uint64_t RunningOn(const M* m) { return m != nullptr && !m->g->is_system_stack ? m->g->id : 0; }

}  // namespace

std::string_view TraceKindText(TraceKind kind) { return kKindTexts[static_cast<size_t>(kind)]; }

bool StartTracingBy(TraceFn fn, void* tracer) {
  StopTheWorld(StopReason::kTracing);
  const bool free = door.fn.load(std::memory_order_relaxed) == nullptr;
  if (free) {
    door.arg.store(tracer, std::memory_order_relaxed);
    sched.mode.fetch_or(kTracing, std::memory_order_relaxed);
    sched.resumes_slowly.store(true, std::memory_order_relaxed);
    sched.calls_unusually = true;
    sched.started.store(kStartedAndTraced, std::memory_order_relaxed);
    door.fn.store(fn, std::memory_order_seq_cst);
  }
  StartTheWorld();
  return free;
}

void StopTracing() {
  StopTheWorld(StopReason::kTracing);
  if (door.fn.load(std::memory_order_relaxed) != nullptr) {
    sched.mode.fetch_and(~uint32_t{kTracing}, std::memory_order_relaxed);
    sched.resumes_slowly.store(sched.migrate_always, std::memory_order_relaxed);
    sched.calls_unusually = Seeded();
    sched.started.store(kStarted, std::memory_order_relaxed);
    door.fn.store(nullptr, std::memory_order_seq_cst);
  }
  // acquire: pairs with the release in Tell; what the tracer did is seen
  while (door.inside.load(std::memory_order_seq_cst) != 0) sched_yield();
  StartTheWorld();
}

void TraceSpawn(M* m, const G* g) {
  Tell({.g = g->id,
        .other = g->parent_id,
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .kind = TraceKind::kSpawn});
}

void TraceLeave(M* m) {
  G* g = m->g;
  if (g->is_system_stack) return;
  const GStatus status = g->status.load(std::memory_order_relaxed);
  if (status == GStatus::kWaiting) {
    g->wakes_slowly |= kWakeTold;
    Tell({.g = g->id,
          .proc = ProcOf(m),
          .thread = ThreadOf(m),
          .kind = TraceKind::kPark,
          .reason = g->reason});
  } else if (status == GStatus::kDead) {
    Tell({.g = g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kEnd});
  }
}

void TracePicked(M* m, const G* g) {
  if (g == nullptr || m->g->is_system_stack) return;  // g0 tells when it switches
  if (m->g->status.load(std::memory_order_relaxed) == GStatus::kRunning) {
    Tell({.g = m->g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kYield});
  }
  const bool here = g != &m->g0 && (g->bound_m == nullptr || g->bound_m == m);
  if (here && !sched.migrate_always) TraceRun(m, g);
}

void TraceRun(const M* m, const G* g) {
  Tell({.g = g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kRun});
}

void TraceDetach(const M* m, const G* g) {
  Tell({.g = g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kEnd});
}

void TraceReady(const G* g) {
  const M* m = CurrentM();
  Tell({.g = g->id,
        .other = RunningOn(m),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .kind = TraceKind::kReady});
}

void TraceSteal(const M* m, const P* victim, const G* g, uint32_t count) {
  Tell({.g = g->id,
        .other = static_cast<uint64_t>(victim->id),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = count,
        .kind = TraceKind::kSteal});
}

void TraceHandOff(const P* p, const M* to) {
  // It waits, and so its g is its own no more than it is on its g0: what it goes on with is what
  // was stopped in place, or locked to it.
  const G* g = to->g->is_system_stack ? to->locked_g : to->g;
  Tell({.g = g != nullptr ? g->id : 0,
        .proc = p->id,
        .thread = ThreadOf(to),
        .kind = TraceKind::kHandOff});
}

void TracePreempt(const P* p, uint64_t g) {
  Tell({.g = g, .proc = p->id, .kind = TraceKind::kPreempt});
}

void TraceCall(const M* m) {
  Tell({.g = m->g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kCall});
}

void TraceReturn(const M* m, const P* left) {
  Tell({.g = m->g->id,
        .other = static_cast<uint64_t>(left->id),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = m->p == left,
        .kind = TraceKind::kReturn});
}

void TraceRetake(const P* p) { Tell({.proc = p->id, .kind = TraceKind::kRetake}); }

void TraceTimer(const M* m, const P* owner, int64_t late_ns) {
  Tell({.other = static_cast<uint64_t>(owner->id),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = Micros(late_ns),
        .kind = TraceKind::kTimer});
}

void TraceStop(const M* m, StopReason why, int64_t took_ns) {
  Tell({.g = RunningOn(m),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = Micros(took_ns),
        .kind = TraceKind::kStop,
        .stop = why});
}

void TraceStart(const M* m, StopReason why, int64_t stopped_ns) {
  Tell({.g = RunningOn(m),
        .proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = Micros(stopped_ns),
        .kind = TraceKind::kStart,
        .stop = why});
}

void TraceGc(TraceKind kind, uint64_t cycle) {
  if (!Tracing()) return;
  NoPreempt guard;
  const M* m = CurrentM();
  Tell({.g = RunningOn(m), .other = cycle, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = kind});
}

void TracePoll(const M* m, const GList& ready) {
  Tell({.proc = ProcOf(m),
        .thread = ThreadOf(m),
        .count = static_cast<uint32_t>(ready.size()),
        .kind = TraceKind::kPoll});
  for (G* g = ready.front(); g != nullptr; g = g->link) {
    if ((g->wakes_slowly & kWakeTold) == 0) continue;
    g->wakes_slowly &= static_cast<uint8_t>(~kWakeTold);
    Tell({.g = g->id, .proc = ProcOf(m), .thread = ThreadOf(m), .kind = TraceKind::kReady});
  }
}

}  // namespace plimsoll::sched
