// Mutex: runtime/sync/mutex.cc itself, with a clock that may jump, so that starvation comes up.

#include "plimsoll/runtime/sync/mutex.h"

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"
#include "plimsoll/tests/model/last_deletes.h"

namespace plimsoll::model {
namespace {

struct Shared {
  Mutex mu;
  Var<int> guarded{0};
  int want = 0;
};

// `goroutines` lock and unlock `each` times; one more tries, without waiting.
Program Lockers(int goroutines, int each, bool time, bool tries) {
  return [=] {
    TimePasses(time);
    auto* s = New<Shared>("mutex");
    s->want = goroutines * each;
    for (int i = 0; i < goroutines; ++i) {
      Goroutine("locker", [=] {
        for (int k = 0; k < each; ++k) {
          s->mu.lock();
          s->guarded.Set(s->guarded.Get() + 1);
          s->mu.unlock();
        }
      });
    }
    if (tries) {
      Goroutine("trier", [=] {
        if (!s->mu.try_lock()) return;
        s->guarded.Set(s->guarded.Get() + 1);
        ++s->want;
        s->mu.unlock();
      });
    }
    AtEnd([=] {
      Check(s->guarded.Get() == s->want, "each was alone");
      Check(s->mu.try_lock(), "it is free at the end");
    });
  };
}

TEST(MutexModel, TheLastOneMayDeleteIt) {
  const Options two{.search = Search::kBounded, .preemptions = 2};
  ExpectHolds("2 users", {}, LastOneDeletes<Mutex>(2));
  ExpectHolds("3 users, 2 preemptions", two, LastOneDeletes<Mutex>(3));
  ExpectHolds("4 users, random",
              {.search = Search::kRandom, .executions = SearchFar() ? 1'000'000u : 30'000u},
              LastOneDeletes<Mutex>(4));
  if (SearchFar()) ExpectHolds("3 users", {}, LastOneDeletes<Mutex>(3));
}

TEST(MutexModel, KeepsOthersOutAndLosesNoWakeUp) {
  ExpectHolds("2 goroutines", {}, Lockers(2, 1, false, false));
  const Options two{.search = Search::kBounded, .preemptions = 2};
  ExpectHolds("2 goroutines twice, 2 preemptions", two, Lockers(2, 2, false, false));
  ExpectHolds("2 goroutines, one tries, 2 preemptions", two, Lockers(2, 1, false, true));
  ExpectHolds("3 goroutines, 2 preemptions", two, Lockers(3, 1, false, false));
  if (SearchFar()) {
    ExpectHolds("2 goroutines twice", {}, Lockers(2, 2, false, false));
    ExpectHolds("2 goroutines, one tries", {}, Lockers(2, 1, false, true));
  }
}

TEST(MutexModel, HandsOverWhenAWaiterStarves) {
  ExpectHolds("2 goroutines, time passes", {}, Lockers(2, 1, true, false));
  ExpectHolds("3 goroutines, time passes, random",
              {.search = Search::kRandom, .executions = SearchFar() ? 300'000u : 20'000u},
              Lockers(3, 2, true, true));
  if (SearchFar()) ExpectHolds("3 goroutines, time passes", {}, Lockers(3, 1, true, false));
}

TEST(MutexModel, FindsEachPlantedFault) {
  // A waiter starves when it was woken, lost the lock to a newcomer, and queued again.
  const Options random{.search = Search::kRandom, .executions = 2'000'000};
  ExpectFinds("3 goroutines twice, time passes", "starving hand-off lost", random,
              Lockers(3, 2, true, false));
  ExpectFinds("3 goroutines twice, time passes", "starving: unlocked and handed over", random,
              Lockers(3, 2, true, false));
  ExpectFinds("2 goroutines", "unlock wakes nobody", {}, Lockers(2, 1, false, false));
  ExpectFinds("4 users", "takes a mutex somebody is leaving", random, LastOneDeletes<Mutex>(4));
  ExpectFinds("4 users", "spins where somebody is leaving", random, LastOneDeletes<Mutex>(4));
  ExpectFinds("2 goroutines", "lock: no acquire", {}, Lockers(2, 1, false, false));
}

}  // namespace
}  // namespace plimsoll::model
