// Weak pointers, cleanups and destructors, on one thread whose stack nobody scans: what is
// reachable is what a Root says. Beside the program and, by GC_TEST_STOPPED, in a stopped world.

#include "plimsoll/runtime/gc/afterlife.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/fault.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/slice.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/testing/node.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc {
namespace {

using internal::Fault;

FakeWorld& TestWorld() {
  return FakeWorld::Get({.gogc = -1,
                         .checkmark = true,
                         .verify = true,
                         .beside = std::getenv("GC_TEST_STOPPED") == nullptr,
                         .step_bytes = 256});
}
bool Beside() { return std::getenv("GC_TEST_STOPPED") == nullptr; }

class AfterlifeTest : public testing::Test {
 protected:
  AfterlifeTest() { world_.procs = 2; }
  ~AfterlifeTest() override {
    world_.beside = nullptr;
    world_.stopping = nullptr;
    world_.may_begin = true;
    // Until nothing is left: a cleanup may follow on a destructor.
    for (int i = 0; i < 4; ++i) Cycle();
    const Stats s = GetStats();
    EXPECT_EQ(s.live_objects, 0u) << "left by the test";
    EXPECT_EQ(s.weak + s.cleanups + s.finalized + s.queued, 0u);
  }
  // A cycle, and what it has made due.
  void Cycle() {
    Collect();
    world_.RunCleanups();
  }
  FakeWorld& world_ = TestWorld();
};

// --- Weak.

TEST_F(AfterlifeTest, AWeakPointerGivesItsObjectOutUntilACycleHasFoundItUnreachable) {
  Root<Node> node = make<Node>();
  node->key = 7;
  Root<Weak<Node>> weak = make<Weak<Node>>(node.get());
  Collect();
  EXPECT_EQ(weak->lock(), node.get());
  EXPECT_EQ(weak->lock()->key, 7);
  Node* gone = node;
  node = nullptr;
  EXPECT_EQ(weak->lock(), gone) << "nothing has looked yet";
  Collect();
  EXPECT_EQ(weak->lock(), nullptr);
  EXPECT_FALSE(InUse(gone));
  EXPECT_EQ(GetStats().weak, 0u);
}

TEST_F(AfterlifeTest, AWeakPointerOfNothingIsNull) {
  Root<Weak<Node>> none = make<Weak<Node>>();
  EXPECT_EQ(none->lock(), nullptr);
  EXPECT_TRUE(*none == Weak<Node>(nullptr));
  EXPECT_TRUE(*none == Weak<Node>(static_cast<Node*>(nullptr)));
}

TEST_F(AfterlifeTest, WeakPointersAreEqualByTheAddressTheyWereMadeOf) {
  Root<Node> node = make<Node>();
  Root<Node> other = make<Node>();
  Root<Weak<Node>> a = make<Weak<Node>>(node.get());
  Root<Weak<Node>> b = make<Weak<Node>>(node.get());
  Root<Weak<Node>> c = make<Weak<Node>>(other.get());
  Root<Weak<int64_t>> key = make<Weak<int64_t>>(&node->key);
  Root<Weak<Ptr<Node>>> left = make<Weak<Ptr<Node>>>(&node->left);
  EXPECT_TRUE(*a == *b);
  EXPECT_FALSE(*a == *c);
  EXPECT_EQ(key->lock(), &node->key);
  EXPECT_EQ(left->lock(), &node->left);
  EXPECT_EQ(GetStats().weak, 3u) << "the first field has its object's address";
  EXPECT_EQ(std::hash<Weak<Node>>()(*a), std::hash<Weak<Node>>()(*b));
  const Node* was = node;
  node = nullptr;
  Collect();
  EXPECT_EQ(a->lock(), nullptr);
  EXPECT_EQ(key->lock(), nullptr);
  EXPECT_EQ(left->lock(), nullptr);
  EXPECT_TRUE(*a == *b) << "also when the object is gone";
  EXPECT_FALSE(*a == *c);
  // Nor when another object has its address.
  for (int i = 0; i < 100'000 && node.get() != was; ++i) node = make<Node>();
  ASSERT_EQ(node.get(), was) << "the address was not used again";
  Root<Weak<Node>> anew = make<Weak<Node>>(node.get());
  EXPECT_FALSE(*anew == *a);
  EXPECT_EQ(a->lock(), nullptr);
  EXPECT_EQ(anew->lock(), was);
}

TEST_F(AfterlifeTest, WhereNoWeakPointerIsLeftNothingIsRemembered) {
  Root<Node> node = make<Node>();
  for (int i = 0; i < 10; ++i) {
    Root<Weak<Node>> weak = make<Weak<Node>>(node.get());
    EXPECT_EQ(GetStats().weak, 1u);
    EXPECT_EQ(weak->lock(), node.get());
    if (i % 3 == 0) {
      weak = nullptr;
      Collect();
      EXPECT_EQ(GetStats().weak, 0u);
      EXPECT_EQ(GetStats().live_objects, 1u);
    }
  }
}

TEST_F(AfterlifeTest, AMapByWeakPointersIsFoundInWhenTheObjectIsGone) {
  struct Table {
    hash_map<Weak<Node>, int64_t> numbers;
    GC_FIELDS(Table, numbers);
  };
  Root<Table> table = make<Table>();
  std::vector<Root<Node>> nodes;
  std::vector<Root<Weak<Node>>> weaks;
  for (int i = 0; i < 100; ++i) {
    nodes.emplace_back(make<Node>());
    weaks.emplace_back(make<Weak<Node>>(nodes.back().get()));
    table->numbers[*weaks.back()] = i;
  }
  nodes.clear();
  Collect();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(weaks[i]->lock(), nullptr);
    const int64_t* found = table->numbers.find(*weaks[i]);
    ASSERT_NE(found, nullptr) << i;
    EXPECT_EQ(*found, i);
  }
}

// A cache of strings by weak pointers, as Go's unique package is made: the entry goes with the last
// that holds the string.
TEST_F(AfterlifeTest, ACacheByWeakPointersKeepsNothing) {
  struct Text {
    string text;
    GC_FIELDS(Text, text);
  };
  struct Cache {
    hash_map<string, Weak<Text>> by_text;
    GC_FIELDS(Cache, by_text);
  };
  Root<Cache> cache = make<Cache>();
  const auto intern = [&](std::string_view text) {
    if (Weak<Text>* weak = cache->by_text.find(text)) {
      if (Text* found = weak->lock()) return found;
    }
    Text* made = make<Text>();
    made->text = text;
    cache->by_text[string(text)] = Weak<Text>(made);
    cleanup(made, [cache = Ptr<Cache>(cache.get()), key = string(text)] {
      Weak<Text>* weak = cache->by_text.find(key);
      if (weak != nullptr && weak->lock() == nullptr) cache->by_text.erase(key);
    });
    return made;
  };
  Root<Text> a = intern("a");
  EXPECT_EQ(intern("a"), a.get());
  (void)intern("b");
  EXPECT_EQ(cache->by_text.size(), 2u);
  Cycle();
  EXPECT_EQ(cache->by_text.size(), 1u);
  EXPECT_EQ(intern("a"), a.get());
  a = nullptr;
  Cycle();
  EXPECT_EQ(cache->by_text.size(), 0u);
}

TEST_F(AfterlifeTest, ALargeArraysEndAndMiddleHaveWeakPointersToo) {
  Root<Node> array = make_array<Node>(10'000);
  Root<Weak<Node>> middle = make<Weak<Node>>(array.get() + 5000);
  Root<Weak<Node>> end = make<Weak<Node>>(array.get() + 10'000);
  Root<Weak<Node>> same = make<Weak<Node>>(array.get() + 5000);
  EXPECT_TRUE(*same == *middle);
  Collect();
  EXPECT_EQ(middle->lock(), array.get() + 5000);
  EXPECT_EQ(end->lock(), array.get() + 10'000);
  array = nullptr;
  Collect();
  EXPECT_EQ(middle->lock(), nullptr);
  EXPECT_EQ(end->lock(), nullptr);
}

TEST_F(AfterlifeTest, AWeakPointerToWhatIsNotCollectedEndsTheProcess) {
  // Not a Node: that holds gc::Ptrs, which end the process themselves where they may not be.
  alignas(Node) static std::array<std::byte, sizeof(Node)> outside;
  EXPECT_EXIT((void)make<Weak<Node>>(reinterpret_cast<Node*>(outside.data())),
              testing::ExitedWithCode(2),
              "gc: a gc::Weak of 0x[0-9a-f]+, which is no object of the collected heap");
}

// --- What a mark that runs beside the program is told.

// What is only weakly reachable when the mark begins, and is taken out of a weak pointer at `when`.
struct Late {
  explicit Late(int length) {
    Node* n = nullptr;
    for (int i = 0; i < length; ++i) {
      Node* next = make<Node>();
      next->left = n;
      next->key = i;
      n = next;
    }
    last = n;
    weak = make<Weak<Node>>(n);
  }
  void Take() {
    if (taken) return;
    taken = true;
    holder->left = weak->lock();
  }
  Root<Node> array = make_array<Node>(1000);  // more than a step
  Root<Node> holder = make<Node>();
  Root<Weak<Node>> weak;
  Node* last;
  bool taken = false;
};

TEST_F(AfterlifeTest, WhatAWeakPointerGivesOutWhileAMarkRunsIsKeptWithAllThatItReaches) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  Late late(20);
  world_.beside = [&] { late.Take(); };
  Collect();
  world_.beside = nullptr;
  ASSERT_TRUE(late.taken);
  EXPECT_EQ(late.holder->left.get(), late.last);
  EXPECT_EQ(late.weak->lock(), late.last);
  EXPECT_EQ(GetStats().live_objects, 1u + 1 + 1 + 1 + 20) << "array, holder, weak, cell, chain";
  Collect();
  EXPECT_EQ(late.weak->lock(), late.last);
}

TEST_F(AfterlifeTest, WhatAWeakPointerGivesOutWhileTheWorldIsAboutToStopForTheEndIsKept) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  for (const int length : {1, 20, 20'000}) {
    SCOPED_TRACE(length);
    Late late(length);
    // After the collector has looked for what may be dead.
    world_.stopping = [&] {
      if (internal::Marking()) late.Take();
    };
    Collect();
    world_.stopping = nullptr;
    ASSERT_TRUE(late.taken);
    EXPECT_EQ(late.holder->left.get(), late.last);
    EXPECT_EQ(late.weak->lock(), late.last);
    Collect();
    EXPECT_EQ(late.weak->lock(), late.last);
  }
}

TEST_F(AfterlifeTest, WhatIsTakenLateIsNeitherCleanedUpNorDestroyed) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  struct File {
    int* destroyed;
    explicit File(int* count) : destroyed(count) {}
    ~File() { ++*destroyed; }
    GC_NOSCAN(File);
  };
  struct Holder {
    Ptr<File> file;
    GC_FIELDS(Holder, file);
  };
  int destroyed = 0, cleaned = 0;
  Root<Holder> holder = make<Holder>();
  Root<Weak<File>> weak = make<Weak<File>>(finalized<File>(&destroyed));
  cleanup(weak->lock(), [&cleaned] { ++cleaned; });
  world_.stopping = [&] {
    if (internal::Marking()) holder->file = weak->lock();
  };
  Cycle();
  world_.stopping = nullptr;
  ASSERT_NE(holder->file.get(), nullptr);
  Cycle();
  EXPECT_EQ(destroyed, 0);
  EXPECT_EQ(cleaned, 0);
  holder->file = nullptr;
  Cycle();
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(cleaned, 0) << "the object is there until its destructor has run";
  Cycle();
  EXPECT_EQ(cleaned, 1);
}

// The object goes by its last pointer while the mark runs: the snapshot keeps it once more.
TEST_F(AfterlifeTest, WhatIsMadeWhileAMarkRunsIsJudgedByTheNext) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  Late late(1);  // more than a step
  Root<Weak<Node>> weak;
  int cleaned = 0;
  world_.beside = [&] {
    if (weak.get() != nullptr) return;
    Node* fresh = make<Node>();
    weak = make<Weak<Node>>(fresh);
    cleanup(fresh, [&cleaned] { ++cleaned; });
  };
  Cycle();
  world_.beside = nullptr;
  EXPECT_NE(weak->lock(), nullptr) << "what is allocated meanwhile is black";
  EXPECT_EQ(cleaned, 0);
  Cycle();
  EXPECT_EQ(weak->lock(), nullptr);
  EXPECT_EQ(cleaned, 1);
}

TEST_F(AfterlifeTest, AWeakPointerThatDoesNotTellTheMarkIsFoundOut) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  for (int length = 1; length <= 20; ++length) {
    EXPECT_EXIT(
        {
          Late late(length);
          internal::SetFault(Fault::kWeakNotShaded);
          // When what is to hold it was scanned.
          world_.stopping = [&] {
            if (internal::Marking()) late.Take();
          };
          Collect();
        },
        testing::ExitedWithCode(2), "checkmark: .* is reachable and not marked");
  }
}

