// A StealOrder visits each of n Ps once, from a random one on, by a random step that shares no
// factor with n: thieves then seldom queue up at one victim.
//
//   StealOrder order(n, NextRandom(p->random));
//   for (int i = 0; i < n; ++i, order.Next()) Visit(all_ps[order.at()]);
//
// Go's stealOrder (runtime/proc.go) keeps a table of the steps; here the next one is looked for.
#ifndef PLIMSOLL_RUNTIME_SCHED_STEAL_ORDER_H_
#define PLIMSOLL_RUNTIME_SCHED_STEAL_ORDER_H_

#include <cstdint>
#include <numeric>

namespace plimsoll::sched {

class StealOrder {
 public:
  // Requires: n >= 1. The upper half of `random` chooses where to begin, the lower one the step.
  StealOrder(int n, uint64_t random)
      : n_(n),
        at_(static_cast<int>((random >> 32) % static_cast<uint64_t>(n))),
        step_(1 + static_cast<int>((random & 0xffffffff) % static_cast<uint64_t>(n))) {
    // Ends: n + 1 shares no factor with n.
    while (std::gcd(step_, n) != 1) ++step_;
  }

  int at() const { return at_; }
  void Next() { at_ = (at_ + step_) % n_; }

 private:
  int n_;
  int at_;
  int step_;
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_STEAL_ORDER_H_
