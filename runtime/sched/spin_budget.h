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
// burst after a pause has what 100 ms earn, and at most a second ahead: what was spun beyond that
// is forgiven. Whoever looks after it is within the budget.
//
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
    // After the price: a Refresh that saw the old one has said so before, or sees the new one.
    shut_.fetch_and(~uint32_t{kSpent}, std::memory_order_acq_rel);  // pairs with Refresh
    Shut(kUnsold, price == kNotSold);
  }

  // While held nobody spins: the kernel throttles us, or did a moment ago.
  void Hold(bool held) { Shut(kHeld, held); }

  // Until when one that begins at `now` may look for work; `now`: not beyond one look.
  int64_t Until(int64_t now) const {
    if ((shut_.load(std::memory_order_relaxed) & (kHeld | kUnsold)) != 0) return now;
    return IsSpent(price_.load(std::memory_order_relaxed), now) ? now : now + kEpisodeNs;
  }

  // `ns` until `now` were spun. An episode ends by itself: what is longer, the thread had no CPU.
  void Charge(int64_t ns, int64_t now) {
    const int64_t price = price_.load(std::memory_order_relaxed);
    if (price == kFree || price == kNotSold || ns <= 0) return;
    if (ns > kMostDebtNs) ns = kMostDebtNs;
    int64_t was = paid_at_.load(std::memory_order_relaxed);
    int64_t is;
    do {
      is = (was > now - kBurstNs ? was : now - kBurstNs) + ns * price / 1000;
      if (is > now + kMostDebtNs) is = now + kMostDebtNs;
    } while (!paid_at_.compare_exchange_weak(was, is, std::memory_order_relaxed));
    Refresh(now);
  }
  static int64_t AtMostAnEpisode(int64_t ns) { return ns < kEpisodeNs ? ns : kEpisodeNs; }

  // Whether spins are to be counted at all.
  bool counts() const { return price_.load(std::memory_order_relaxed) > kFree; }

  // For those who spin too shortly to ask the clock: Until() as of the last Charge or Refresh.
  bool open() const { return shut_.load(std::memory_order_relaxed) == 0; }
  void Refresh(int64_t now) {
    int64_t price = price_.load(std::memory_order_relaxed);
    for (;;) {
      Shut(kSpent, IsSpent(price, now));
      // By then the price may be another, and SetQuota have opened what we shut: nobody might come
      // by again who would.
      const int64_t price_now = price_.load(std::memory_order_relaxed);
      if (price_now == price) return;
      price = price_now;
    }
  }

 private:
  // Why nobody may spin, each written by its own: so that none undoes another's.
  enum Shuts : uint32_t { kHeld = 1, kUnsold = 2, kSpent = 4 };

  bool IsSpent(int64_t price, int64_t now) const {
    return price > kFree && paid_at_.load(std::memory_order_relaxed) > now;
  }
  // A line that all read: written only where it changes. acq_rel: of a SetQuota and a Refresh the
  // second sees what the first wrote before.
  void Shut(uint32_t why, bool shut) {
    if (((shut_.load(std::memory_order_relaxed) & why) != 0) == shut) return;
    if (shut) {
      shut_.fetch_or(why, std::memory_order_acq_rel);
    } else {
      shut_.fetch_and(~why, std::memory_order_acq_rel);
    }
  }

  static constexpr int64_t kMostDebtNs = 1'000'000'000;
  static constexpr int64_t kNotSold = -1;
  static constexpr int64_t kFree = 0;
  static constexpr double kMilliPrice = 20'000;  // thousandths of 1 / 5 %

  std::atomic<int64_t> price_{kFree};  // thousandths of ns in which a ns of spinning is earned
  std::atomic<uint32_t> shut_{0};      // Shuts
  std::atomic<int64_t> paid_at_{0};
};

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_SPIN_BUDGET_H_