TEST_F(AfterlifeTest, AWeakPointerThatIsNotForgottenIsFoundOut) {
  for (int length = 1; length <= 20; ++length) {
    EXPECT_EXIT(
        {
          Late late(length);
          internal::SetFault(Fault::kWeakNotForgotten);
          Collect();
        },
        testing::ExitedWithCode(2),
        "verify: .* is not marked, and its weak pointer, cleanup or destructor still waits");
  }
}

// --- Cleanups.

TEST_F(AfterlifeTest, ACleanupRunsOnceWhenNothingReachesItsObject) {
  Root<Node> node = make<Node>();
  const Node* was = node;
  int sum = 0;
  cleanup(node, [](int* to, int n) { *to += n; }, &sum, 5);
  cleanup(&node->right, [&sum] { sum += 100; });
  Cycle();
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(GetStats().cleanups, 2u);
  node = nullptr;
  Collect();
  EXPECT_FALSE(InUse(was)) << "the object goes with the cycle that found it unreachable";
  EXPECT_EQ(sum, 0) << "on a goroutine of its own";
  EXPECT_EQ(GetStats().queued, 2u);
  const uint64_t run = GetStats().run;
  world_.RunCleanups();
  EXPECT_EQ(sum, 105);
  EXPECT_EQ(GetStats().run, run + 2);
  Cycle();
  EXPECT_EQ(sum, 105);
}

