// A mark beside a program that changes the heap between its steps: one thread, every choice from a
// seed. Checkmark and the verifier judge each cycle.

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/barrier.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/fault.h"
#include "plimsoll/runtime/gc/hash_map.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/marker.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"
#include "plimsoll/runtime/gc/variant.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/visitor.h"
#include "plimsoll/runtime/gc/weak.h"

namespace plimsoll::gc {
namespace {

using ::testing::Each;

using internal::Fault;

struct Node {
  Ptr<Node> left, right;
  vector<Ptr<Node>> kids;
  GC_FIELDS(Node, left, right, kids);
};

// Visits what it says is in use: a concurrent marker must not go by that.
struct Stack {
  Ptr<Node> slots[8];
  uint64_t used = 0;
  void gc_trace(Visitor& v) const {
    for (uint64_t i = 0; i < used; ++i) v.visit(slots[i]);
  }
  GC_TRACED(Stack);
};

FakeWorld& World() {
  return FakeWorld::Get({.gogc = -1, .checkmark = true, .verify = true, .step_bytes = 256});
}

// The store of a barrier, alone.
void StorePlainly(Ptr<Node>* slot, Node* value) {
  __atomic_store_n(reinterpret_cast<Node**>(slot), value, __ATOMIC_RELAXED);
}

// A program whose frame is an array that the world shows, black once the mark has begun.
class Mutator {
 public:
  explicit Mutator(uint64_t seed) : random_(seed) {
    FakeWorld& world = World();
    for (uintptr_t& word : frame_) word = Word(Chain(3));
    world.stack = frame_;
    for (int i = 0; i < 200; ++i) Add(Chain(4));
    traced_ = make<Stack>();
    map_ = make<hash_map<Ptr<Node>, Ptr<Node>>>();
    weaks_ = make<vector<Weak<Node>>>();
    world.beside = [this] {
      for (int i = 0; i < 3; ++i) Act();
    };
    world.interrupted = interrupted_;
  }
  ~Mutator() {
    World().beside = nullptr;
    World().stack = {};
    World().interrupted = {};
  }

  // A cycle; at times with an interrupted barrier in it.
  void Cycle() {
    if (random_() % 2 == 0) BeginHalf();
    Collect();
    FinishHalf();
  }

  int acts = 0;

 private:
  static uintptr_t Word(const void* p) { return reinterpret_cast<uintptr_t>(p); }
  Node* Frame(size_t i) const { return reinterpret_cast<Node*>(frame_[i]); }
  size_t Any() { return random_() % kFrame; }

  Node* Chain(int length) {
    Node* n = make<Node>();
    for (int i = 0; i < length; ++i) {
      Node* m = make<Node>();
      (random_() % 2 == 0 ? m->left : m->right) = n;
      n = m;
    }
    return n;
  }
  void Add(Node* n) {
    if (roots_.size() < 100) {
      roots_.emplace_back(n);
    } else {
      roots_[random_() % roots_.size()] = n;
    }
  }

  void Act() {
    ++acts;
    FinishHalf();
    const size_t i = Any();
    Node* n = Frame(i);
    if (n == nullptr) {
      frame_[i] = Word(roots_[random_() % roots_.size()].get());
      return;
    }
    switch (random_() % 13) {
      case 0:  // take the only pointer to what hangs there
        frame_[Any()] = Word(n->left);
        n->left = nullptr;
        break;
      case 1:
        n->right = Frame(Any());
        break;
      case 2:
        n->kids.push_back(Frame(Any()));
        break;
      case 3:
        if (!n->kids.empty()) {
          frame_[Any()] = Word(n->kids.back());
          n->kids.pop_back();
        }
        break;
      case 4:
        frame_[i] = Word(Chain(2));
        break;
      case 5:
        n->left = Chain(2);  // nothing else holds it
        break;
      case 6:
        Add(n);
        break;
      case 7:
        frame_[i] = Word(roots_[random_() % roots_.size()].get());
        break;
      case 8:
        if (traced_->used < 8) {
          traced_->slots[traced_->used++] = n;
        } else {
          while (traced_->used > 3) frame_[Any()] = Word(traced_->slots[--traced_->used]);
        }
        break;
      case 9:
        (*map_)[n] = Frame(Any());
        if (map_->size() > 40) map_->clear();
        break;
      case 10:
        if (Ptr<Node>* found = map_->find(n)) {
          frame_[Any()] = Word(*found);
          map_->erase(n);
        }
        break;
      case 11:
        if (weaks_->size() > 40) weaks_->clear();
        weaks_->push_back(Weak<Node>(n));
        break;
      case 12:  // maybe the only pointer to it
        if (!weaks_->empty()) frame_[Any()] = Word((*weaks_)[random_() % weaks_->size()].lock());
        break;
    }
  }

