// sched/park.h under exploration: goroutines are threads of the explorer's (goroutine.h). The names
// are the product's; what they do is in goroutine.cc.
#ifndef PLIMSOLL_TESTS_MODEL_SHADOW_PARK_H_
#define PLIMSOLL_TESTS_MODEL_SHADOW_PARK_H_

#include <cstdint>
#include <source_location>

#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/sched/wake_claim.h"

namespace plimsoll::sched {

struct G;

enum class WaitReason : uint8_t {
  kNone,
  kChanReceive,
  kChanSend,
  kSelect,
  kSelectNoCases,
  kMutexLock,
  kRWMutexRLock,
  kRWMutexLock,
  kWaitGroupWait,
  kIoWait,
};

using CommitFn = bool (*)(G* g, void* arg);

G* CurrentG();
void Park(WaitReason reason, CommitFn commit, void* arg);
void ParkAndUnlock(WaitReason reason, base::SpinLock& mu) ABSL_UNLOCK_FUNCTION(mu);
uint32_t ParkUntil(WaitReason reason, int64_t deadline_ns, WakeClaim& claim, CommitFn commit,
                   void* arg);
void Ready(G* g);
inline void Yield() {}
int64_t NowNanos();
// One spin: it shows what a second would, and keeps the search small.
inline bool CanSpin(int spins) { return spins < 1; }

// There is no preemption to be kept off here (preempt_test models it).
class NoPreempt {
 public:
  NoPreempt() {}
  ~NoPreempt() {}
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_TESTS_MODEL_SHADOW_PARK_H_