TEST_F(AfterlifeTest, WhatACleanupHoldsIsKeptUntilItHasRun) {
  Root<Node> node = make<Node>();
  Root<Weak<Node>> held = make<Weak<Node>>(make<Node>());
  int64_t seen = 0;
  held->lock()->key = 9;
  cleanup(
      node, [&seen](Node* raw, string text) { seen = raw->key + int64_t(text.size()); },
      held->lock(), string("three"));
  Cycle();
  EXPECT_NE(held->lock(), nullptr);
  node = nullptr;
  Collect();
  EXPECT_NE(held->lock(), nullptr);
  Collect();  // it still waits
  EXPECT_NE(held->lock(), nullptr);
  world_.RunCleanups();
  EXPECT_EQ(seen, 14);
  Collect();
  EXPECT_EQ(held->lock(), nullptr);
}

TEST_F(AfterlifeTest, AFunctionIsDestroyedWhenItHasRunOrWasTakenBack) {
  Root<Node> node = make<Node>();
  const auto shared = std::make_shared<int>(0);
  cleanup(node, [shared] { ++*shared; });
  Cleanup second = cleanup(node, [shared, text = std::string(100, 'x')] { *shared += 10; });
  EXPECT_EQ(shared.use_count(), 3);
  EXPECT_TRUE(second.stop());
  EXPECT_EQ(shared.use_count(), 2);
  EXPECT_FALSE(second.stop());
  node = nullptr;
  Collect();
  EXPECT_EQ(shared.use_count(), 2);
  world_.RunCleanups();
  EXPECT_EQ(*shared, 1);
  EXPECT_EQ(shared.use_count(), 1);
}

