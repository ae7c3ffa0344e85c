// A WakeClaim settles who wakes a goroutine that several may wake: the first to claim does.
//
//   WakeClaim claim;                       // on the parked goroutine's stack
//   if (claim.TryClaim(kMine)) Ready(g);   // a waker
//
// A timed or selecting wait hands its claim to every waker. Once the parked goroutine has taken
// itself out of every queue, nobody can reach the claim any more.
#ifndef PLIMSOLL_RUNTIME_SCHED_WAKE_CLAIM_H_
#define PLIMSOLL_RUNTIME_SCHED_WAKE_CLAIM_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::sched {

class WakeClaim {
 public:
  static constexpr uint32_t kOpen = 0;
  static constexpr uint32_t kTimedOut = 0xffffffff;

  // True for exactly one caller: it must then Ready the goroutine. `who` is not kOpen.
  // acq_rel: the winner sees what the parker wrote before it queued itself, and the parker sees
  // what the winner wrote before it claimed.
  bool TryClaim(uint32_t who) {
    uint32_t open = kOpen;
    return winner_.compare_exchange_strong(open, who, std::memory_order_acq_rel,
                                           std::memory_order_relaxed);
  }
  uint32_t winner() const { return winner_.load(std::memory_order_acquire); }

 private:
  std::atomic<uint32_t> winner_{kOpen};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_WAKE_CLAIM_H_
