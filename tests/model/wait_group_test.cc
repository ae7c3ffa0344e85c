// WaitGroup: runtime/sync/wait_group.cc itself, used as it should be and misused.

#include "plimsoll/runtime/sync/wait_group.h"

#include <array>
#include <cstring>

#include "gtest/gtest.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"
#include "plimsoll/tests/model/goroutine.h"

namespace plimsoll::model {
namespace {

struct Shared {
  WaitGroup wg;
  std::array<Var<int>, 3> work{Var<int>(0), Var<int>(0), Var<int>(0)};
  int returned = 0;
};

// `workers` write something each and are done; `waiters` wait, and find all of it written. A single
// waiter ends the WaitGroup's life, or, if it is `reused`, counts again and waits once more.
Program Right(int workers, int waiters, bool reused) {
  return [=] {
    auto* s = New<Shared>("wait group");
    s->wg.Add(workers);
    for (int i = 0; i < workers; ++i) {
      Goroutine("worker", [=] {
        s->work[static_cast<size_t>(i)].Set(1);
        s->wg.Done();
      });
    }
    for (int i = 0; i < waiters; ++i) {
      Goroutine("waiter", [=] {
        s->wg.Wait();
        for (int w = 0; w < workers; ++w) {
          Check(s->work[static_cast<size_t>(w)].Get() == 1, "the work is done");
        }
        ++s->returned;
        if (waiters != 1) return;
        if (reused) {
          s->wg.Add(1);
          s->wg.Done();
          s->wg.Wait();
        }
        s->wg.~WaitGroup();
      });
    }
    AtEnd([=] { Check(s->returned == waiters, "every waiter went on"); });
  };
}

TEST(WaitGroupModel, AWaitSeesWhatPrecededEveryDoneAndMayEndItsLife) {
  ExpectHolds("done / wait", {}, Right(1, 1, false));
  ExpectHolds("done / wait, and again", {}, Right(1, 1, true));
  ExpectHolds("done / done / wait", {}, Right(2, 1, false));
  ExpectHolds("done / wait / wait", {}, Right(1, 2, false));
  ExpectHolds("done / done / wait / wait, 2 preemptions",
              {.search = Search::kBounded, .preemptions = 2}, Right(2, 2, false));
}

TEST(WaitGroupModel, FindsEachPlantedFault) {
  ExpectFinds("done / wait", "done: no release", {}, Right(1, 1, false));
  ExpectFinds("done / wait", "wait: no acquire", {}, Right(1, 1, false));
  ExpectFinds("done / wait / wait", "the last zero is not released", {}, Right(1, 2, false));
  ExpectFinds("done / wait / wait", "the last Done wakes one only", {}, Right(1, 2, false));
}

// What each of the three said in some execution of "done / wait / add": an Add that nothing orders
// against the Wait.
struct Said {
  bool done_concurrently = false;
  bool add_concurrently = false;
  bool wait_reused = false;
};

constexpr char kConcurrently[] = "sync: WaitGroup misuse: Add called concurrently with Wait";
constexpr char kReused[] = "sync: WaitGroup is reused before previous Wait has returned";

Said SaidInAnyExecution(const char* fault) {
  Said said;
  const auto panics = [](auto&& f) -> const char* {
    const char* text = nullptr;
    try {
      f();
    } catch (const Panic& panic) {
      text = panic.text;
    }
    return text;
  };
  const auto is = [](const char* text, const char* wanted) {
    if (text == nullptr) return false;
    Check(strcmp(text, wanted) == 0, text);
    return true;
  };
  panics_are_thrown = true;
  PlantFault(fault);
  const Result r = Explore({}, [&] {
    auto* s = New<Shared>("wait group");
    s->wg.Add(1);
    Goroutine("done", [&, s] {
      if (is(panics([&] { s->wg.Done(); }), kConcurrently)) said.done_concurrently = true;
    });
    // After a panic nobody may be left to let it go on.
    Goroutine(
        "wait",
        [&, s] {
          if (is(panics([&] { s->wg.Wait(); }), kReused)) said.wait_reused = true;
        },
        /*timed=*/false, /*may_stay=*/true);
    Goroutine("add", [&, s] {
      if (is(panics([&] { s->wg.Add(1); }), kConcurrently)) said.add_concurrently = true;
    });
  });
  PrintRow("done / wait / add", fault, r);
  EXPECT_FALSE(r.failed) << r.failure << "\n" << r.trace;
  EXPECT_TRUE(r.complete);
  PlantFault("");
  panics_are_thrown = false;
  return said;
}

// S6. The window is between two instructions of the last Done: no test of the running program can
// open it at will.
TEST(WaitGroupModel, AnAddBesideAWaitPanicsWithGosTexts) {
  const Said said = SaidInAnyExecution("");
  EXPECT_TRUE(said.add_concurrently) << "an Add that finds waiters at zero";
  EXPECT_TRUE(said.done_concurrently) << "a Done whose zero did not last";
  EXPECT_TRUE(said.wait_reused);
}

TEST(WaitGroupModel, EachOfTheTwoLooksIsNeeded) {
  EXPECT_FALSE(SaidInAnyExecution("an Add from zero beside a Wait passes").add_concurrently);
  EXPECT_FALSE(SaidInAnyExecution("the last Done does not look again").done_concurrently);
}

}  // namespace
}  // namespace plimsoll::model