TEST_F(AfterlifeTest, ACleanupThatWaitsToRunIsNotTakenBack) {
  Root<Node> node = make<Node>();
  int ran = 0;
  Cleanup c = cleanup(node, [&ran] { ++ran; });
  Cleanup none;
  EXPECT_FALSE(none.stop());
  node = nullptr;
  Collect();
  EXPECT_FALSE(c.stop());
  world_.RunCleanups();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(c.stop());
  // What has its place now is another.
  Root<Node> other = make<Node>();
  Cleanup d = cleanup(other, [&ran] { ran += 10; });
  EXPECT_FALSE(c.stop());
  EXPECT_TRUE(d.stop());
}

// While the collector knows it for one that may be due: between its search and the stop.
TEST_F(AfterlifeTest, ACleanupIsTakenBackAtTheLastMoment) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  Late late(1);
  Root<Node> node = make<Node>();
  const auto shared = std::make_shared<int>(0);
  Cleanup c = cleanup(node, [shared] { ++*shared; });
  node = nullptr;
  bool stopped = false;
  world_.stopping = [&] {
    if (internal::Marking() && !stopped) stopped = c.stop();
  };
  Cycle();
  world_.stopping = nullptr;
  EXPECT_TRUE(stopped);
  EXPECT_EQ(*shared, 0);
  EXPECT_EQ(shared.use_count(), 1);
  Cycle();
  EXPECT_EQ(*shared, 0);
  EXPECT_EQ(GetStats().cleanups, 0u);
}

TEST_F(AfterlifeTest, ManyCleanupsOfOneObjectAreTakenBackWithoutACycle) {
  Root<Node> node = make<Node>();
  std::vector<Cleanup> all;
  int ran = 0;
  for (int i = 0; i < 5000; ++i) all.push_back(cleanup(node, [&ran] { ++ran; }));
  EXPECT_EQ(GetStats().cleanups, 5000u);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_TRUE(all[i].stop()) << i;
  EXPECT_EQ(GetStats().cleanups, 1u);
  node = nullptr;
  Cycle();
  EXPECT_EQ(ran, 1);
}

TEST_F(AfterlifeTest, ACleanupThatHoldsItsObjectIsRefused) {
  Root<Node> node = make<Node>();
  Root<Node> fine = make<Node>();
  const auto told = [](auto f) -> std::string {
    try {
      f();
    } catch (const Panic& panic) {
      return panic.what();
    }
    return "";
  };
  const auto shared = std::make_shared<int>(0);
  const char* kText =
      "of the function and its arguments is the object's address: they would keep it, and the "
      "cleanup would never run";
  struct Case {
    const char* name;
    std::function<void()> call;
  };
  const Case kCases[] = {
      {"argument", [&] { cleanup(node, [](Node*) {}, node.get()); }},
      {"second argument", [&] { cleanup(node, [](int, Ptr<Node>) {}, 1, Ptr<Node>(node.get())); }},
      {"capture", [&] { cleanup(node, [shared, n = node.get()] { n->key = 1; }); }},
      {"Ptr", [&] { cleanup(node, [n = Ptr<Node>(node.get())] { n->key = 1; }); }},
      {"a field", [&] { cleanup(node, [k = &node->key] { *k = 1; }); }},
      {"by a field", [&] { cleanup(&node->left, [n = node.get()] { n->key = 1; }); }},
  };
  for (const Case& c : kCases) {
    EXPECT_NE(told(c.call).find(kText), std::string::npos) << c.name << ": " << told(c.call);
  }
  EXPECT_EQ(shared.use_count(), 1) << "the functions were destroyed";
  EXPECT_EQ(GetStats().cleanups, 0u);
  EXPECT_EQ(told([&] { cleanup(static_cast<Node*>(nullptr), [] {}); }),
            "gc::cleanup: the object is null");
  int outside = 0;
  EXPECT_EQ(told([&] { cleanup(&outside, [] {}); }),
            "gc::cleanup: the object is not of the collected heap");
  // What does not hold it.
  EXPECT_EQ(told([&] {
              cleanup(node, [n = fine.get(), key = ~reinterpret_cast<uintptr_t>(node.get()),
                             w = Weak<Node>(node.get())] {
                n->key += static_cast<int64_t>(key != 0) + (w.lock() == nullptr ? 10 : 0);
              });
            }),
            "");
  node = nullptr;
  Cycle();
  EXPECT_EQ(fine->key, 11);
}

