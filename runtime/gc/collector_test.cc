#include "plimsoll/runtime/gc/collector.h"

#include <cstdint>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/root_table.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/testing/node.h"
#include "plimsoll/runtime/panic/panic.h"

namespace plimsoll::gc {
namespace {

// An address that the compiler does not keep: the number alone says nothing to a precise collector.
class CollectorTest : public testing::Test {
 protected:
  CollectorTest() { world_.scan_stack = false; }
  ~CollectorTest() override {
    world_.stack = {};
    world_.scan_stack = false;
    Collect();
    EXPECT_EQ(GetStats().live_objects, 0u) << "left by the test";
  }
  // With the world stopped: numbers are exact then. beside_test has the rest.
  FakeWorld& world_ =
      FakeWorld::Get({.gogc = -1, .checkmark = true, .verify = true, .beside = false});
};

// A thread that is not stopped gives a Root, which was looked at, what no other root holds any
// more.
TEST_F(CollectorTest, WhatARootIsGivenWhileRootsAreScannedIsKept) {
  Root<Node> source = make<Node>();
  source->left = make<Node>();
  Root<Node> target;
  // Out of the collector's sight, as a Root is between the moment before it is looked at, when it
  // is cleared, and the moment after.
  const uintptr_t hidden = ~reinterpret_cast<uintptr_t>(source.get());
  source = nullptr;
  world_.scanning = [&] { target = reinterpret_cast<Node*>(~hidden); };
  Collect();
  world_.scanning = nullptr;
  EXPECT_EQ(GetStats().live_objects, 2u);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
}

TEST_F(CollectorTest, AnOldCycleIsReasonForANewOneUnlessGoGcIsOff) {
  constexpr int64_t kLong = int64_t{1} << 60;
  uint64_t cycles = GetStats().cycles;
  EXPECT_FALSE(CollectIfOld(0));  // off
  const int gogc = SetGoGc(100);
  EXPECT_FALSE(CollectIfOld(kLong));
  EXPECT_EQ(GetStats().cycles, cycles);
  const Node* lost = make<Node>();
  EXPECT_TRUE(CollectIfOld(0));
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  EXPECT_FALSE(InUse(lost));
  EXPECT_FALSE(CollectIfOld(kLong));
  SetGoGc(gogc);
}

TEST_F(CollectorTest, CyclesOfObjectsAreFreedAndWhatARootReachesIsNot) {
  Root<Node> root = make<Node>();
  root->left = make<Node>();
  root->left->right = root;
  Node* lost = make<Node>();
  lost->left = make<Node>();
  lost->left->left = lost;
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
  EXPECT_TRUE(InUse(root->left));
  EXPECT_FALSE(InUse(lost));
}

TEST_F(CollectorTest, ALongChainIsMarkedWithoutRecursion) {
  Root<Node> head;
  for (int i = 0; i < 200'000; ++i) {
    Node* n = make<Node>();
    n->left = head;
    head = n;
  }
  Collect();
  EXPECT_EQ(GetStats().live_objects, 200'000u);
  for (int i = 0; i < 100'000; ++i) head = head->left.get();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 100'000u);
}

TEST_F(CollectorTest, AnAddressWithinAnObjectKeepsAllOfIt) {
  Root<char> inside = make_noscan<char>(1000) + 999;
  Ptr<Node> nodes = make_array<Node>(10);
  nodes[3].left = make<Node>();
  Root<Node> fourth = &nodes[4];
  Root<Node> end;
  {
    Ptr<Node> more = make_array<Node>(8);
    end = more + 8;  // one past the last
  }
  Collect();
  EXPECT_EQ(GetStats().live_objects, 4u);
  EXPECT_TRUE(InUse(fourth.get() - 4));
  EXPECT_TRUE(InUse(end.get() - 8));
}

TEST_F(CollectorTest, GlobalsAreRootsWithoutAnInitialiser) {
  static constinit Global<Node> global;
  EXPECT_EQ(global.get(), nullptr);
  global = make<Node>();
  global->left = make<Node>();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
  global = nullptr;
}

TEST_F(CollectorTest, RootsLiveInStandardContainersAndOnForeignThreads) {
  std::vector<Root<Node>> roots;
  for (int i = 0; i < 2000; ++i) {
    roots.emplace_back(make<Node>());
    roots.back()->key = i;
  }
  std::map<std::string, Root<Node>> by_name;
  by_name["a"] = make<Node>();
  std::thread([&] {
    std::vector<Root<Node>> copies(roots.begin(), roots.begin() + 1000);
    roots.erase(roots.begin(), roots.begin() + 1000);
    roots.insert(roots.end(), copies.begin(), copies.end());
  }).join();
  EXPECT_EQ(GetStats().roots, 2001u);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2001u);
  EXPECT_EQ(roots[0]->key, 1000);
  Root<Node> moved = std::move(roots[0]);
  EXPECT_EQ(roots[0].get(), nullptr);
  EXPECT_EQ(moved->key, 1000);
  roots.clear();
  by_name.clear();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
}

TEST_F(CollectorTest, StacksAreAmbiguousAndAnyWordIsSafe) {
  Node* kept = make<Node>();
  kept->left = make<Node>();
  const uintptr_t words[] = {0,
                             1,
                             reinterpret_cast<uintptr_t>(kept) + 9,
                             ~uintptr_t{0},
                             reinterpret_cast<uintptr_t>(&world_),
                             uintptr_t{1} << 47};
  world_.stack = words;
  Collect();
  EXPECT_EQ(GetStats().live_objects, 2u);
}

[[gnu::noinline]] void LetGo(uintptr_t* out) {
  for (int i = 0; i < 100; ++i) out[i] = ~reinterpret_cast<uintptr_t>(make<Node>());
}

TEST_F(CollectorTest, TheRunningStackAndItsRegistersAreRoots) {
  world_.scan_stack = true;
  // Held by locals alone, some of them in registers across the call.
  Node* a = make<Node>();
  Node* b = make<Node>();
  Node* c = make<Node>();
  a->left = make<Node>();
  b->key = 7;
  Collect();
  EXPECT_TRUE(InUse(a));
  EXPECT_TRUE(InUse(a->left));
  EXPECT_TRUE(InUse(b));
  EXPECT_TRUE(InUse(c));
  EXPECT_EQ(b->key, 7);
  keep_alive(c);
  uintptr_t hidden[100];
  LetGo(hidden);
  Collect();
  int left = 0;
  for (const uintptr_t h : hidden) left += InUse(reinterpret_cast<void*>(~h));
  EXPECT_LE(left, 5) << "of 100 that no frame holds";
}

TEST_F(CollectorTest, AmbiguousRangesAreScannedWhileTheyAreRegistered) {
  uintptr_t words[4] = {0, 0, reinterpret_cast<uintptr_t>(make<Node>()), 0};
  internal::AmbiguousRange range{reinterpret_cast<uintptr_t>(words),
                                 reinterpret_cast<uintptr_t>(words + 4)};
  internal::AddRange(&range);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
  internal::RemoveRange(&range);
  Collect();
  EXPECT_EQ(GetStats().live_objects, 0u);
}

// --- Descriptions.

struct Wide {
  uint64_t numbers[70] = {};
  Ptr<Node> far;  // in the mask's second word
  GC_FIELDS(Wide, far);
};

struct Nested {
  int8_t small = 0;
  std::array<Node, 3> nodes;
  Ptr<Wide> wides[2];
  std::pair<int, Ptr<Node>> pair;
  GC_FIELDS(Nested, nodes, wides, pair);
};
static_assert(internal::kMask<Node>[0] == 0b110);
static_assert(internal::kMask<Nested>[0] ==
              (0b110u << 1 | 0b110u << 4 | 0b110u << 7 | 0b11u << 10 | 1u << 13));
static_assert(internal::kMask<Wide>[1] == 1u << 6);

class Private {
 public:
  void Set(Node* n) { node_ = n; }

