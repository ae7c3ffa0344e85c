#include "plimsoll/runtime/gc/function.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/optional.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/testing/node.h"
#include "plimsoll/runtime/gc/variant.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc {
namespace {

struct Holder {
  function<int64_t()> f;
  Ptr<Node> node;
  GC_FIELDS(Holder, f, node);
};

// Collects with checkmark and the verifier on: each cycle is judged by both.
class FunctionTest : public testing::Test {
 protected:
  FunctionTest() { world_.scan_stack = false; }
  ~FunctionTest() override {
    world_.beside = nullptr;
    Collect();
    EXPECT_EQ(GetStats().live_objects, 0u) << "left by the test";
  }
  static uint64_t Live() {
    Collect();
    return GetStats().live_objects;
  }
  FakeWorld& world_ =
      FakeWorld::Get({.gogc = -1, .checkmark = true, .verify = true, .step_bytes = 256});
};

// Nodes whose keys are n - 1 to 0, by `left`.
Node* List(int n) {
  Root<Node> head;
  for (int i = 0; i < n; ++i) {
    Node* node = make<Node>();
    node->key = i;
    node->left = head.get();
    head = node;
  }
  return head;
}

template <typename F>
std::string PanicOf(F f) {
  try {
    f();
  } catch (const Panic& panic) {
    return panic.what();
  }
  return "no panic";
}

int64_t Seven() { return 7; }

TEST_F(FunctionTest, AnEmptyOnePanicsWithGosText) {
  const char* kText = "runtime error: invalid memory address or nil pointer dereference";
  function<int64_t()> f;
  EXPECT_FALSE(f);
  EXPECT_TRUE(f == nullptr);
  EXPECT_EQ(PanicOf([&] { (void)f(); }), kText);
  f = Seven;
  EXPECT_TRUE(f);
  EXPECT_EQ(f(), 7);
  f = nullptr;
  EXPECT_EQ(PanicOf([&] { (void)f(); }), kText);
  // What is null, or empty, makes an empty one.
  int64_t (*none)() = nullptr;
  EXPECT_FALSE(function<int64_t()>(none));
  EXPECT_FALSE(function<int64_t(const Node&)>(static_cast<int64_t Node::*>(nullptr)));
  EXPECT_FALSE(function<void()>(function<int64_t()>()));
  EXPECT_EQ(function<int(int64_t)>(function<int64_t(int)>([](int x) { return x + 1; }))(2), 3);
}

TEST_F(FunctionTest, ItCallsWhateverCanBeCalledAsStdFunctionDoes) {
  int seen = 0;
  function<void(int&)>([](int& x) { return ++x; })(seen);  // what it returns is dropped
  EXPECT_EQ(seen, 1);
  function<int&(int&)> same = [](int& x) -> int& { return x; };
  EXPECT_EQ(&same(seen), &seen);
  function<int(std::unique_ptr<int>)> take = [](std::unique_ptr<int> p) { return *p; };
  EXPECT_EQ(take(std::make_unique<int>(5)), 5);
  Node node;
  node.key = 9;
  function<int64_t(const Node&)> key = &Node::key;
  EXPECT_EQ(key(node), 9);
  function<int(int, int)> minus = std::minus<int>();
  EXPECT_EQ(minus(5, 2), 3);
  static_assert(std::is_constructible_v<function<int()>, int (*)()>);
  static_assert(!std::is_constructible_v<function<int()>, int>);
  static_assert(!std::is_constructible_v<function<int()>, std::string (*)()>);
}

TEST_F(FunctionTest, ItKeepsWhatItsTargetHoldsAndNoMore) {
  Root<Holder> h = make<Holder>();
  {
    Ptr<Node> ptr = List(3);
    h->node = ptr;  // while the others are made
    Node* raw = List(2);
    struct Keep {
      Root<Node> raw;
    } keep{raw};
    string text = string("a text that is on the heap, ") + "by its size";
    h->f = [ptr, raw, text, number = 40] {
      return ptr->key + raw->key + static_cast<int64_t>(text.size()) + number;
    };
    h->node = nullptr;
  }
  EXPECT_EQ(Live(), 1u + 1 + 3 + 2 + 1);  // the holder, the target, two lists, the text
  EXPECT_EQ(h->f(), 2 + 1 + 39 + 40);
  h->f = Seven;
  EXPECT_EQ(Live(), 2u);
  EXPECT_EQ(h->f(), 7);
  h->f = nullptr;
  EXPECT_EQ(Live(), 1u);
}

TEST_F(FunctionTest, CopiesShareTheTargetAndAMoveLeavesNothing) {
  Root<Holder> a = make<Holder>();
  Root<Holder> b = make<Holder>();
  a->f = [list = Ptr<Node>(List(4))] { return list->key; };
  b->f = a->f;
  EXPECT_EQ(Live(), 2u + 1 + 4) << "one target";
  a->f = nullptr;
  EXPECT_EQ(Live(), 2u + 1 + 4);
  EXPECT_EQ(b->f(), 3);
  a->f = std::move(b->f);
  EXPECT_FALSE(b->f);  // NOLINT(bugprone-use-after-move): which is what is tested
  EXPECT_EQ(Live(), 2u + 1 + 4);
  EXPECT_EQ(a->f(), 3);
  function<int64_t()>& same = a->f;
  a->f = std::move(same);
  EXPECT_EQ(a->f(), 3);
  function<int64_t()> local = std::move(a->f);
  EXPECT_FALSE(a->f);
  EXPECT_EQ(local(), 3);
  EXPECT_EQ(Live(), 2u) << "a stack that is not looked at keeps nothing";
}

TEST_F(FunctionTest, VectorsMapsOptionalsAndVariantsHoldThem) {
  struct Many {
    vector<function<int64_t(int64_t)>> all;
    hash_map<string, function<int64_t()>> by_name;
    optional<function<int64_t()>> maybe;
    variant<int64_t, function<int64_t()>> either;
    GC_FIELDS(Many, all, by_name, maybe, either);
  };
  Root<Many> m = make<Many>();
  const uint64_t before = Live();
  for (int i = 0; i < 50; ++i) {
    m->all.push_back([node = Ptr<Node>(List(1)), i](int64_t x) { return node->key + i + x; });
    if (i % 7 == 0) Collect();
  }
  EXPECT_EQ(Live(), before + 1 + 50 + 50);
  EXPECT_EQ(m->all[49](100), 149);
  m->all.erase(m->all.begin(), m->all.begin() + 49);
  EXPECT_EQ(Live(), before + 1 + 1 + 1);
  EXPECT_EQ(m->all[0](1), 50);
  m->all = {};
  EXPECT_EQ(Live(), before);
  m->by_name["seven"] = Seven;
  m->maybe = function<int64_t()>([list = Ptr<Node>(List(2))] { return list->key; });
  m->either = function<int64_t()>([list = Ptr<Node>(List(3))] { return list->key; });
  Collect();
  EXPECT_EQ(m->by_name["seven"](), 7);
  EXPECT_EQ((*m->maybe)(), 1);
  EXPECT_EQ(m->either.get<function<int64_t()>>()(), 2);
  m->maybe.reset();
  m->either = int64_t{0};
  m->by_name = {};
  EXPECT_EQ(Live(), before);
}

// What reference counts leave behind.
TEST_F(FunctionTest, AnObjectAndAFunctionThatHoldEachOtherGoTogether) {
  for (int i = 0; i < 10; ++i) {
    Root<Holder> h = make<Holder>();
    h->node = List(1);
    h->f = [self = Ptr<Holder>(h.get())] { return self->node->key + 1; };
    EXPECT_EQ(Live(), 3u);
    EXPECT_EQ(h->f(), 1);
  }
  Root<Holder> a = make<Holder>();
  Root<Holder> b = make<Holder>();
  a->f = [raw = b.get()] { return raw->node == nullptr ? 1 : 2; };
  b->f = [raw = a.get()] { return raw->node == nullptr ? 3 : 4; };
  b = nullptr;
  EXPECT_EQ(Live(), 4u) << "a T* holds as well";
  EXPECT_EQ(a->f(), 1);
  a = nullptr;
  EXPECT_EQ(Live(), 0u);
}

TEST_F(FunctionTest, OneThatIsReplacedByItsOwnCallRunsToItsEnd) {
  world_.scan_stack = true;
  Root<Holder> h = make<Holder>();
  h->f = [holder = Ptr<Holder>(h.get()), list = Ptr<Node>(List(5))] {
    holder->f = nullptr;
    Collect();  // the frame of the call holds the target
    return list->key;
  };
  EXPECT_EQ(h->f(), 4);
  EXPECT_FALSE(h->f);
  h = nullptr;
  world_.scan_stack = false;
}

// A mark sees what it holds also where the only pointer to it moves on while marking: to an object
// that is marked already, out of one that is not.
TEST_F(FunctionTest, AMarkBesideTheProgramLosesNoTarget) {
  for (const bool moves : {false, true}) {
    SCOPED_TRACE(moves);
    Root<Holder> last = make<Holder>();
    // Far down a list, so that steps go by before it is reached.
    Root<Holder> first = make<Holder>();
    first->node = List(200);
    Root<Node> far = make<Node>();
    Ptr<Node> end = first->node;
    while (end->left != nullptr) end = end->left;
    struct Far : Node {
      function<int64_t()> f;
      GC_FIELDS(Far, left, right, f);
    };
    Far* behind = make<Far>();
    end->left = Ptr<Node>(behind);
    behind->f = [list = Ptr<Node>(List(20)), raw = List(1)] { return list->key + raw->key; };
    far = nullptr;
    int calls = 0;
    Far* where = behind;
    world_.beside = [&] {
      if (calls++ != 0) return;
      if (moves) {
        last->f = std::move(where->f);
      } else {
        last->f = where->f;
        where->f = nullptr;
      }
      end->left = nullptr;
    };
    Collect();
    world_.beside = nullptr;
    EXPECT_GT(calls, 1) << "the mark was over at once";
    ASSERT_TRUE(last->f);
    EXPECT_EQ(last->f(), 19);
    Collect();
    EXPECT_EQ(last->f(), 19);
  }
}

// One that is made while a mark runs is black, with what only its maker's stack held.
TEST_F(FunctionTest, OneThatIsMadeBesideAMarkKeepsWhatItTakes) {
  Root<Holder> h = make<Holder>();
  h->node = List(200);
  int calls = 0;
  world_.beside = [&] {
    if (calls++ != 0) return;
    Ptr<Node> tail = h->node->left;
    h->node->left = nullptr;
    h->f = [tail] {
      int64_t n = 0;
      for (const Node* at = tail; at != nullptr; at = at->left) ++n;
      return n;
    };
  };
  Collect();
  world_.beside = nullptr;
  EXPECT_GT(calls, 1);
  EXPECT_EQ(h->f(), 199);
  EXPECT_EQ(Live(), 2u + 200);
}

TEST_F(FunctionTest, AWeakCaptureKeepsNothing) {
  Root<Holder> h = make<Holder>();
  Root<Node> node = List(1);
  h->f = [weak = Weak<Node>(node.get())] { return weak.lock() == nullptr ? -1 : 1; };
  Collect();
  EXPECT_EQ(h->f(), 1);
  node = nullptr;
  Collect();
  EXPECT_EQ(h->f(), -1);
}

// A destructor finds a function of what is dead with it empty, as it finds a Ptr null.
TEST_F(FunctionTest, InADestructorItIsEmpty) {
  static bool was_empty = false;
  struct Closed {
    function<int64_t()> f;
    ~Closed() { was_empty = !f; }
    GC_FIELDS(Closed, f);
  };
  {
    Root<Closed> c = finalized<Closed>();
    c->f = [list = Ptr<Node>(List(2))] { return list->key; };
    Collect();
    EXPECT_EQ(c->f(), 1);
  }
  Collect();
  world_.RunCleanups();
  EXPECT_TRUE(was_empty);
  Collect();
}

#ifndef NDEBUG
TEST_F(FunctionTest, OneThatIsLeftOutOfGcFieldsIsFoundByTheProbe) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  struct Forgets {
    int64_t key;
    function<void()> f;
    GC_FIELDS(Forgets, key);
  };
  EXPECT_DEATH((void)make<Forgets>(), "a gc::Ptr at word 1 of a .*not in its GC_FIELDS");
}
#endif

}  // namespace
}  // namespace plimsoll::gc
