#include "plimsoll/tests/model/goroutine.h"

#include <cstdint>
#include <utility>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"

namespace plimsoll::sched {

struct G {
  model::atomic<uint32_t> readied{0};
  // The commit that its M is to run; the word hands it over.
  model::atomic<uint32_t> committing{0};
  CommitFn commit = nullptr;
  void* arg = nullptr;
  // The timer: 0 disarmed, 1 armed, 2 its function runs.
  model::atomic<uint32_t> timer{0};
  void (*timer_function)(void*) = nullptr;
  void* timer_arg = nullptr;
};

}  // namespace plimsoll::sched

namespace plimsoll::model {
namespace {

sched::G* current_g[kMaxThreads];
bool time_passes = false;
int64_t now_ns = 0;

sched::G* Mine() { return current_g[ThreadIndex()]; }

bool IsNot(uint64_t now, uint64_t arg) { return now != arg; }
bool Is(uint64_t now, uint64_t arg) { return now == arg; }

void RunCommits(sched::G* g) {
  for (;;) {
    g->committing.WaitUntil(IsNot, 0, /*stays=*/true);
    if (!g->commit(g, g->arg)) sched::Ready(g);
    g->committing.store(0, std::memory_order_release);
  }
}

void RunTimer(sched::G* g) {
  for (;;) {
    g->timer.WaitUntil(Is, 1, /*stays=*/true);
    uint32_t armed = 1;
    if (!g->timer.compare_exchange_strong(armed, 2, std::memory_order_acq_rel)) continue;
    g->timer_function(g->timer_arg);
    g->timer.store(0, std::memory_order_release);
  }
}

}  // namespace

void Goroutine(const char* name, std::function<void()> body, bool timed, bool may_stay) {
  auto* g = New<sched::G>(name);
  (may_stay ? Daemon : Thread)(name, [g, body = std::move(body)] {
    current_g[ThreadIndex()] = g;
    body();
  });
  Daemon("its M", [g] { RunCommits(g); });
  if (timed) Daemon("its timer", [g] { RunTimer(g); });
}

void TimePasses(bool passes) {
  time_passes = passes;
  now_ns = 0;
}

void* OperatorNew(size_t bytes, std::align_val_t align) {
  return Allocate(bytes, static_cast<size_t>(align), "new");
}

}  // namespace plimsoll::model

namespace plimsoll::sched {

using model::Check;

G* CurrentG() { return model::Mine(); }

void Park(WaitReason, CommitFn commit, void* arg) {
  G* g = model::Mine();
  // The M of the park before may still be at its commit: the product's parks on another then; here
  // it has one.
  g->committing.WaitUntil(model::Is, 0);
  g->commit = commit;
  g->arg = arg;
  g->committing.store(1, std::memory_order_release);
  g->readied.WaitUntil(model::Is, 1);
  g->readied.store(0, std::memory_order_relaxed);
}

void ParkAndUnlock(WaitReason reason, base::SpinLock& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  Park(
      reason,
      [](G*, void* lock) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        static_cast<base::SpinLock*>(lock)->unlock();
        return true;
      },
      &mu);
}

void Ready(G* g) {
  Check(g->readied.fetch_add(1, std::memory_order_release) == 0, "one Ready for one Park");
}

int64_t NowNanos() {
  if (model::time_passes && model::Choose(2) == 1) model::now_ns += 2'000'000;
  return model::now_ns;
}

// As park.cc's TimedPark, TimedOut, TimedCommit and ParkUntil, with the timer of goroutine.h for a
// SchedTimer (which timers_test models).
namespace {

enum CommitPhase : uint32_t { kCommitting, kDue, kCommitted };

struct TimedPark {
  G* g;
  WakeClaim& claim;
  CommitFn commit;
  void* arg;
  model::atomic<uint32_t> phase{kCommitting};

  void AwaitCommitted() {
    while (phase.load(std::memory_order_acquire) != kCommitted) base::CpuRelax();
  }
  void Disarm() {
    uint32_t armed = 1;
    if (!g->timer.compare_exchange_strong(armed, 0, std::memory_order_acq_rel)) {
      g->timer.WaitUntil(model::Is, 0);  // its function runs
    }
  }
};

void TimedOut(void* arg) {
  auto* park = static_cast<TimedPark*>(arg);
  uint32_t phase = kCommitting;
  if (!model::Planted("a timer that comes early wakes the goroutine") &&
      park->phase.compare_exchange_strong(phase, kDue, std::memory_order_acq_rel)) {
    return;
  }
  if (park->claim.TryClaim(WakeClaim::kTimedOut)) Ready(park->g);
}

bool TimedCommit(G* g, void* arg) {
  auto* park = static_cast<TimedPark*>(arg);
  g->timer_function = TimedOut;
  g->timer_arg = park;
  g->timer.store(1, std::memory_order_release);
  if (park->commit != nullptr && !park->commit(g, park->arg)) {
    if (!model::Planted("a commit that refuses leaves its timer")) park->Disarm();
    park->phase.store(kCommitted, std::memory_order_release);
    return false;
  }
  uint32_t phase = kCommitting;
  if (model::Planted("a commit does not look whether the timer came")) {
    park->phase.store(kCommitted, std::memory_order_release);
    return true;
  }
  if (park->phase.compare_exchange_strong(phase, kCommitted, std::memory_order_acq_rel)) {
    return true;
  }
  const bool ours = park->claim.TryClaim(WakeClaim::kTimedOut);
  park->phase.store(kCommitted, std::memory_order_release);
  return !ours;
}

}  // namespace

uint32_t ParkUntil(WaitReason reason, int64_t, WakeClaim& claim, CommitFn commit, void* arg) {
  TimedPark park{.g = CurrentG(), .claim = claim, .commit = commit, .arg = arg};
  Park(reason, TimedCommit, &park);
  if (!model::Planted("ParkUntil does not wait for the commit")) park.AwaitCommitted();
  park.Disarm();
  return claim.winner();
}

}  // namespace plimsoll::sched
