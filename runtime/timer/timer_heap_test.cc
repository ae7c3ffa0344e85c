#include "plimsoll/runtime/timer/timer_heap.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::timer {
namespace {

struct Node {
  int64_t when = 0;
  int32_t index = -1;
};

struct NodeAccess {
  static int64_t When(const Node& n) { return n.when; }
  static int32_t& Index(Node& n) { return n.index; }
};

using Heap = TimerHeap<Node, NodeAccess>;

TEST(TimerHeapTest, AgreesWithASortedMultimapUnderRandomPushesRemovalsAndMoves) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  std::vector<Node> nodes(300);
  Heap heap;
  std::multimap<int64_t, Node*> reference;
  const auto forget = [&](Node* n) {
    for (auto [at, end] = reference.equal_range(n->when); at != end; ++at) {
      if (at->second == n) {
        reference.erase(at);
        return;
      }
    }
    FAIL() << "not in the reference";
  };
  for (int step = 0; step < 20'000; ++step) {
    Node* n = &nodes[random() % nodes.size()];
    const int64_t when = static_cast<int64_t>(random() % 50);
    if (n->index < 0) {
      n->when = when;
      ASSERT_TRUE(heap.Push(n));
      reference.emplace(when, n);
    } else if (random() % 2 == 0) {
      forget(n);
      heap.Remove(n);
      EXPECT_EQ(n->index, -1);
    } else {
      forget(n);
      n->when = when;
      heap.Update(n);
      reference.emplace(when, n);
    }
    ASSERT_EQ(heap.size(), reference.size());
    if (!heap.empty()) {
      ASSERT_EQ(heap.MinWhen(), reference.begin()->first);
    }
    if (step % 64 == 0) {
      ASSERT_TRUE(heap.Valid()) << "step " << step;
    }
  }
  while (!heap.empty()) heap.Remove(heap.Min());
}

TEST(TimerHeapTest, GrowsPastAPageAndComesOutInOrder) {
  std::vector<Node> nodes(5'000);
  Heap heap;
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i].when = static_cast<int64_t>((i * 7919) % nodes.size());
    ASSERT_TRUE(heap.Push(&nodes[i]));
  }
  for (int64_t expected = 0; !heap.empty(); ++expected) {
    ASSERT_EQ(heap.MinWhen(), expected);
    heap.Remove(heap.Min());
  }
}

}  // namespace
}  // namespace plimsoll::timer
