#include "plimsoll/runtime/sched/run_queue.h"

#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::sched {
namespace {

struct Item {
  int value = 0;
  std::atomic<int> taken{0};
};

// A ring of 4: every wrap, overflow and steal of half happens at once.
using Queue = RunQueue<Item, 4>;

struct Overflowed {
  std::vector<Item*> items;
  void operator()(Item** batch, uint32_t n) { items.insert(items.end(), batch, batch + n); }
};

std::vector<int> Values(const std::vector<Item*>& items) {
  std::vector<int> values;
  for (const Item* item : items) values.push_back(item->value);
  return values;
}

std::vector<Item> Items(int n) {
  std::vector<Item> items(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) items[static_cast<size_t>(i)].value = i;
  return items;
}

TEST(RunQueueTest, RunsNextFirstAndTheRestInOrder) {
  auto items = Items(4);
  Queue q;
  Overflowed over;
  q.PutBack(&items[0], over);
  q.PutBack(&items[1], over);
  EXPECT_FALSE(q.PutNext(&items[2], over));
  EXPECT_TRUE(q.PutNext(&items[3], over)) << "displaces 2 to the back";
  std::vector<int> got;
  std::vector<bool> from_next;
  bool next;
  while (Item* item = q.Get(&next)) {
    got.push_back(item->value);
    from_next.push_back(next);
  }
  EXPECT_EQ(got, (std::vector<int>{3, 0, 1, 2}));
  EXPECT_EQ(from_next, (std::vector<bool>{true, false, false, false}));
  EXPECT_TRUE(over.items.empty());
  EXPECT_TRUE(q.Empty());
}

TEST(RunQueueTest, OverflowGivesAwayTheOldestHalfAndTheNewcomer) {
  auto items = Items(5);
  Queue q;
  Overflowed over;
  for (Item& item : items) q.PutBack(&item, over);
  EXPECT_EQ(Values(over.items), (std::vector<int>{0, 1, 4}));
  EXPECT_EQ(q.ring_size(), 2u);
}

TEST(RunQueueTest, StealsHalfRoundedUpAndRunnextOnlyWhenTold) {
  auto items = Items(4);
  Queue victim, thief;
  Overflowed over;
  for (int i = 0; i < 3; ++i) victim.PutBack(&items[static_cast<size_t>(i)], over);
  victim.PutNext(&items[3], over);
  Item* first = victim.StealInto(thief, /*take_next=*/false);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->value, 1) << "the last of the stolen two runs at once";
  EXPECT_EQ(thief.ring_size(), 1u);
  EXPECT_EQ(victim.ring_size(), 1u);
  bool next;
  EXPECT_EQ(thief.Get(&next)->value, 0);
  EXPECT_EQ(victim.StealInto(thief, false)->value, 2);
  EXPECT_EQ(victim.StealInto(thief, false), nullptr) << "runnext is the owner's";
  EXPECT_EQ(victim.StealInto(thief, true)->value, 3);
  EXPECT_TRUE(victim.Empty());
}

TEST(RunQueueTest, KeepsWorkingAcrossTheWrapOfItsCounters) {
  auto items = Items(3);
  Queue q, thief;
  Overflowed over;
  bool next;
  for (int round = 0; round < 1000; ++round) {
    for (Item& item : items) q.PutBack(&item, over);
    ASSERT_EQ(q.Get(&next), &items[0]);
    ASSERT_EQ(q.StealInto(thief, false), &items[1]);
    ASSERT_EQ(q.Get(&next), &items[2]);
    ASSERT_EQ(q.Get(&next), nullptr);
  }
  EXPECT_TRUE(over.items.empty());
}

TEST(RunQueueTest, GivesEachItemToExactlyOneOfOwnerThievesAndOverflow) {
  constexpr int kItems = 40'000;
  std::vector<Item> items(kItems);
  Queue owner;
  std::atomic<bool> done{false};
  const auto take = [](Item* item) { item->taken.fetch_add(1, std::memory_order_relaxed); };
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t) {
    thieves.emplace_back([&] {
      Queue mine;
      bool next;
      while (!done.load(std::memory_order_acquire) || !owner.Empty()) {
        if (Item* item = owner.StealInto(mine, true)) take(item);
        while (Item* item = mine.Get(&next)) take(item);
      }
    });
  }
  bool next;
  for (int i = 0; i < kItems; ++i) {
    const auto over = [&](Item** batch, uint32_t n) {
      for (uint32_t k = 0; k < n; ++k) take(batch[k]);
    };
    if (i % 3 == 0) {
      owner.PutNext(&items[static_cast<size_t>(i)], over);
    } else {
      owner.PutBack(&items[static_cast<size_t>(i)], over);
    }
    if (i % 5 == 0) {
      if (Item* item = owner.Get(&next)) take(item);
    }
  }
  while (Item* item = owner.Get(&next)) take(item);
  done.store(true, std::memory_order_release);
  for (std::thread& t : thieves) t.join();
  for (int i = 0; i < kItems; ++i) {
    ASSERT_EQ(items[static_cast<size_t>(i)].taken.load(), 1) << "item " << i;
  }
}

}  // namespace
}  // namespace plimsoll::sched