TEST_F(AfterlifeTest, APanicOfAMisusedCleanupTellsTheCallersLine) {
  Root<Node> node = make<Node>();
  uint32_t line = 0;
  try {
    line = __LINE__ + 1;
    cleanup(node, [](Node*) {}, node.get());
    FAIL();
  } catch (const Panic& panic) {
    EXPECT_EQ(panic.where().line(), line);
    EXPECT_NE(std::string(panic.where().file_name()).find("afterlife_test"), std::string::npos);
  }
}

TEST_F(AfterlifeTest, WithoutAGoroutineForThemCleanupsWaitForTheNextCycle) {
  Root<Node> node = make<Node>();
  int ran = 0;
  cleanup(node, [&ran] { ++ran; });
  node = nullptr;
  world_.may_begin = false;
  Cycle();
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(GetStats().queued, 1u);
  world_.may_begin = true;
  Cycle();
  EXPECT_EQ(ran, 1);
}

// One that blocks holds up nobody for longer than to the end of the next cycle.
TEST_F(AfterlifeTest, WhileACleanupRunsTheNextCycleBeginsAnotherGoroutineForTheRest) {
  Root<Node> first = make<Node>();
  Root<Node> second = make<Node>();
  std::vector<int> order;
  cleanup(first, [&] {
    order.push_back(1);
    second = nullptr;
    Collect();  // as another goroutine may while this one is blocked
    EXPECT_EQ(world_.cleanups_begun.size(), 1u);
    world_.RunCleanups();
    order.push_back(3);
  });
  cleanup(second, [&] { order.push_back(2); });
  first = nullptr;
  Cycle();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

// What it takes out of a capture is in no other place that the mark has yet to look at.
TEST_F(AfterlifeTest, ACleanupMayOverwriteARawPointerWhileAMarkRuns) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  struct Taken {
    Ptr<Node> node;
    GC_FIELDS(Taken, node);
  };
  // By the function itself, by its arguments' move, and by the destructor of one taken back.
  struct Handle {
    Node* node;
    Root<Taken>* to = nullptr;
    explicit Handle(Node* n, Root<Taken>* t = nullptr) : node(n), to(t) {}
    Handle(Handle&& o) noexcept
        : node(std::exchange(o.node, nullptr)), to(std::exchange(o.to, nullptr)) {}
    ~Handle() {
      if (to == nullptr) return;
      *to = make<Taken>();
      (*to)->node = std::exchange(node, nullptr);
    }
  };
  for (int way = 0; way < 3; ++way) {
    SCOPED_TRACE(way);
    Root<Taken> taken;
    Root<Node> node = make<Node>();
    Node* only = make<Node>();
    only->key = 7;
    const auto take = [&taken](Node* n) {
      taken = make<Taken>();  // black: nobody looks into it, and a store where nothing was is none
      taken->node = n;
    };
    Cleanup undo;
    if (way == 0) {
      undo = cleanup(node, [take, only]() mutable { take(std::exchange(only, nullptr)); });
    } else if (way == 1) {
      undo = cleanup(node, [take](Handle h) { take(h.node); }, Handle(only));
    } else {
      undo = cleanup(node, [h = Handle(only, &taken)] {});
    }
    std::vector<Root<Node>> others;  // a few steps' worth
    for (int i = 0; i < 64; ++i) others.emplace_back(make<Node>());
    if (way != 2) {
      node = nullptr;
      Collect();
    }
    world_.beside = [&] {
      if (taken.get() != nullptr) return;
      if (way == 2) {
        EXPECT_TRUE(undo.stop());
      } else {
        world_.RunCleanups();
      }
    };
    Collect();
    world_.beside = nullptr;
    ASSERT_NE(taken.get(), nullptr);
    EXPECT_EQ(taken->node.get(), only);
    EXPECT_TRUE(InUse(only));
    EXPECT_EQ(only->key, 7);
  }
}

TEST_F(AfterlifeTest, ACleanupMayAllocateCollectAndMakeCleanups) {
  static int generations = 0;
  struct Next {
    static void Make() {
      Node* n = make<Node>();
      n->left = make<Node>();
      cleanup(n, [] {
        Collect();
        if (++generations < 5) Make();
      });
    }
  };
  Next::Make();
  for (int i = 0; i < 10; ++i) Cycle();
  EXPECT_EQ(generations, 5);
}

// --- Finalized.

struct File {
  std::string path;  // outside of the heap: what a destructor is for
  Ptr<Node> node;
  string name;
  vector<Ptr<Node>> nodes;
  slice<int> numbers;
  hash_map<int, Ptr<Node>> by_number;
  Ptr<File> other;
  std::array<string, 2> texts;
  Weak<File> self;
  Ptr<Node> last;
  GC_FIELDS(File, node, name, nodes, numbers, by_number, other, texts, self, last);

  static inline std::function<void(File*)> on_destruction;
  ~File() {
    if (on_destruction) on_destruction(this);
  }
};

File* MakeFile() {
  File* f = finalized<File>();
  f->path = std::string(100, 'p');
  f->node = make<Node>();
  f->node->key = 1;
  f->name = string("name");
  f->nodes = {f->node.get(), make<Node>()};
  f->numbers = {1, 2, 3};
  for (int i = 0; i < 10; ++i) f->by_number[i] = f->node;
  f->texts = {string("one"), string("two")};
  f->self = Weak<File>(f);
  f->last = f->node;
  return f;
}

