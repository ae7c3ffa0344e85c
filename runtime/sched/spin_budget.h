// A SpinBudget says how long one that looks for work may go on looking, and keeps account of it.
//
//   budget.SetQuota(1.5);                                  // CPUs; none: infinity
//   const int64_t began = NowNanos();
//   const int64_t until = budget.Until(began);             // `began` itself: one look and no more
//   ...
//   budget.Charge(NowNanos() - began, NowNanos());
//
//   quota                  an episode     all of them, over any time T
//   none                   50 us          no bound but the episode's, and that of those who look
//   more than one CPU      50 us          5 % of the quota x (T + 100 ms), and an episode a P
//   one CPU or less        one look       -
//   held: being throttled  one look       -
//
// The account is one word, the time at which all that was spun is paid for: it moves on by what
// was spun over 5 % of the quota, and is at least 100 ms ago (a period of the kernel's), so that a
// burst after a pause has what 100 ms earn. Whoever looks after it is within the budget.
// Threads:   any. What two charge at once is charged twice; who looked at once may both pass.
#ifndef PLIMSOLL_RUNTIME_SCHED_SPIN_BUDGET_H_
#define PLIMSOLL_RUNTIME_SCHED_SPIN_BUDGET_H_

#include <atomic>
#include <cstdint>

namespace plimsoll::sched {

class SpinBudget {
 public:
  static constexpr int64_t kEpisodeNs = 50'000;
  static constexpr int64_t kBurstNs = 100'000'000;

  // In CPUs: infinity where there is none.
  void SetQuota(double cpus) {
    constexpr double kMostCpus = 10'000;  // above it a thousandth is too coarse to be a price
    const int64_t price = cpus <= 1           ? kNotSold
                          : cpus <= kMostCpus ? static_cast<int64_t>(kMilliPrice / cpus)
                                              : kFree;
    price_.store(price, std::memory_order_relaxed);
    Publish(price != kNotSold && !held_.load(std::memory_order_relaxed));
  }

  // While held nobody spins: the kernel throttles us, or did a moment ago.
  void Hold(bool held) {
    held_.store(held, std::memory_order_relaxed);
    Publish(!held && price_.load(std::memory_order_relaxed) != kNotSold);
  }

  // Until when one that begins at `now` may look for work; `now`: not beyond one look.
  int64_t Until(int64_t now) const {
    const int64_t price = price_.load(std::memory_order_relaxed);
    if (held_.load(std::memory_order_relaxed) || price == kNotSold) return now;
    if (price == kFree || paid_at_.load(std::memory_order_relaxed) <= now) return now + kEpisodeNs;
    return now;
  }

  // `ns` until `now` were spun. An episode ends by itself: what is longer, the thread had no CPU.
  void Charge(int64_t ns, int64_t now) {
    const int64_t price = price_.load(std::memory_order_relaxed);
    if (price == kFree || price == kNotSold || ns <= 0) return;
    int64_t was = paid_at_.load(std::memory_order_relaxed);
    int64_t is;
    do {
      is = (was > now - kBurstNs ? was : now - kBurstNs) + ns * price / 1000;
    } while (!paid_at_.compare_exchange_weak(was, is, std::memory_order_relaxed));
    Refresh(now);
  }
  static int64_t AtMostAnEpisode(int64_t ns) { return ns < kEpisodeNs ? ns : kEpisodeNs; }

  // Whether spins are to be counted at all.
  bool counts() const { return price_.load(std::memory_order_relaxed) > kFree; }

  // For those who spin too shortly to ask the clock: Until() as of the last Charge or Refresh.
  bool open() const { return open_.load(std::memory_order_relaxed); }
  void Refresh(int64_t now) { Publish(Until(now) > now); }

 private:
  // A line that all read: written only where it changes.
  void Publish(bool open) {
    if (open_.load(std::memory_order_relaxed) != open) open_.store(open, std::memory_order_relaxed);
  }

  static constexpr int64_t kNotSold = -1;
  static constexpr int64_t kFree = 0;
  static constexpr double kMilliPrice = 20'000;  // thousandths of 1 / 5 %

  std::atomic<int64_t> price_{kFree};  // thousandths of ns in which a ns of spinning is earned
  std::atomic<bool> held_{false};
  std::atomic<bool> open_{true};
  std::atomic<int64_t> paid_at_{0};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SPIN_BUDGET_H_
