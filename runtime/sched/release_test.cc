// A burst's memory goes back to the system.

#include <atomic>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/wake_claim.h"

namespace plimsoll::sched {
namespace {

void SleepNs(int64_t ns) {
  WakeClaim claim;
  ParkUntil(WaitReason::kSleep, NowNanos() + ns, claim, nullptr, nullptr);
}

// Goroutines that wait until all are there.
struct Crowd {
  explicit Crowd(int n) { waiting.reserve(static_cast<size_t>(n)); }
  base::SpinLock mu;
  std::vector<G*> waiting ABSL_GUARDED_BY(mu);
  std::atomic<int> gone{0};
};

bool JoinCrowd(G* g, void* arg) {
  auto* crowd = static_cast<Crowd*>(arg);
  base::SpinLockHolder hold(crowd->mu);
  crowd->waiting.push_back(g);  // within its reserve: nothing may allocate here
  return true;
}

// Runs n goroutines that all exist at once.
void Burst(int n) {
  Crowd crowd(n);
  for (int i = 0; i < n; ++i) {
    Go([&crowd] {
      Park(WaitReason::kChanReceive, JoinCrowd, &crowd);
      crowd.gone.fetch_add(1);
    });
  }
  for (bool there = false; !there;) {
    Yield();
    base::SpinLockHolder hold(crowd.mu);
    there = crowd.waiting.size() == static_cast<size_t>(n);
  }
  // Nobody pushes any more.
  std::vector<G*> all;
  {
    base::SpinLockHolder hold(crowd.mu);
    all.swap(crowd.waiting);
  }
  for (G* g : all) Ready(g);
  while (crowd.gone.load() < n) Yield();
}

TEST(ReleaseTest, AnIdleProcessGivesABurstsStacksBackAndUsesThemAgain) {
  // ThreadSanitizer's goroutines are some hundred times as dear.
  constexpr int kBurst = base::kTsan ? 2400 : 8000;
  Burst(kBurst);
  const uint64_t made = Stacks().stats().slots_made;
  ASSERT_GE(made, uint64_t{kBurst});
  // Half of what is idle each second, down to 1,024. It waits for that however long it takes.
  while (Stacks().stats().released < kBurst / 16) SleepNs(50'000'000);
  Burst(kBurst);
  // Ps keep some of their own, and take a few more than they need; the burst is not made anew.
  EXPECT_LT(Stacks().stats().slots_made, made + kBurst / 4);
}

}  // namespace
}  // namespace plimsoll::sched
