// Several markers at once mark what one would.

#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/visitor.h"

namespace plimsoll::gc {
namespace {

struct Node {
  uint64_t number = 0;
  Ptr<Node> to[3];
  GC_FIELDS(Node, to);
};

struct Traced {
  Ptr<Node> node;
  void gc_trace(Visitor& v) const { v.visit(node); }
  GC_TRACED(Traced);
};

// Four markers, whatever the heap; checkmark and the verifier say what they missed.
class ParallelMarkTest : public testing::Test {
 protected:
  ParallelMarkTest() {
    FakeWorld::Get({.gogc = -1,
                    .checkmark = true,
                    .verify = true,
                    .beside = false,
                    .markers = 4,
                    .share_from = 0});
  }
  ~ParallelMarkTest() override {
    Collect();
    EXPECT_EQ(GetStats().live_objects, 0u) << "left by the test";
    EXPECT_EQ(GetStats().live_bytes, 0u);
  }
};

Node* Tree(int depth) {
  Node* n = make<Node>();
  for (int i = 0; i < 3 && depth > 0; ++i) n->to[i] = Tree(depth - 1);
  return n;
}

TEST_F(ParallelMarkTest, TreesAreMarkedOnceAndCountedOnce) {
  Root<Node> tree = Tree(9);
  constexpr uint64_t kNodes = (59049 - 1) / 2;  // 3^0 + … + 3^9
  for (int i = 0; i < 10; ++i) {
    Collect();
    ASSERT_EQ(GetStats().live_objects, kNodes);
    ASSERT_EQ(GetStats().live_bytes, kNodes * 32);
  }
}

TEST_F(ParallelMarkTest, AChainHasNothingToShareAndStillEnds) {
  Root<Node> head;
  for (int i = 0; i < 20'000; ++i) {
    Node* n = make<Node>();
    n->to[1] = head;
    head = n;
  }
  for (int i = 0; i < 5; ++i) Collect();
  EXPECT_EQ(GetStats().live_objects, 20'000u);
}

TEST_F(ParallelMarkTest, LargeArraysAreMarkedInPieces) {
  Root<Ptr<Traced>> array = make_array<Ptr<Traced>>(60'000);
  for (int i = 0; i < 60'000; i += 2) {
    array.get()[i] = make<Traced>();
    array.get()[i]->node = make<Node>();
  }
  for (int i = 0; i < 3; ++i) {
    Collect();
    ASSERT_EQ(GetStats().live_objects, 60'001u);
  }
}

TEST_F(ParallelMarkTest, RandomGraphsOfOneComponentAreMarkedWhole) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr size_t kNodes = 20'000;
  for (int round = 0; round < 5; ++round) {
    Root<Ptr<Node>> all = make_array<Ptr<Node>>(kNodes);
    Root<Node> first = make<Node>();
    all.get()[0] = first.get();
    for (size_t i = 1; i < kNodes; ++i) {
      // Hangs by one thread from an earlier one, and points anywhere with another.
      Node* n = make<Node>();
      all.get()[i] = n;
      all.get()[(i - 1) / 2]->to[(i - 1) % 2] = n;
      n->to[2] = all.get()[random() % i];
    }
    all = nullptr;
    Collect();
    ASSERT_EQ(GetStats().live_objects, kNodes);
  }
}

TEST_F(ParallelMarkTest, ManySmallCyclesInARow) {
  Root<Node> tree = Tree(3);
  for (int i = 0; i < 500; ++i) Collect();
  EXPECT_EQ(GetStats().live_objects, 40u);
}

}  // namespace
}  // namespace plimsoll::gc
