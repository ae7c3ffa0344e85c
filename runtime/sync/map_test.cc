#include "plimsoll/runtime/sync/map.h"

#include <map>
#include <memory>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

TEST(MapTest, MatchesAPlainMapOverRandomOperations) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  Map<int, int> ours;
  std::map<int, int> plain;
  const auto find = [&](int key) -> std::optional<int> {
    const auto it = plain.find(key);
    return it == plain.end() ? std::nullopt : std::optional<int>(it->second);
  };
  for (int step = 0; step < 20'000; ++step) {
    const int key = static_cast<int>(random() % 50);
    const int value = static_cast<int>(random() % 5);
    const int other = static_cast<int>(random() % 5);
    const int op = static_cast<int>(random() % 900);
    const std::optional<int> before = find(key);
    const std::string where = "seed " + std::to_string(seed) + " step " + std::to_string(step);
    if (op < 200) {
      ASSERT_EQ(ours.Load(key), before) << where;
    } else if (op < 300) {
      ours.Store(key, value);
      plain[key] = value;
    } else if (op < 400) {
      const auto got = ours.LoadOrStore(key, value);
      plain.try_emplace(key, value);
      ASSERT_EQ(got.loaded, before.has_value()) << where;
      ASSERT_EQ(got.value, *find(key)) << where;
    } else if (op < 500) {
      ASSERT_EQ(ours.LoadAndDelete(key), before) << where;
      plain.erase(key);
    } else if (op < 600) {
      ASSERT_EQ(ours.Swap(key, value), before) << where;
      plain[key] = value;
    } else if (op < 700) {
      ASSERT_EQ(ours.CompareAndSwap(key, other, value), before == other) << where;
      if (before == other) plain[key] = value;
    } else if (op < 800) {
      ASSERT_EQ(ours.CompareAndDelete(key, other), before == other) << where;
      if (before == other) plain.erase(key);
    } else if (op < 895) {
      std::map<int, int> seen;
      ours.Range([&](int k, int v) {
        EXPECT_TRUE(seen.emplace(k, v).second) << "a key came twice; " << where;
        return true;
      });
      ASSERT_EQ(seen, plain) << where;
    } else {
      ours.Clear();
      plain.clear();
    }
  }
}

TEST(MapTest, RangeEndsWhenToldAndMayChangeTheMap) {
  Map<int, int> map;
  for (int i = 0; i < 100; ++i) map.Store(i, i);
  int visited = 0;
  map.Range([&](int key, int) {
    map.Delete(key);
    return ++visited < 10;
  });
  EXPECT_EQ(visited, 10);
  int left = 0;
  map.Range([&](int, int) { return ++left, true; });
  EXPECT_EQ(left, 90);
}

TEST(MapTest, ConcurrentCompareAndSwapsCountRight) {
  Map<std::string, int> map;
  map.Store("n", 0);
  WaitGroup wg;
  for (int g = 0; g < 4; ++g) {
    wg.Go([&] {
      for (int i = 0; i < 1000; ++i) {
        for (;;) {
          const int seen = *map.Load("n");
          if (map.CompareAndSwap("n", seen, seen + 1)) break;
        }
      }
    });
  }
  wg.Wait();
  EXPECT_EQ(map.Load("n"), 4000);
}

TEST(MapTest, LoadOrStoreStoresForExactlyOne) {
  Map<int, int> map;
  WaitGroup wg;
  std::atomic<int> stored{0};
  for (int g = 0; g < 8; ++g) {
    wg.Go([&, g] {
      for (int key = 0; key < 200; ++key) stored += !map.LoadOrStore(key, g).loaded;
    });
  }
  wg.Wait();
  EXPECT_EQ(stored.load(), 200);
}

TEST(MapTest, RangeNeverShowsAKeyTwiceWhileOthersStoreAndDelete) {
  Map<int, int> map;
  for (int i = 0; i < 200; i += 2) map.Store(i, 0);
  std::atomic<bool> stop{false};
  WaitGroup wg;
  wg.Go([&] {
    for (int round = 0; !stop.load(); ++round) {
      const int key = 1 + 2 * (round % 100);
      map.Store(key, round);
      map.Delete(key);
    }
  });
  for (int walk = 0; walk < 200; ++walk) {
    std::map<int, int> seen;
    map.Range([&](int key, int) {
      EXPECT_TRUE(seen.emplace(key, 0).second) << key;
      return true;
    });
    for (int i = 0; i < 200; i += 2) ASSERT_EQ(seen.count(i), 1u) << i;
  }
  stop.store(true);
  wg.Wait();
}

TEST(MapTest, AValueThatGoesMayUseTheMapAtItsEnd) {
  struct AsksAtItsEnd {
    Map<int, std::shared_ptr<AsksAtItsEnd>>* map;
    int* asked;
    ~AsksAtItsEnd() {
      (void)map->Load(1);
      ++*asked;
    }
  };
  int asked = 0;
  Map<int, std::shared_ptr<AsksAtItsEnd>> map;
  const auto make = [&] { return std::make_shared<AsksAtItsEnd>(&map, &asked); };
  map.Store(1, make());
  AsksAtItsEnd* at = map.Load(1)->get();
  const std::shared_ptr<AsksAtItsEnd> same(std::shared_ptr<void>(), at);  // equal, and owns nothing
  EXPECT_TRUE(map.CompareAndSwap(1, same, make()));
  EXPECT_EQ(asked, 1);
  at = map.Load(1)->get();
  EXPECT_TRUE(map.CompareAndDelete(1, std::shared_ptr<AsksAtItsEnd>(std::shared_ptr<void>(), at)));
  EXPECT_EQ(asked, 2);
  map.Store(1, make());
  map.Delete(1);
  EXPECT_EQ(asked, 3);
  map.Store(1, make());
  map.Store(1, nullptr);
  EXPECT_EQ(asked, 4);
  map.Store(2, make());
  map.Clear();
  EXPECT_EQ(asked, 5);
}

}  // namespace
}  // namespace plimsoll
