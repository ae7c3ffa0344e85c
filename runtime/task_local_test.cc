#include "plimsoll/runtime/task_local.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

constinit TaskLocal<std::string> name;
constinit TaskLocal<int> number;

// Runs f on a goroutine made here, to its end.
template <typename F>
void OnAnother(F f) {
  WaitGroup group;
  group.Go(f);
  group.Wait();
}

TEST(TaskLocalTest, AGoroutineHasWhatItsMakerHadWhenItMadeIt) {
  EXPECT_EQ(name.Get(), nullptr);
  name.Set("a");
  number.Set(1);
  OnAnother([] {
    EXPECT_EQ(*name.Get(), "a");
    EXPECT_EQ(*number.Get(), 1);
    name.Set("b");
    OnAnother([] {
      EXPECT_EQ(*name.Get(), "b");
      number.Clear();
      EXPECT_EQ(number.Get(), nullptr);
    });
    EXPECT_EQ(*name.Get(), "b");
    EXPECT_EQ(*number.Get(), 1);
  });
  EXPECT_EQ(*name.Get(), "a");
  name.Clear();
  number.Clear();
  EXPECT_EQ(name.Get(), nullptr);
}

TEST(TaskLocalTest, AScopePutsBackWhatWasBefore) {
  number.Set(1);
  {
    TaskLocal<int>::Scope two(number, 2);
    {
      TaskLocal<int>::Scope three(number, 3);
      EXPECT_EQ(*number.Get(), 3);
    }
    EXPECT_EQ(*number.Get(), 2);
  }
  EXPECT_EQ(*number.Get(), 1);
  number.Clear();
  {
    TaskLocal<int>::Scope one(number, 1);
  }
  EXPECT_EQ(number.Get(), nullptr);
}

TEST(TaskLocalTest, TheLastGoroutineThatHasAValueDestroysItHoweverItEnds) {
  static constinit TaskLocal<std::shared_ptr<int>> held;
  auto counted = std::make_shared<int>(7);
  held.Set(counted);
  OnAnother([] {
    OnAnother([] { Goexit(); });
    Go([] { EXPECT_EQ(**held.Get(), 7); });
  });
  held.Clear();
  while (counted.use_count() != 1) Yield();
}

TEST(TaskLocalTest, ThousandsOfSetsKeepOneValueAKey) {
  static constinit TaskLocal<std::shared_ptr<int>> held;
  auto counted = std::make_shared<int>(7);
  for (int i = 0; i < 10000; ++i) {
    number.Set(i);
    held.Set(counted);
  }
  EXPECT_EQ(counted.use_count(), 2);
  EXPECT_EQ(*number.Get(), 9999);
  held.Clear();
  number.Clear();
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(TaskLocalDeathTest, AForeignThreadHasNoneAndMaySetNone) {
  number.Set(1);
  const int* there = number.Get();
  std::thread([&] { there = number.Get(); }).join();
  EXPECT_EQ(there, nullptr);
  EXPECT_EXIT(std::thread([] { number.Set(1); }).join(), testing::ExitedWithCode(2),
              "task-local value is set on a thread that is no goroutine");
  number.Clear();
}

}  // namespace
}  // namespace plimsoll