  // A barrier that a signal interrupts before its store, having seen the flag down, when the mark
  // begins: the slot's address is in a register. The store comes with the first act beside the
  // mark, and another mutator has read the slot by then.
  void BeginHalf() {
    Node* n = roots_[random_() % roots_.size()];
    if (n->left == nullptr) return;
    interrupted_[0] = Word(&n->left);
  }
  void FinishHalf() {
    if (interrupted_[0] == 0) return;
    auto* slot = reinterpret_cast<Ptr<Node>*>(interrupted_[0]);
    frame_[Any()] = Word(slot->get());
    interrupted_[0] = 0;
    StorePlainly(slot, nullptr);
  }

  static constexpr size_t kFrame = 12;
  std::mt19937_64 random_;
  uintptr_t frame_[kFrame] = {};
  uintptr_t interrupted_[1] = {};
  std::vector<Root<Node>> roots_;
  Root<Stack> traced_;
  Root<hash_map<Ptr<Node>, Ptr<Node>>> map_;
  Root<vector<Weak<Node>>> weaks_;
};

TEST(BesideTest, NothingIsLostWhateverTheProgramDoesMeanwhile) {
  const uint64_t first_seed = std::random_device()();
  int acts = 0;
  for (uint64_t seed = first_seed; seed < first_seed + 30; ++seed) {
    SCOPED_TRACE(seed);
    Mutator mutator(seed);
    World().procs = seed % 2 == 0 ? 1 : 2;  // marks by plain stores, and by locked ones
    for (int i = 0; i < 10; ++i) mutator.Cycle();
    acts += mutator.acts;
  }
  EXPECT_GT(acts, 30 * 10 * 20) << "the program did not run beside the marks";
}

class EachFaultTest : public testing::TestWithParam<int> {};

TEST_P(EachFaultTest, IsToldOf) {
  const auto fault = static_cast<Fault>(GetParam());
  const uint64_t first_seed = std::random_device()();
  for (uint64_t seed = first_seed; seed < first_seed + 20; ++seed) {
    SCOPED_TRACE(seed);
    EXPECT_EXIT(
        {
          Mutator mutator(seed);
          internal::SetFault(fault);
          for (int i = 0; i < 100; ++i) mutator.Cycle();
        },
        testing::ExitedWithCode(2), "fatal error: .*");
  }
}

INSTANTIATE_TEST_SUITE_P(, EachFaultTest,
                         testing::Range(static_cast<int>(internal::kFirstBeside),
                                        static_cast<int>(internal::kFirstAfter)),
                         [](const auto& info) {
                           return std::string(internal::FaultName(static_cast<Fault>(info.param)));
                         });

TEST(BesideTest, WhatIsAllocatedMeanwhileIsKeptAndCounted) {
  FakeWorld& world = World();
  Root<Node> kept = make<Node>();
  for (int i = 0; i < 100; ++i) kept->kids.push_back(make<Node>());
  bool done = false;
  Root<Node> late;
  world.beside = [&] {
    if (std::exchange(done, true)) return;
    late = make<Node>();
    late->left = make<Node>();
    (void)make<Node>();  // garbage at once, and kept for this cycle
  };
  Collect();
  world.beside = nullptr;
  EXPECT_EQ(GetStats().live_objects, 101u + 1 + 3);  // the nodes, their array, what came meanwhile
  Collect();
  EXPECT_EQ(GetStats().live_objects, 101u + 1 + 2);
}

TEST(BesideTest, WhatIsLetGoMeanwhileGoesWithTheNextCycle) {
  FakeWorld& world = World();
  Root<Node> root = make<Node>();
  root->left = make<Node>();
  for (int i = 0; i < 100; ++i) root->kids.push_back(make<Node>());
  Collect();
  const uint64_t all = GetStats().live_objects;
  world.beside = [&] { root->left = nullptr; };
  Collect();
  EXPECT_EQ(GetStats().live_objects, all);
  world.beside = nullptr;
  Collect();
  EXPECT_EQ(GetStats().live_objects, all - 1);
}

// Two mutators race on node->left: a signal stops the first within a barrier, after its look at the
// flag, from before the mark begins to its first step; the second then reads what is there.
class InterruptedBarrier {
 public:
  explicit InterruptedBarrier(Node* node) : slot_{reinterpret_cast<uintptr_t>(&node->left)} {
    World().interrupted = slot_;
    World().stack = frame_;
    World().beside = [this, node] {
      if (frame_[0] != 0) return;
      frame_[0] = reinterpret_cast<uintptr_t>(node->left.get());
      StorePlainly(&node->left, nullptr);
    };
  }
  ~InterruptedBarrier() {
    World().beside = nullptr;
    World().stack = {};
    World().interrupted = {};
  }

