#include "plimsoll/runtime/sync/once.h"

#include <atomic>
#include <functional>
#include <string>

#include "gtest/gtest.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

TEST(OnceTest, RunsOnceAndEveryoneSeesWhatItDid) {
  Once once;
  WaitGroup wg;
  std::atomic<int> runs{0};
  int made = 0;  // plain: TSan sees a Do that does not order
  for (int i = 0; i < 8; ++i) {
    wg.Go([&] {
      once.Do([&] {
        runs.fetch_add(1);
        sched::Yield();  // the others come meanwhile, and must wait
        made = 42;
      });
      EXPECT_EQ(made, 42);
    });
  }
  wg.Wait();
  EXPECT_EQ(runs.load(), 1);
}

TEST(OnceTest, AFunctionThatPanicsCountsAsDone) {
  Once once;
  EXPECT_THROW(once.Do([] { throw Panic("failed"); }), Panic);
  once.Do([] { FAIL() << "ran a second time"; });
}

TEST(OnceTest, ANilFunctionPanicsAndCountsAsDone) {
  Once once;
  EXPECT_THROW(once.Do(std::function<void()>()), Panic);
  once.Do([] { FAIL() << "ran a second time"; });
  Once other;
  EXPECT_THROW(other.Do(static_cast<void (*)()>(nullptr)), Panic);
}

TEST(OnceValueTest, MakesItsValueAtTheFirstCall) {
  int runs = 0;
  auto value = OnceValue([&] {
    ++runs;
    return std::string("made");
  });
  EXPECT_EQ(runs, 0);
  auto copy = value;
  EXPECT_EQ(value(), "made");
  EXPECT_EQ(copy(), "made");
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(&value(), &copy());
}

TEST(OnceValueTest, PanicsAgainAtEveryCall) {
  int runs = 0;
  auto value = OnceValue([&]() -> int {
    ++runs;
    throw Panic("boom");
  });
  for (int i = 0; i < 3; ++i) {
    try {
      value();
      FAIL() << "no panic at call " << i;
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), "boom");
    }
  }
  EXPECT_EQ(runs, 1);
}

TEST(OnceFuncTest, RunsOnce) {
  int runs = 0;
  auto f = OnceFunc([&] { ++runs; });
  f();
  f();
  EXPECT_EQ(runs, 1);
}

TEST(OnceTest, AFunctionThatEndedItsGoroutineLeavesNoValue) {
  const auto value = OnceValue([]() -> std::string { Goexit(); });
  const auto func = OnceFunc([] { Goexit(); });
  WaitGroup wg;
  wg.Go([&] { (void)value(); });
  wg.Go([&] { func(); });
  wg.Wait();
  for (const auto& call :
       {std::function<void()>([&] { (void)value(); }), std::function<void()>(func)}) {
    try {
      call();
      FAIL() << "no panic";
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(),
                   "sync: the function of a OnceFunc or OnceValue ended its goroutine");
    }
  }
}

}  // namespace
}  // namespace plimsoll
