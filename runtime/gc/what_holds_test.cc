#include "plimsoll/runtime/gc/what_holds.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/testing/node.h"

namespace plimsoll::gc {
namespace {

using testing::HasSubstr;

std::string At(const void* p) { return absl::StrFormat("%#x", reinterpret_cast<uintptr_t>(p)); }
std::string ANode(const void* p) { return At(p) + " (plimsoll::gc::Node, 32 bytes)\n"; }

class WhatHoldsTest : public testing::Test {
 protected:
  ~WhatHoldsTest() override {
    world_.stack = {};
    world_.scan_stack = false;
    world_.stopping = nullptr;
  }
  FakeWorld& world_ = FakeWorld::Get({.gogc = -1, .beside = false});
};

TEST_F(WhatHoldsTest, TellsEachHolderFromTheObjectToARoot) {
  Root<Node> root = make<Node>();
  root->right = make<Node>();
  root->right->left = make<Node>();
  const Node* object = root->right->left.get();
  EXPECT_EQ(WhatHolds(object), ANode(object) + "  is in word 1 of " + ANode(root->right) +
                                   "  is in word 2 of " + ANode(root) +
                                   "  is in a gc::Root or gc::Global\n");
  // From within it as well.
  EXPECT_EQ(WhatHolds(&object->right), WhatHolds(object));
}

TEST_F(WhatHoldsTest, ACircleIsNoHolder) {
  Node* a = make<Node>();
  a->left = make<Node>();
  a->left->left = a;
  EXPECT_EQ(WhatHolds(a), ANode(a) + "  is held by nothing\n");
}

TEST_F(WhatHoldsTest, WhatIsNoObjectIsTold) {
  int local = 0;
  EXPECT_EQ(WhatHolds(&local), At(&local) + " is no object of the collected heap\n");
  EXPECT_EQ(WhatHolds(nullptr), "0 is no object of the collected heap\n");
}

TEST_F(WhatHoldsTest, AStackHoldsWhereNoRootDoes) {
  Node* a = make<Node>();
  a->left = make<Node>();
  const std::vector<uintptr_t> stack = {0, reinterpret_cast<uintptr_t>(a)};
  world_.stack = stack;
  EXPECT_THAT(WhatHolds(a->left), HasSubstr("is in a goroutine's stack, at " + At(&stack[1])));
  const Root<Node> root = a;
  EXPECT_THAT(WhatHolds(a->left), HasSubstr("is in a gc::Root or gc::Global\n"));
}

TEST_F(WhatHoldsTest, TheCallersStackIsTheLastToHold) {
  world_.scan_stack = true;
  Node* a = make<Node>();
  EXPECT_THAT(WhatHolds(a), HasSubstr("is in the caller's stack, at 0x"));
  const std::vector<uintptr_t> other = {reinterpret_cast<uintptr_t>(a)};
  world_.stack = other;
  EXPECT_THAT(WhatHolds(a), HasSubstr("is in a goroutine's stack, at 0x"));
}

__attribute__((noinline)) uintptr_t HiddenNode() {
  Node* a = make<Node>();
  a->left = make<Node>();
  return ~reinterpret_cast<uintptr_t>(a);
}
// Nothing on the stack has the node's address but what holds `a` here: with optimisation a
// register.
__attribute__((noinline)) void AskOf(uintptr_t hidden, std::string* of_node, std::string* of_left) {
  const Node* a = reinterpret_cast<Node*>(~hidden);
  *of_node = WhatHolds(a);
  *of_left = WhatHolds(a->left);
  keep_alive(a);
}
TEST_F(WhatHoldsTest, ARegisterOfTheCallersHoldsToo) {
  world_.scan_stack = true;
  std::string of_node, of_left;
  AskOf(HiddenNode(), &of_node, &of_left);
  EXPECT_THAT(of_node, HasSubstr("is in the caller's stack, at 0x"));
  EXPECT_THAT(of_left, HasSubstr("is in the caller's stack, at 0x"));
}

TEST_F(WhatHoldsTest, AChannelsBufferIsToldAsOne) {
  Node* a = make<Node>();
  const std::vector<uintptr_t> buffer = {reinterpret_cast<uintptr_t>(a)};
  internal::AmbiguousRange range;
  range.lo = reinterpret_cast<uintptr_t>(buffer.data());
  range.hi = range.lo + sizeof(uintptr_t);
  internal::AddRange(&range);
  EXPECT_THAT(WhatHolds(a), HasSubstr("  is in a channel, at " + At(buffer.data())));
  internal::RemoveRange(&range);
}

TEST_F(WhatHoldsTest, OfALongWayTheEndsAreTold) {
  Root<Node> head;
  const Node* last = nullptr;
  for (int i = 0; i < 1000; ++i) {
    Node* n = make<Node>();
    if (last == nullptr) last = n;
    n->left = head;
    head = n;
  }
  const std::string text = WhatHolds(last);
  EXPECT_THAT(text, HasSubstr("  is held by 936 more, the last of which\n  is in a gc::Root"));
}

// A walk changes no mark: the cycle after it frees what the one before would have.
TEST_F(WhatHoldsTest, AWalkLeavesTheHeapAsItWas) {
  Root<Node> root = make<Node>();
  root->left = make<Node>();
  Collect();
  const uint64_t live = GetStats().live_objects;
  for (int i = 0; i < 3; ++i) (void)WhatHolds(root->left);
  Collect();
  EXPECT_EQ(GetStats().live_objects, live);
}

}  // namespace
}  // namespace plimsoll::gc
