#include "plimsoll/runtime/sync/pool.h"

#include <atomic>
#include <memory>

#include "gtest/gtest.h"
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
