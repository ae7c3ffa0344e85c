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
std::atomic<Pressure> noted{Pressure::kNone};  // the worst since it was told
std::atomic<Pressure> told{Pressure::kNone};

// Whether a goroutine tells; and whether there is something new for it.
enum class Telling : uint8_t { kNobody, kOne, kOneAgain };
std::atomic<Telling> telling{Telling::kNobody};

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
  Pressure worst = noted.load(std::memory_order_relaxed);
  while (worst < p && !noted.compare_exchange_weak(worst, p, std::memory_order_relaxed)) {
  }
  if (p == Pressure::kNone && told.load(std::memory_order_relaxed) == Pressure::kNone) return false;
  Telling now = telling.load(std::memory_order_relaxed);
  for (;;) {
    const Telling next = now == Telling::kNobody ? Telling::kOne : Telling::kOneAgain;
    // acq_rel: who tells sees what was noted, and who begins what the last one has told
    if (telling.compare_exchange_weak(now, next, std::memory_order_acq_rel)) {
      return now == Telling::kNobody;
    }
  }
}

void PressureUntold() { telling.store(Telling::kNobody, std::memory_order_release); }

void TellPressure() {
  Turn turn;
  while (!turn.over) {
    // What was noted up to here is what is told now. acq_rel: as in NotePressure()
    telling.exchange(Telling::kOne, std::memory_order_acq_rel);
    const Pressure p = noted.exchange(Pressure::kNone, std::memory_order_relaxed);
    told.store(p, std::memory_order_relaxed);
    std::vector<Function> all;
    {
      Listeners& listeners = TheListeners();
      base::MutexLock hold(listeners.mu);
      all = listeners.all;
    }
    for (const Function& f : all) (*f)(p);
    Telling one = Telling::kOne;
    turn.over = telling.compare_exchange_strong(one, Telling::kNobody, std::memory_order_acq_rel);
  }
}

}  // namespace internal
}  // namespace plimsoll::gc