 private:
  uintptr_t slot_[1];
  uintptr_t frame_[1] = {0};
};

// A chain that hangs by root->left, behind a root that takes more than a step to mark.
struct Chain {
  explicit Chain(int length) {
    for (int i = 0; i < length; ++i) {
      Node* n = make<Node>();
      n->left = root->left;
      root->left = n;
    }
  }
  Root<Node> array = make_array<Node>(1000);
  Root<Node> root = make<Node>();
};

TEST(BesideTest, WhatAnInterruptedBarrierIsToOverwriteIsKept) {
  World();
  const Chain chain(20);
  InterruptedBarrier barrier(chain.root);
  Collect();
  EXPECT_GE(GetStats().live_objects, 21u);
}

TEST(BesideTest, WhatAnInterruptedBarrierIsToOverwriteIsLostWhereItIsNotFollowed) {
  for (int length = 1; length <= 20; ++length) {
    EXPECT_EXIT(
        {
          World();
          const Chain chain(length);
          internal::SetFault(Fault::kInterruptedMissed);
          InterruptedBarrier barrier(chain.root);
          Collect();
        },
        testing::ExitedWithCode(2), "checkmark: .* is reachable and not marked");
  }
}

// A stack of many words, of which the start keeps each and looks up none.
class WideStack {
 public:
  explicit WideStack(size_t words) {
    World();
    for (int i = 0; i < 1000; ++i) nodes_.emplace_back(make<Node>());
    for (Root<Node>& n : nodes_) {
      n->left = make<Node>();
      n->left->left = make<Node>();
    }
    for (size_t i = 0; i < words; ++i) {
      words_.push_back(reinterpret_cast<uintptr_t>(nodes_[i % nodes_.size()].get()));
    }
    nodes_.clear();  // but for the stack they are reachable from nowhere
    World().stack = words_;
  }
  ~WideStack() {
    World().stack = {};
    World().beside = nullptr;
    World().scanning = nullptr;
    World().scanned = nullptr;
  }
  static constexpr uint64_t kObjects = 3000;