 private:
  Ptr<Node> node_;
  GC_FIELDS(Private, node_);
};

struct Polymorphic {
  virtual ~Polymorphic() = default;
  Ptr<Node> node;
  GC_FIELDS(Polymorphic, node);
};
struct Base {
  Ptr<Node> of_base;
  GC_FIELDS(Base, of_base);
};
struct Derived : Base {
  Ptr<Node> own;
  GC_FIELDS(Derived, of_base, own);
};

// A layout that no mask can name: pairs of (is it a pointer, word).
struct Odd {
  uint64_t is_pointer[3] = {};
  union {
    uint64_t number;
    Node* node;
  } words[3] = {};
  void gc_trace(Visitor& v) const {
    for (int i = 0; i < 3; ++i) {
      if (is_pointer[i] != 0) v.visit(*reinterpret_cast<const Ptr<Node>*>(&words[i]));
    }
  }
  GC_TRACED(Odd);
};

TEST_F(CollectorTest, EveryWayToDescribeATypeIsScanned) {
  Root<Nested> nested = make<Nested>();
  nested->nodes[2].right = make<Node>();
  nested->wides[1] = make<Wide>();
  nested->wides[1]->far = make<Node>();
  nested->pair.second = make<Node>();
  Root<Private> with_private = make<Private>();
  with_private->Set(make<Node>());
  Root<Derived> derived = make<Derived>();
  derived->of_base = make<Node>();
  derived->own = make<Node>();
  Root<Odd> odd = make<Odd>();
  odd->is_pointer[1] = 1;
  odd->words[1].node = make<Node>();
  odd->words[2].number = reinterpret_cast<uintptr_t>(make<Node>());  // a number, says the type
  Collect();
  EXPECT_EQ(GetStats().live_objects, 12u);
  Root<Odd> odds = make_array<Odd>(100);
  odds.get()[99].is_pointer[2] = 1;
  odds.get()[99].words[2].node = make<Node>();
  Collect();
  EXPECT_EQ(GetStats().live_objects, 14u);
}

// It has an address, and room for no element: there is nothing in it to look at.
TEST_F(CollectorTest, AnArrayOfNoElementsIsKept) {
  struct Five {
    Ptr<Node> to[5];
    GC_FIELDS(Five, to);
  };
  Root<Node> nodes = make_array<Node>(0);
  Root<Five> fives = make_array<Five>(0);
  for (int i = 0; i < 2; ++i) {
    Collect();
    EXPECT_EQ(GetStats().live_objects, 2u);
  }
}

TEST_F(CollectorTest, ArraysOfEveryLengthAreScannedToTheirEnd) {
  for (const size_t n : {1, 2, 3, 7, 31, 64, 341, 342, 1300, 1365, 1366, 5461, 5462, 20'000}) {
    SCOPED_TRACE(n);
    Root<Node> array = make_array<Node>(n);
    Root<Ptr<Node>> pointers = make_array<Ptr<Node>>(n);
    array.get()[n - 1].right = make<Node>();
    pointers.get()[n - 1] = make<Node>();
    if (n > 1) pointers.get()[n / 2] = make<Node>();
    Collect();
    EXPECT_EQ(GetStats().live_objects, n > 1 && n / 2 != n - 1 ? 5u : 4u);
  }
}

TEST_F(CollectorTest, NoscanMemoryIsNotLookedInto) {
  Root<uintptr_t> words = make_noscan<uintptr_t>(100);
  for (int i = 0; i < 100; ++i) words.get()[i] = reinterpret_cast<uintptr_t>(make<Node>());
  Collect();
  EXPECT_EQ(GetStats().live_objects, 1u);
}

struct Point {
  double x = 1, y = 2;
  GC_NOSCAN(Point);
};

TEST_F(CollectorTest, MakeRunsConstructorsAndInitialisesAggregates) {
  struct Aggregate {
    int number;
    Ptr<Node> node;
    GC_FIELDS(Aggregate, node);
  };
  Root<Node> node = make<Node>();
  Root<Aggregate> a = make<Aggregate>(7, node.get());
  EXPECT_EQ(a->number, 7);
  EXPECT_EQ(a->node, node.get());
  EXPECT_EQ(make<Point>()->y, 2.0);
  EXPECT_EQ(*make<int>(5), 5);
  Ptr<Point> points = make_array<Point>(100);
  EXPECT_EQ(points[99].x, 1.0);
}

TEST_F(CollectorTest, AThrowingConstructorLeavesGarbage) {
  struct Throws {
    explicit Throws(int code) { throw code; }
    GC_NOSCAN(Throws);
  };
  EXPECT_THROW((void)make<Throws>(3), int);
}

TEST_F(CollectorTest, ALengthThatNoMemoryHoldsPanics) {
  for (const size_t n : {SIZE_MAX, SIZE_MAX / 8, size_t{1} << 60}) {
    try {
      (void)make_array<Ptr<Node>>(n);
      FAIL() << n;
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), "runtime error: makeslice: len out of range");
      EXPECT_NE(std::string(panic.where().file_name()).find("collector_test"), std::string::npos);
    }
  }
}

// --- Pacing and statistics.

TEST_F(CollectorTest, ACycleBeginsWhenTheHeapHasGrownByGogc) {
  Root<Node> head;
  for (int i = 0; i < 400'000; ++i) {  // 12.8 MB at 32 bytes
    Node* n = make<Node>();
    n->left = head;
    head = n;
  }
  SetGoGc(50);
  Collect();
  const Stats before = GetStats();
  EXPECT_EQ(before.live_bytes, 400'000u * 32);
  EXPECT_EQ(before.goal_bytes, before.live_bytes / 100 * 150);
  int64_t made = 0;
  while (GetStats().cycles == before.cycles) {
    (void)make<Node>();
    ++made;
  }
  EXPECT_NEAR(static_cast<double>(made) * 32, 6.4e6, 0.1e6);
  EXPECT_EQ(GetStats().forced, before.forced);
  SetGoGc(-1);
  const uint64_t cycles = GetStats().cycles;
  for (int i = 0; i < 1'000'000; ++i) (void)make<Node>();
  EXPECT_EQ(GetStats().cycles, cycles) << "GOGC=off";
}

TEST_F(CollectorTest, AMemoryLimitMakesCyclesMoreFrequentButNeverEndless) {
  Root<char> live = make_noscan<char>(20 << 20);
  SetGoGc(100);
  world_.heap_limit = 24 << 20;
  Collect();
  EXPECT_EQ(GetStats().limit_bytes, uint64_t{24} << 20);
  EXPECT_NEAR(static_cast<double>(GetStats().goal_bytes), 24 << 20, 128 << 10);
  world_.heap_limit = 10 << 20;  // below what is live
  Collect();
  const uint64_t cycles = GetStats().cycles;
  for (uint64_t bytes = 0; bytes < uint64_t{20} << 20; bytes += 4096) {
    (void)make_noscan<char>(4096);
  }
  EXPECT_NEAR(static_cast<double>(GetStats().cycles - cycles), 20, 3) << "a twentieth of live each";
  world_.heap_limit = UINT64_MAX;
  SetGoGc(-1);
}

TEST_F(CollectorTest, ALimitThatIsLoweredHoldsAtOnce) {
  SetGoGc(100);
  Root<char> live = make_noscan<char>(20 << 20);
  Collect();
  (void)make_noscan<char>(6 << 20);  // garbage
  const uint64_t cycles = GetStats().cycles;
  world_.heap_limit = 60 << 20;
  LimitChanged();
  EXPECT_EQ(GetStats().limit_bytes, uint64_t{60} << 20);
  EXPECT_EQ(GetStats().cycles, cycles) << "none is due";
  EXPECT_LE(GetStats().goal_bytes, uint64_t{60} << 20);
  world_.heap_limit = 24 << 20;  // below what the heap holds
  LimitChanged();
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  EXPECT_LE(GetStats().span_bytes, uint64_t{24} << 20);
  EXPECT_NEAR(static_cast<double>(GetStats().goal_bytes), 24 << 20, 128 << 10);
  world_.heap_limit = UINT64_MAX;
  LimitChanged();
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  EXPECT_NEAR(static_cast<double>(GetStats().goal_bytes), 40 << 20, 128) << "GOGC's again";
  SetGoGc(-1);
}

TEST_F(CollectorTest, WhatTheLimitLeavesIsMeasuredBetweenCycles) {
  SetGoGc(-1);
  world_.heap_limit = 60 << 20;
  Collect();
  (void)make_noscan<char>(6 << 20);  // garbage
  const uint64_t cycles = GetStats().cycles;
  world_.heap_limit = 5 << 20;  // the rest of the process has grown
  MeasureLimit();
  EXPECT_EQ(GetStats().limit_bytes, uint64_t{5} << 20);
  EXPECT_LE(GetStats().goal_bytes, uint64_t{5} << 20);
  EXPECT_EQ(GetStats().cycles, cycles) << "none is begun for it";
  (void)make_noscan<char>(100'000);
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  world_.heap_limit = UINT64_MAX;
  LimitChanged();
}

TEST_F(CollectorTest, TheHeapDoesNotGrowWithGarbage) {
  SetGoGc(100);
  for (int i = 0; i < 100'000; ++i) (void)make_noscan<char>(1000);
  const uint64_t after_a_while = GetStats().span_bytes;
  for (int i = 0; i < 400'000; ++i) (void)make_noscan<char>(1000);
  EXPECT_LE(GetStats().span_bytes, after_a_while + (uint64_t{1} << 20));
  EXPECT_LE(GetStats().span_bytes, uint64_t{16} << 20);
  SetGoGc(-1);
}

TEST_F(CollectorTest, PausesAreCounted) {
  const Stats before = GetStats();
  const int stops = world_.stops;
  Collect();
  Collect();
  const Stats after = GetStats();
  EXPECT_EQ(world_.stops, stops + 2);
  EXPECT_EQ(after.cycles, before.cycles + 2);
  EXPECT_GT(after.total_stopped_ns, before.total_stopped_ns);
  EXPECT_GE(after.max_stopped_ns, after.stopped_ns);
  Pause pauses[2];
  ASSERT_EQ(RecentPauses(pauses, 2), 2u);
  EXPECT_EQ(pauses[0].stopping_ns, after.stopping_ns);
  EXPECT_EQ(pauses[0].stopped_ns, after.stopped_ns);
}

// --- A model: a graph of plain numbers beside the heap's.

TEST_F(CollectorTest, AgreesWithAModelOverRandomGraphs) {
  struct Vertex {
    uint64_t id = 0;
    Ptr<Vertex> to[5];
    GC_FIELDS(Vertex, to);
  };
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::map<uint64_t, std::array<uint64_t, 5>> model;  // 0: null
  constexpr size_t kRoots = 20;
  std::vector<Root<Vertex>> roots(kRoots);
  const auto any = [&]() -> Vertex* {
    Vertex* v = roots[random() % kRoots];
    for (uint64_t hops = random() % 20; v != nullptr && hops > 0; --hops) {
      Vertex* next = v->to[random() % 5];
      if (next == nullptr) break;
      v = next;
    }
    return v;
  };
  uint64_t next_id = 1;
  for (int cycle = 0; cycle < 20; ++cycle) {
    for (int step = 0; step < 2000; ++step) {
      Vertex* v = any();
      switch (random() % 4) {
        case 0: {
          Vertex* made = make<Vertex>();
          made->id = next_id++;
          model[made->id] = {};
          if (v == nullptr) {
            roots[random() % kRoots] = made;
          } else {
            const size_t i = random() % 5;
            v->to[i] = made;
            model[v->id][i] = made->id;
          }
          break;
        }
        case 1:
          if (v != nullptr) {
            Vertex* w = any();
            const size_t i = random() % 5;
            v->to[i] = w;
            model[v->id][i] = w == nullptr ? 0 : w->id;
          }
          break;
        case 2:
          if (v != nullptr && random() % 8 == 0) {
            const size_t i = random() % 5;
            v->to[i] = nullptr;
            model[v->id][i] = 0;
          }
          break;
        default:
          if (random() % 4 == 0) roots[random() % kRoots] = v;
      }
    }
    // What the model says is reachable.
    std::map<uint64_t, bool> live;
    std::vector<uint64_t> grey;
    for (const Root<Vertex>& r : roots) {
      if (r.get() != nullptr && live.emplace(r->id, true).second) grey.push_back(r->id);
    }
    while (!grey.empty()) {
      const uint64_t id = grey.back();
      grey.pop_back();
      for (const uint64_t to : model[id]) {
        if (to != 0 && live.emplace(to, true).second) grey.push_back(to);
      }
    }
    Collect();
    ASSERT_EQ(GetStats().live_objects, live.size());
    for (auto it = model.begin(); it != model.end();) {
      it = live.count(it->first) != 0 ? std::next(it) : model.erase(it);
    }
  }
}

// --- Mistakes that only a running program can make.

#ifndef NDEBUG
struct Lies {
  Ptr<Node> told, untold;
  GC_FIELDS(Lies, told);
};

TEST_F(CollectorTest, TheProbeFindsAFieldThatWasLeftOut) {
  EXPECT_EXIT((void)make<Lies>(), testing::ExitedWithCode(2),
              "gc: a gc::Ptr at word 1 of a 16-byte .*Lies is not in its GC_FIELDS");
}

TEST_F(CollectorTest, TheProbeFindsAPtrInMemoryThatIsNotScanned) {
  EXPECT_EXIT((void)new Ptr<Node>(), testing::ExitedWithCode(2),
              "gc: a gc::Ptr at 0x.* is in memory that the collector does not scan: use gc::Root");
  EXPECT_EXIT((void)std::vector<Ptr<Node>>(1), testing::ExitedWithCode(2), "use gc::Root");
  alignas(Ptr<Node>) static thread_local char storage[sizeof(Ptr<Node>)];
  EXPECT_EXIT(::new (storage) Ptr<Node>(), testing::ExitedWithCode(2), "use gc::Root");
  // Of these no constructor is seen.
  static constinit Ptr<Node> constant;
  constant = nullptr;
  EXPECT_EXIT(constant = make<Node>(), testing::ExitedWithCode(2), "use gc::Root");
  static constinit thread_local Ptr<Node> of_this_thread;
  EXPECT_EXIT(of_this_thread = make<Node>(), testing::ExitedWithCode(2), "use gc::Root");
}

TEST_F(CollectorTest, TheProbeFindsAnAllocationWhereTheWorldCouldNotStopIt) {
  EXPECT_EXIT(
      {
        world_.may_allocate = false;
        (void)make<Node>();
      },
      testing::ExitedWithCode(2), "fake world: no mutator");
}

TEST_F(CollectorTest, TheProbeFindsAPtrToWhatIsNotCollected) {
  alignas(Node) static char storage[sizeof(Node)];
  EXPECT_EXIT(Ptr<Node>(reinterpret_cast<Node*>(storage)), testing::ExitedWithCode(2),
              "is to hold 0x.*, which is no object of the collected heap");
}

struct HoldsRoot {
  alignas(8) char storage[sizeof(Root<Node>)];
  GC_NOSCAN(HoldsRoot);
};
TEST_F(CollectorTest, TheProbeFindsARootInACollectedObject) {
  HoldsRoot* holder = make<HoldsRoot>();
  EXPECT_EXIT(::new (holder->storage) Root<Node>(make<Node>()), testing::ExitedWithCode(2),
              "gc: a gc::Root at 0x.* is in a collected noscan: use gc::Ptr");
}
#endif

// As Lies, but no Ptr is ever constructed there: what the probe cannot see the verifier can.
struct Raw {
  Ptr<Node> told;
  uintptr_t untold = 0;
  GC_FIELDS(Raw, told);
};

TEST_F(CollectorTest, TheVerifierFindsAnAddressInAWordThatIsNotMapped) {
  Root<Raw> raw = make<Raw>();
  raw->untold = reinterpret_cast<uintptr_t>(make<Node>());
  EXPECT_EXIT(Collect(), testing::ExitedWithCode(2),
              "gc: verify: word 1 of 0x.*Raw.*is not mapped, and holds the address of 0x.*Node");
}

TEST_F(CollectorTest, TheVerifierFindsAPointerToAFreedObject) {
  Root<Node> holder = make<Node>();
  const uintptr_t lost = ~reinterpret_cast<uintptr_t>(make<Node>());
  Collect();
  const uintptr_t word = ~lost;
  std::memcpy(static_cast<void*>(&holder->left), &word, sizeof word);
  EXPECT_EXIT(Collect(), testing::ExitedWithCode(2), "gc: verify: word 1 of 0x.*a free object of");
  holder->left = nullptr;
}

}  // namespace
}  // namespace plimsoll::gc
