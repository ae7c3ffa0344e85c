// The account of spinning: runtime/sched/spin_budget.h itself. Whoever writes a reason last, and
// nobody comes by again who would mend it.

#include "plimsoll/runtime/sched/spin_budget.h"

#include <limits>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

using sched::SpinBudget;

constexpr int64_t kNow = 1'000'000'000'000;
constexpr int64_t kSpent = 1'000'000'000;

// Sysmon refreshes while the world is stopped for another quota, or who follows the throttling
// holds.
Program Held() {
  return [] {
    auto* budget = New<SpinBudget>("budget");
    budget->SetQuota(2);
    Thread("holds", [=] { budget->Hold(true); });
    Thread("refreshes", [=] { budget->Refresh(kNow); });
    AtEnd([=] { Check(!budget->open(), "open while it is held"); });
  };
}

Program SoldNoMore() {
  return [] {
    auto* budget = New<SpinBudget>("budget");
    budget->SetQuota(2);
    Thread("half a CPU from now on", [=] { budget->SetQuota(0.5); });
    Thread("refreshes", [=] { budget->Refresh(kNow); });
    AtEnd([=] { Check(!budget->open(), "open with a quota of half a CPU"); });
  };
}

Program Free() {
  return [] {
    auto* budget = New<SpinBudget>("budget");
    budget->SetQuota(2);
    Thread("no quota from now on",
           [=] { budget->SetQuota(std::numeric_limits<double>::infinity()); });
    Thread("spun too much", [=] { budget->Charge(kSpent, kNow); });
    AtEnd([=] { Check(budget->open(), "shut without a quota"); });
  };
}

TEST(SpinBudgetModel, WhatIsWrittenLastHolds) {
  ExpectHolds("hold / refresh", {}, Held());
  ExpectHolds("a quota of half / refresh", {}, SoldNoMore());
  ExpectHolds("no quota / charge", {}, Free());
}

TEST(SpinBudgetModel, FindsEachPlantedFault) {
  ExpectFinds("hold / refresh", "hold and spent are one", {}, Held());
  ExpectFinds("no quota / charge", "refresh: the price is not looked at again", {}, Free());
  ExpectFinds("no quota / charge", "shut: no acquire", {}, Free());
}

}  // namespace
}  // namespace plimsoll::model
