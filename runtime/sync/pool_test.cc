#include "plimsoll/runtime/sync/pool.h"

#include <atomic>
#include <memory>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

struct Counted {
  static inline std::atomic<int> live{0};
  Counted() { live.fetch_add(1); }
  ~Counted() { live.fetch_sub(1); }
  std::atomic<int> users{0};
};

TEST(PoolTest, GivesBackWhatWasPutAndElseMakesANewOne) {
  Pool<Counted> pool([] { return std::make_unique<Counted>(); });
  auto object = pool.Get();
  ASSERT_NE(object, nullptr);
  Counted* const address = object.get();
  pool.Put(std::move(object));
  EXPECT_EQ(pool.Get().get(), address);
}

TEST(PoolTest, WithoutAMakerAnEmptyPoolAnswersNull) {
  Pool<Counted> pool;
  EXPECT_EQ(pool.Get(), nullptr);
  pool.Put(nullptr);  // ignored
  EXPECT_EQ(pool.Get(), nullptr);
}

TEST(PoolTest, AnUnusedObjectSurvivesOneAgeingAndNotTwo) {
  Pool<Counted> pool;
  const int before = Counted::live.load();
  pool.Put(std::make_unique<Counted>());
  AgePools();
  EXPECT_EQ(Counted::live.load(), before + 1);
  pool.Put(pool.Get());  // used: young again
  AgePools();
  EXPECT_EQ(Counted::live.load(), before + 1);
  AgePools();
  EXPECT_EQ(Counted::live.load(), before);
}

TEST(PoolTest, DestroysWhatItHoldsAtItsEnd) {
  const int before = Counted::live.load();
  {
    Pool<Counted> pool;
    for (int i = 0; i < 10; ++i) pool.Put(std::make_unique<Counted>());
    AgePools();
    for (int i = 0; i < 10; ++i) pool.Put(std::make_unique<Counted>());
  }
  EXPECT_EQ(Counted::live.load(), before);
}

TEST(PoolTest, AnObjectMayOwnAPoolAndMakeOneAsItEnds) {
  struct Owner {
    Pool<Counted> inner;
    Owner() { inner.Put(std::make_unique<Counted>()); }
    ~Owner() { Pool<Counted>().Put(std::make_unique<Counted>()); }
  };
  const int before = Counted::live.load();
  Pool<Owner> pool;
  for (int i = 0; i < 3; ++i) pool.Put(std::make_unique<Owner>());
  EXPECT_EQ(Counted::live.load(), before + 3);
  AgePools();
  AgePools();
  EXPECT_EQ(Counted::live.load(), before);
}

TEST(PoolTest, APoolThatEndsWaitsForTheAgeingOfWhatItHeld) {
  struct Slow {
    std::atomic<int>* phase;
    ~Slow() {
      phase->store(1);
      for (int i = 0; i < 200; ++i) sched::Yield();
      phase->store(2);
    }
  };
  std::atomic<int> phase{0};
  WaitGroup wg;
  {
    Pool<Slow> pool;
    pool.Put(std::make_unique<Slow>(&phase));
    AgePools();
    wg.Go([] { AgePools(); });
    while (phase.load() == 0) sched::Yield();
  }
  EXPECT_EQ(phase.load(), 2) << "its destructor still ran when the pool was gone";
  wg.Wait();
}

TEST(PoolTest, PoolsComeAndGoWhileAllAreAged) {
  const int before = Counted::live.load();
  WaitGroup wg;
  for (int g = 0; g < 4; ++g) {
    wg.Go([g] {
      for (int i = 0; i < 300; ++i) {
        Pool<Counted> pool;
        pool.Put(std::make_unique<Counted>());
        if (i % 4 == g) AgePools();
        sched::Yield();
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(Counted::live.load(), before);
}

TEST(PoolTest, NeverGivesOneObjectToTwo) {
  Pool<Counted> pool([] { return std::make_unique<Counted>(); });
  WaitGroup wg;
  for (int g = 0; g < 8; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 2000; ++i) {
        auto object = pool.Get();
        ASSERT_EQ(object->users.fetch_add(1), 0);
        object->users.fetch_sub(1);
        if (i % 500 == 0) AgePools();
        pool.Put(std::move(object));
      }
    });
  }
  wg.Wait();
}

}  // namespace
}  // namespace plimsoll
