#include "plimsoll/alloc/base/intrusive_list.h"

#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::base {
namespace {

struct Item {
  int before = 0;
  ListLink link;
  int value = 0;
};

std::vector<int> Drain(IntrusiveList<Item, &Item::link>& list) {
  std::vector<int> values;
  while (Item* item = list.PopFront()) values.push_back(item->value);
  return values;
}

TEST(IntrusiveListTest, KeepsOrderAndForgetsTheRemoved) {
  Item items[4];
  IntrusiveList<Item, &Item::link> list;
  for (int i = 0; i < 4; ++i) {
    items[i].value = i;
    list.PushBack(&items[i]);
  }
  list.Remove(&items[0]);
  list.Remove(&items[2]);
  EXPECT_FALSE(items[2].link.linked());
  EXPECT_TRUE(items[1].link.linked());
  list.PushBack(&items[2]);
  EXPECT_EQ(Drain(list), (std::vector<int>{1, 3, 2}));
  EXPECT_TRUE(list.empty());
}

}  // namespace
}  // namespace plimsoll::base