TEST_F(AfterlifeTest, ADestructorRunsOnceAndTheMemoryGoesWithTheNextCycle) {
  int destroyed = 0;
  File::on_destruction = [&](File* f) {
    ++destroyed;
    EXPECT_EQ(f->path, std::string(100, 'p'));
  };
  Root<File> file = MakeFile();
  Cycle();
  EXPECT_EQ(destroyed, 0);
  EXPECT_EQ(GetStats().finalized, 1u);
  const File* was = file;
  file = nullptr;
  Collect();
  EXPECT_EQ(destroyed, 0) << "on a goroutine of its own";
  EXPECT_TRUE(InUse(was));
  Collect();  // it still waits, and is kept
  EXPECT_TRUE(InUse(was));
  world_.RunCleanups();
  EXPECT_EQ(destroyed, 1);
  EXPECT_TRUE(InUse(was));
  const uint64_t resurrected = GetStats().resurrected;
  Cycle();
  EXPECT_FALSE(InUse(was));
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(GetStats().resurrected, resurrected);
  File::on_destruction = nullptr;
}

TEST_F(AfterlifeTest, ADestructorFindsNullWhereItsObjectLedToWhatIsDead) {
  bool seen = false;
  File::on_destruction = [&](File* f) {
    seen = true;
    EXPECT_EQ(f->node.get(), nullptr);
    EXPECT_EQ(f->last.get(), nullptr);
    EXPECT_EQ(f->other.get(), nullptr);
    EXPECT_EQ(f->self.lock(), nullptr);
    EXPECT_TRUE(f->name.empty());
    EXPECT_TRUE(f->texts[0].empty());
    EXPECT_TRUE(f->texts[1].empty());
    EXPECT_TRUE(f->nodes.empty());
    EXPECT_EQ(f->nodes.capacity(), 0u);
    f->nodes.push_back(make<Node>());  // it can be used
    EXPECT_EQ(f->numbers.len(), 0u);
    EXPECT_EQ(f->numbers.cap(), 0u);
    EXPECT_EQ(f->by_number.size(), 0u);
    EXPECT_EQ(f->by_number.find(3), nullptr);
    f->by_number[3] = make<Node>();
  };
  {
    File* f = MakeFile();
    f->other = f;
    // A cycle with another that is to be destroyed, in no order.
    File* g = MakeFile();
    f->other = g;
    g->other = f;
  }
  Cycle();
  EXPECT_TRUE(seen);
  File::on_destruction = nullptr;
}

TEST_F(AfterlifeTest, ADestructorFindsWhatIsAliveAsItIs) {
  Root<Node> node = make<Node>();
  node->key = 42;
  Root<Node> in_array = make<Node>();
  bool seen = false;
  File::on_destruction = [&](File* f) {
    seen = true;
    EXPECT_EQ(f->node.get(), node.get());
    EXPECT_EQ(f->node->key, 42);
    EXPECT_EQ(f->last.get(), node.get());
    EXPECT_EQ(f->name, "a text that lives");
    EXPECT_EQ(f->nodes.size(), 0u) << "its array was nobody else's";
  };
  struct Holder {
    string name;
    GC_FIELDS(Holder, name);
  };
  Root<Holder> holder = make<Holder>();
  holder->name = string("a text that lives");
  File* f = MakeFile();
  f->node = node;
  f->last = node;
  f->name = holder->name;
  f->nodes = {node.get(), in_array.get()};
  Cycle();
  EXPECT_TRUE(seen);
  File::on_destruction = nullptr;
}

TEST_F(AfterlifeTest, DeadObjectsThatADestructorWouldSeeAreFoundOut) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_EXIT(
        {
          for (int j = 0; j <= i; ++j) (void)MakeFile();
          internal::SetFault(Fault::kDeadNotNulled);
          Collect();
        },
        testing::ExitedWithCode(2), "verify: .*, which is marked, leads to .*, which is not");
  }
}

TEST_F(AfterlifeTest, ADestructorThatKeepsItsObjectKeepsMemoryAlone) {
  static constinit Global<File> kept;
  int destroyed = 0;
  File::on_destruction = [&](File* f) {
    ++destroyed;
    kept = f;
  };
  const File* was = MakeFile();
  const uint64_t before = GetStats().resurrected;
  Cycle();
  EXPECT_EQ(destroyed, 1);
  for (int i = 0; i < 3; ++i) {
    Cycle();
    EXPECT_TRUE(InUse(was));
    EXPECT_EQ(GetStats().resurrected, before + 1) << "told once";
  }
  kept = nullptr;
  Cycle();
  EXPECT_FALSE(InUse(was));
  EXPECT_EQ(destroyed, 1) << "no second time";
  EXPECT_EQ(GetStats().resurrected, before + 1);
  File::on_destruction = nullptr;
}

