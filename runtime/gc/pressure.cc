#include "plimsoll/runtime/gc/pressure.h"

#include <algorithm>
#include <atomic>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "plimsoll/alloc/base/mutex.h"

namespace plimsoll::gc {
namespace {

using Function = std::shared_ptr<std::function<void(Pressure)>>;

struct Listeners {
  base::Mutex mu;
  std::vector<Function> all ABSL_GUARDED_BY(mu);
};
// Never destroyed: goroutines go on while the process ends.
Listeners& TheListeners() {
  static auto* listeners = new Listeners;
  return *listeners;
}

std::atomic<size_t> listening{0};

// One word, so that who notes, who tells and what was told last are never seen apart:
//   bits 0, 1  what was told last
//   bits 2-4   0, or one more than the worst that was noted since
//   bit 5      a goroutine tells, or is about to
constexpr unsigned kToldMask = 3;
constexpr unsigned kNotedShift = 2;
constexpr unsigned kTeller = 32;
std::atomic<unsigned> state{0};
unsigned NotedOf(unsigned s) { return (s & ~kTeller) >> kNotedShift; }

// Also where a listener ends the goroutine: else nobody would be told again.
struct Turn {
  bool over = false;
  ~Turn() {
    if (!over) internal::PressureUntold();
  }
};

}  // namespace

PressureListener::PressureListener(std::function<void(Pressure)> f)
    : f_(std::make_shared<std::function<void(Pressure)>>(std::move(f))) {
  Listeners& listeners = TheListeners();
  base::MutexLock hold(listeners.mu);
  listeners.all.push_back(f_);
  listening.fetch_add(1, std::memory_order_relaxed);
}

PressureListener::~PressureListener() {
  Listeners& listeners = TheListeners();
  base::MutexLock hold(listeners.mu);
  listeners.all.erase(std::find(listeners.all.begin(), listeners.all.end(), f_));
  listening.fetch_sub(1, std::memory_order_relaxed);
}

namespace internal {

bool NotePressure(Pressure p) {
  if (listening.load(std::memory_order_relaxed) == 0) return false;
  const auto level = static_cast<unsigned>(p);
  unsigned now = state.load(std::memory_order_relaxed);
  for (;;) {
    if (level == 0 && (now & ~kTeller) == 0) return false;  // that there is none is no news
    const unsigned noted = std::max(NotedOf(now), level + 1);
    const unsigned next = (now & kToldMask) | noted << kNotedShift | kTeller;
    // acq_rel, here and below: a call of the listeners sees what the one before it has done
    if (state.compare_exchange_weak(now, next, std::memory_order_acq_rel)) {
      return (now & kTeller) == 0;
    }
  }
}

// What was noted goes with it: the next cycle notes what is true then.
void PressureUntold() { state.fetch_and(kToldMask, std::memory_order_acq_rel); }

void TellPressure() {
  Turn turn;
  for (;;) {
    unsigned now = state.load(std::memory_order_relaxed);
    unsigned noted, next;
    do {
      noted = NotedOf(now);
      next = noted == 0 ? now & kToldMask : (noted - 1) | kTeller;
    } while (!state.compare_exchange_weak(now, next, std::memory_order_acq_rel));
    turn.over = noted == 0;
    if (turn.over) return;
    std::vector<Function> all;
    {
      Listeners& listeners = TheListeners();
      base::MutexLock hold(listeners.mu);
      all = listeners.all;
    }
    for (const Function& f : all) (*f)(static_cast<Pressure>(noted - 1));
  }
}

}  // namespace internal
}  // namespace plimsoll::gc