 private:
  std::vector<Root<Node>> nodes_;
  std::vector<uintptr_t> words_;
};

// How many words of the stack lead to what is marked.
uint64_t MarkedOnStack() {
  uint64_t marked = 0;
  for (uintptr_t word : World().stack) {
    alloc::Object o;
    marked += !alloc::FindObject(word, &o) || alloc::IsMarked(o);
  }
  return marked;
}

// When the start is over nothing of it is marked.
TEST(BesideTest, WhatAStackHoldsIsFollowedBesideTheProgram) {
  const WideStack stack(WideStack::kObjects / 3);
  uint64_t steps = 0;
  uint64_t marked_by_start = 0;
  World().beside = [&] {
    if (steps++ == 0) marked_by_start = MarkedOnStack();
  };
  Collect();
  EXPECT_EQ(marked_by_start, 0u);
  EXPECT_EQ(GetStats().live_objects, WideStack::kObjects);
  // A step of 256 bytes follows four words.
  EXPECT_GT(steps, WideStack::kObjects / 3 / 8);
}

// The program takes each word off the stack before it was followed.
TEST(BesideTest, WhatAStackHeldAtTheStartIsKeptThoughItIsTakenOff) {
  const WideStack stack(WideStack::kObjects / 3);
  World().beside = [] { World().stack = {}; };
  Collect();
  EXPECT_EQ(GetStats().live_objects, WideStack::kObjects);
  World().beside = nullptr;
  Collect();
  EXPECT_EQ(GetStats().live_objects, 0u);
}

// What a start takes memory for has a bound.
TEST(BesideTest, OfAVeryLargeStackTheRestIsFollowedAtOnce) {
  constexpr size_t kBeyond = 300;
  const WideStack stack(internal::Marker::kMostKept + kBeyond);
  uint64_t steps = 0;
  uint64_t nodes = 0;
  World().beside = [&] {
    if (steps++ > 0) return;
    // Of 1,000 nodes, in turns: those that the words beyond lead to are marked wherever they stand.
    nodes = MarkedOnStack() / (World().stack.size() / 1000);
  };
  Collect();
  EXPECT_GE(nodes, kBeyond);
  EXPECT_LT(nodes, kBeyond + 10);  // and few Roots there are
  EXPECT_EQ(GetStats().live_objects, WideStack::kObjects);
}

TEST(BesideTest, WithoutMemoryForItsWordsAStackIsFollowedAtOnce) {
  {
    const WideStack few(1000);
    Collect();  // what marking needs but for the words is there
  }
  const WideStack stack(200'000);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &limit), 0);
  const rlimit none{1, limit.rlim_max};
  int scans = 0;
  World().scanning = [&] {
    // The marker looks first. Checkmark comes second, and takes memory for what it sees.
    if (++scans == 1 && setrlimit(RLIMIT_AS, &none) != 0) std::abort();
  };
  World().scanned = [&] {
    if (setrlimit(RLIMIT_AS, &limit) != 0) std::abort();
  };
  Collect();
  EXPECT_EQ(scans, 2);
  EXPECT_EQ(GetStats().live_objects, WideStack::kObjects);
}

// A mutator that has overwritten node->left within the barrier's region, in the first step of the
// mark, and shades what was there when nothing else is grey and the world is about to be stopped.
class LateShade {
 public:
  explicit LateShade(Node* node) {
    World().beside = [this, node] {
      if (old_ != nullptr) return;
      old_ = node->left;
      StorePlainly(&node->left, nullptr);
    };
    World().stopping = [this, node] {
      if (!internal::Marking() || old_ == nullptr || shaded_) return;
      StorePlainly(&node->left, old_);
      node->left = nullptr;
      shaded_ = true;
    };
  }
  ~LateShade() {
    World().beside = nullptr;
    World().stopping = nullptr;
  }
  bool shaded() const { return shaded_; }

 private:
  Node* old_ = nullptr;
  bool shaded_ = false;
};

// A list that the mark goes along, step by step. The program works at its other end: what a variant
// leads to it moves to an array, of which there are two, so that the mark has been at one of them
// already; then it gives the variant another alternative, and no other pointer is overwritten.
TEST(BesideTest, WhatAVariantGivesUpIsMarked) {
  struct Holder {
    variant<int64_t, string, Ptr<Node>> is;
    Ptr<Holder> next;
    GC_FIELDS(Holder, is, next);
  };
  constexpr size_t kHolders = 500;
  FakeWorld& world = World();
  Root<Ptr<Node>> first = make_array<Ptr<Node>>(kHolders);
  Root<Holder> list;
  Root<Ptr<Node>> last = make_array<Ptr<Node>>(kHolders);
  std::vector<Holder*> far;  // from the list's end on
  for (size_t i = 0; i < kHolders; ++i) {
    Holder* h = make<Holder>();
    h->is = Ptr<Node>(make<Node>());
    h->next = list.get();
    list = h;
    far.push_back(h);
  }
  size_t moved = 0;
  world.beside = [&] {
    for (int n = 0; n < 5 && moved < kHolders; ++n, ++moved) {
      auto& is = far[moved]->is;
      (moved % 2 == 0 ? first : last).get()[moved] = is.get<Ptr<Node>>();
      if (moved % 4 < 2) {
        is = int64_t{-1};
      } else {
        is = string("was here");
      }
    }
  };
  Collect();  // with checkmark and the verifier
  world.beside = nullptr;
  EXPECT_GT(moved, kHolders / 4);
  for (size_t i = 0; i < moved; ++i) {
    alloc::Object o;
    const Node* n = (i % 2 == 0 ? first : last).get()[i];
    EXPECT_TRUE(alloc::FindObject(reinterpret_cast<uintptr_t>(n), &o)) << i;
    if (i % 4 >= 2) {
      EXPECT_EQ(far[i]->is.get<string>(), "was here") << i;
    }
  }
}

// As one of any other kind is. What it leads to is found in each.
TEST(BesideTest, ALargeTracedArrayIsScannedInPieces) {
  World();
  constexpr size_t kPieces = 64;
  constexpr size_t kArray = kPieces * internal::kPieceBytes / sizeof(Stack);
  Root<Stack> array = make_array<Stack>(kArray);
  for (size_t i = 0; i < kArray; i += kArray / kPieces) {
    array.get()[i].slots[0] = make<Node>();
    array.get()[i].used = 1;
  }
  uint64_t steps = 0;
  World().beside = [&] { ++steps; };
  Collect();
  World().beside = nullptr;
  EXPECT_GE(steps, kPieces);
  EXPECT_GT(GetStats().live_objects, kPieces);
}

TEST(BesideTest, AnEndThatFindsMuchMoreStartsTheWorldAgain) {
  World();
  const Chain chain(20'000);
  const LateShade late(chain.root);
  const uint64_t restarts = GetStats().restarts;
  Collect();
  EXPECT_GT(GetStats().restarts, restarts);
  EXPECT_GE(GetStats().live_objects, 20'001u);
}

// Little that is shaded so late does not start it again: it is marked in the pause.
TEST(BesideTest, AnEndThatFindsALittleMoreMarksIt) {
  World();
  const Chain chain(20);
  const LateShade late(chain.root);
  const uint64_t restarts = GetStats().restarts;
  Collect();
  EXPECT_TRUE(late.shaded());
  EXPECT_EQ(GetStats().restarts, restarts);
  EXPECT_GE(GetStats().live_objects, 21u);
}

// A thread that is not stopped gives a Root, which was looked at, what no other root holds any
// more, and it has no pointers: a note marks it, and there is nothing to scan.
TEST(BesideTest, WhatANoteAloneMarksIsCountedInItsCycle) {
  FakeWorld& world = World();
  Collect();
  const uint64_t before = GetStats().live_objects;
  Root<uint64_t> target = make_noscan<uint64_t>(3);
  const uintptr_t hidden = ~reinterpret_cast<uintptr_t>(target.get());
  target = nullptr;
  world.scanning = [&] { target = reinterpret_cast<uint64_t*>(~hidden); };
  Collect();
  world.scanning = nullptr;
  EXPECT_EQ(GetStats().live_objects, before + 1);
  Collect();
  EXPECT_EQ(GetStats().live_objects, before + 1);
}

TEST(BesideTest, AssistsMarkWhatAFastAllocatorOwes) {
  FakeWorld& world = World();
  world.sweep_at_once = true;
  Root<Node> root = make<Node>();
  for (int i = 0; i < 50'000; ++i) root->kids.push_back(make<Node>());
  Collect();
  SetGoGc(100);
  const uint64_t cycles = GetStats().cycles;
  const int64_t assisted = GetStats().assist_ns;
  uint64_t most = 0;
  world.beside = [&] {
    // As much between two steps as ten steps mark.
    for (int i = 0; i < 50; ++i) (void)make<Node>();
    const Stats s = GetStats();
    if (s.cycles == cycles) most = std::max(most, s.heap_bytes);
  };
  while (GetStats().cycles < cycles + 1) (void)make<Node>();
  world.beside = nullptr;
  SetGoGc(-1);
  EXPECT_GT(GetStats().assist_ns, assisted);
  EXPECT_LE(most, uint64_t{14} << 20) << "beyond live * 2 and an eighth";
}

TEST(BesideTest, UnderAQuotaMarkersTakeAQuarterOfItAndThenWait) {
  FakeWorld& world = World();
  Root<Node> root = make<Node>();
  for (int i = 0; i < 50'000; ++i) root->kids.push_back(make<Node>());
  const auto spent = [](const Stats& s) { return s.background_ns + s.idle_ns; };
  world.procs = 2;
  Collect();
  EXPECT_EQ(world.waited_ns, 0) << "without a quota what nobody else wants is used";
  EXPECT_GT(GetStats().idle_ns, 0);

  world.quota = 0.5;
  const Stats before = GetStats();
  const int64_t waited = world.waited_ns;
  Collect();
  const Stats after = GetStats();
  const int64_t marked_ns = spent(after) - spent(before);
  EXPECT_EQ(after.idle_ns, before.idle_ns);
  EXPECT_GT(marked_ns, 0);
  // An eighth of a CPU. What the loop does beside its steps passes as time, too; a quarter of the
  // Ps would have it wait as long as it marks.
  EXPECT_GT(world.waited_ns - waited, 4 * marked_ns);

  // Where the quota is no less than the Ps there is none.
  world.quota = 2;
  const int64_t waited_then = world.waited_ns;
  Collect();
  EXPECT_EQ(world.waited_ns, waited_then);
  world.quota = std::numeric_limits<double>::infinity();
  world.procs = 1;
}

// With each step the clock goes on by a millisecond, and by `wait_ms` while others have their
// turns. The number of steps in each turn but the first, whose marker did not wait, and the last.
std::vector<int> StepsOfTurns(int64_t wait_ms) {
  FakeWorld& world = World();
  Root<Node> root = make<Node>();
  for (int i = 0; i < 50'000; ++i) root->kids.push_back(make<Node>());
  std::vector<int> turns = {0};
  world.give_way = [&](bool over) {
    world.waited_ns += (over ? wait_ms : 1) * 1'000'000;
    if (over) {
      turns.push_back(0);
    } else {
      ++turns.back();
    }
    return over;
  };
  world.procs = 2;
  world.clock_runs = false;
  Collect();
  world.clock_runs = true;
  world.procs = 1;
  world.give_way = nullptr;
  EXPECT_GE(turns.size(), 3u);
  if (turns.size() < 3) return {};
  return {turns.begin() + 1, turns.end() - 1};
}

TEST(BesideTest, AMarkersTurnIsAThirdOfWhatItWaitedForItWithinLimits) {
  EXPECT_THAT(StepsOfTurns(1), Each(1));
  EXPECT_THAT(StepsOfTurns(15), Each(5));
  EXPECT_THAT(StepsOfTurns(300), Each(10));
}

}  // namespace
}  // namespace plimsoll::gc