// The mark begins while a Root of the collector's holds the object for its destructor.
TEST_F(AfterlifeTest, AnObjectWhoseDestructorEndsBesideAMarkHasNotComeBack) {
  if (!Beside()) GTEST_SKIP() << "nothing runs beside a mark";
  int destroyed = 0;
  bool keeps = false;
  static constinit Global<File> kept;
  File::on_destruction = [&](File* f) {
    ++destroyed;
    if (keeps) kept = f;
  };
  for (int i = 0; i < 2; ++i) {
    keeps = i == 1;
    destroyed = 0;
    const File* was = MakeFile();
    const uint64_t before = GetStats().resurrected;
    Collect();
    EXPECT_EQ(destroyed, 0);
    world_.beside = [&] {
      EXPECT_TRUE(internal::Marking());
      world_.RunCleanups();
    };
    Collect();
    world_.beside = nullptr;
    EXPECT_EQ(destroyed, 1);
    EXPECT_TRUE(InUse(was)) << "the mark had found it";
    EXPECT_EQ(GetStats().resurrected, before) << "by a Root that is the collector's own";
    Cycle();
    EXPECT_EQ(InUse(was), keeps);
    EXPECT_EQ(GetStats().resurrected, before + (keeps ? 1 : 0));
  }
  kept = nullptr;
  File::on_destruction = nullptr;
}

TEST_F(AfterlifeTest, ADestructorMayMakeWeakPointersAndCleanupsOfItsObject) {
  Root<Weak<File>> weak;
  int cleaned = 0;
  File::on_destruction = [&](File* f) {
    weak = make<Weak<File>>(f);
    cleanup(f, [&cleaned] { ++cleaned; });
  };
  const File* was = MakeFile();
  Cycle();
  EXPECT_EQ(weak->lock(), was);
  EXPECT_EQ(cleaned, 0);
  Cycle();
  EXPECT_EQ(weak->lock(), nullptr);
  EXPECT_EQ(cleaned, 1);
  File::on_destruction = nullptr;
}

TEST_F(AfterlifeTest, AnObjectWhoseConstructorThrewIsNotDestroyed) {
  struct Half {
    explicit Half(int* count) : destroyed(count) { throw 7; }
    ~Half() { ++*destroyed; }
    int* destroyed;
    GC_NOSCAN(Half);
  };
  int destroyed = 0;
  EXPECT_THROW((void)finalized<Half>(&destroyed), int);
  Cycle();
  Cycle();
  EXPECT_EQ(destroyed, 0);
}

struct Large {
  std::unique_ptr<int> count = std::make_unique<int>(3);
  Ptr<Node> nodes[8000];
  GC_FIELDS(Large, nodes);
  static inline int destroyed = 0;
  ~Large() {
    for (const Ptr<Node>& n : nodes) destroyed += n != nullptr ? *count : 0;
  }
};

TEST_F(AfterlifeTest, ALargeFinalizedObjectIsDestroyedToo) {
  Root<Node> alive = make<Node>();
  Large* large = finalized<Large>();
  for (int i = 0; i < 8000; ++i) large->nodes[i] = i % 2 == 0 ? alive.get() : make<Node>();
  Cycle();
  EXPECT_EQ(Large::destroyed, 3 * 4000);
}

// --- As Go's tests have it.

TEST_F(AfterlifeTest, AWeakPointerIsNullBeforeADestructorOrACleanupRunsAndAfter) {
  File::on_destruction = nullptr;
  Root<File> file = MakeFile();
  Root<Node> node = make<Node>();
  Root<Weak<File>> weak_file = make<Weak<File>>(file.get());
  Root<Weak<Node>> weak_node = make<Weak<Node>>(node.get());
  int ran = 0;
  File::on_destruction = [&](File*) { ran += weak_file->lock() == nullptr ? 1 : 100; };
  cleanup(node, [&] { ran += weak_node->lock() == nullptr ? 1 : 100; });
  Cycle();
  EXPECT_EQ(weak_file->lock(), file.get());
  EXPECT_EQ(weak_node->lock(), node.get());
  file = nullptr;
  node = nullptr;
  Collect();
  EXPECT_EQ(weak_file->lock(), nullptr);
  EXPECT_EQ(weak_node->lock(), nullptr);
  world_.RunCleanups();
  EXPECT_EQ(ran, 2);
  Cycle();
  EXPECT_EQ(weak_file->lock(), nullptr);
  EXPECT_EQ(weak_node->lock(), nullptr);
  File::on_destruction = nullptr;
}

struct Nothing {
  GC_NOSCAN(Nothing);
  static inline int destroyed = 0;
  ~Nothing() { ++destroyed; }
};

TEST_F(AfterlifeTest, AnEmptyObjectHasAnAfterlifeToo) {
  struct Empty {
    GC_NOSCAN(Empty);
  };
  int cleaned = 0;
  Root<Weak<Empty>> weak = make<Weak<Empty>>(make<Empty>());
  cleanup(weak->lock(), [&cleaned](const char*) { ++cleaned; }, "foo");
  (void)finalized<Nothing>();
  Cycle();
  EXPECT_EQ(weak->lock(), nullptr);
  EXPECT_EQ(cleaned, 1);
  EXPECT_EQ(Nothing::destroyed, 1);
}

TEST_F(AfterlifeTest, SmallObjectsGoOneByOneWhateverLiesBesideThem) {
  constexpr int kObjects = 100;
  std::vector<int> seen(kObjects);
  std::vector<Root<int32_t>> kept;
  for (int i = 0; i < kObjects; ++i) {
    auto* n = make<int32_t>(i);
    cleanup(n, [&seen](int number) { ++seen[number]; }, i);
    if (i % 10 == 0) kept.emplace_back(n);
  }
  Cycle();
  for (int i = 0; i < kObjects; ++i) EXPECT_EQ(seen[i], i % 10 == 0 ? 0 : 1) << i;
  for (size_t i = 0; i < kept.size(); ++i) EXPECT_EQ(*kept[i], static_cast<int>(i) * 10);
  kept.clear();
  Cycle();
  for (int i = 0; i < kObjects; ++i) EXPECT_EQ(seen[i], 1) << i;
}

// The end of one object is the address of the next: what holds nothing of the one keeps not the
// other.
TEST_F(AfterlifeTest, AnEmptySliceOrStringAtTheEndKeepsNotTheNextObject) {
  constexpr size_t kBytes = 320;  // a size class
  struct Holder {
    slice<char> end;
    string text_end;
    GC_FIELDS(Holder, end, text_end);
  };
  Root<Holder> holder = make<Holder>();
  int next_to_each_other = 0;
  for (int i = 0; i < 50; ++i) {
    // A byte of an array is its end's; a string has none, and fills its object.
    const slice<char> s = slice<char>::make(kBytes - 1);
    Root<char> neighbour = make_noscan<char>(kBytes);
    const string text(std::string_view(std::string(kBytes, 'x')));
    Root<char> of_text = make_noscan<char>(kBytes);
    next_to_each_other += s.begin() + kBytes == neighbour.get();
    next_to_each_other += text.data() + kBytes == of_text.get();
    holder->end = s.sub(kBytes - 1, kBytes - 1);
    holder->text_end = text.substr(kBytes);
    Root<Weak<char>> weak = make<Weak<char>>(neighbour.get());
    Root<Weak<char>> weak_of_text = make<Weak<char>>(of_text.get());
    neighbour = nullptr;
    of_text = nullptr;
    Collect();
    EXPECT_EQ(weak->lock(), nullptr);
    EXPECT_EQ(weak_of_text->lock(), nullptr);
  }
  EXPECT_GT(next_to_each_other, 50);
}

// --- Everything at once, against a plain account of it.

TEST_F(AfterlifeTest, EachGetsWhatIsDueOnceWhateverHappensMeanwhile) {
  struct Thing {
    explicit Thing(int* count) : destroyed{count} {}
    ~Thing() { ++*destroyed; }
    Ptr<Thing> next;
    Untraced<int*> destroyed;
    GC_FIELDS(Thing, next, destroyed);
  };
  const uint64_t first_seed = std::random_device()();
  for (uint64_t seed = first_seed; seed < first_seed + 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    struct Account {
      Root<Weak<Thing>> weak;
      Root<Thing> root;
      Cleanup cleanup;
      int destroyed = 0, cleaned = 0;
      bool stopped = false;
    };
    std::vector<std::unique_ptr<Account>> all;
    for (int i = 0; i < 300; ++i) {
      auto a = std::make_unique<Account>();
      a->root = finalized<Thing>(&a->destroyed);
      a->weak = make<Weak<Thing>>(a->root.get());
      a->cleanup = cleanup(a->root, [count = &a->cleaned] { ++*count; });
      if (i > 0 && random() % 2 == 0) a->root->next = all[random() % all.size()]->root.get();
      all.push_back(std::move(a));
    }
    const auto act = [&] {
      Account& a = *all[random() % all.size()];
      switch (random() % 4) {
        case 0:
          a.root = nullptr;
          break;
        case 1:  // back, if it is there
          if (Thing* t = a.weak->lock()) {
            EXPECT_EQ(a.destroyed, 0);
            EXPECT_EQ(t->destroyed.value, &a.destroyed);
            a.root = t;
          }
          break;
        case 2:
          if (random() % 4 == 0) a.stopped = a.cleanup.stop() || a.stopped;
          break;
        case 3:
          if (Thing* t = a.weak->lock()) t->next = all[random() % all.size()]->weak->lock();
          break;
      }
    };
    world_.beside = act;
    world_.stopping = [&] {
      if (internal::Marking()) act();
    };
    for (int cycle = 0; cycle < 12; ++cycle) {
      for (int i = 0; i < 30; ++i) act();
      Collect();
      if (random() % 3 != 0) world_.RunCleanups();
    }
    world_.beside = nullptr;
    world_.stopping = nullptr;
    for (auto& a : all) {
      if (a->root != nullptr) {
        EXPECT_EQ(a->weak->lock(), a->root.get());
        EXPECT_EQ(a->destroyed, 0);
        EXPECT_EQ(a->cleaned, 0);
      }
      a->root = nullptr;
    }
    for (int i = 0; i < 4; ++i) Cycle();
    for (auto& a : all) {
      EXPECT_EQ(a->weak->lock(), nullptr);
      EXPECT_EQ(a->destroyed, 1);
      EXPECT_EQ(a->cleaned, a->stopped ? 0 : 1);
    }
  }
}

}  // namespace
}  // namespace plimsoll::gc
