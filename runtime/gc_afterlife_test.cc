// Weak pointers, cleanups and destructors on goroutines, whose stacks are scanned: what is to die
// is made, and let go, on a goroutine that has ended before a cycle looks.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/finalized.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/gc_trees_for_tests.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/defer.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// Runs f on another goroutine: its stack goes with it.
template <typename F>
void Elsewhere(F f) {
  WaitGroup done;
  done.Add(1);
  Go([&] {
    f();
    done.Done();
  });
  done.Wait();
}

// Leaves zeroes where the frames of a cycle come to lie: in their gaps would be what the marker of
// the cycle before has looked at, on this stack.
[[gnu::noinline]] void ClearTheStackBelow() {
  volatile char below[32 << 10];
  for (volatile char& c : below) c = 0;
}

// Cycles until it is so. One may not do: a stale word of some stack may be the address of what is
// to go, until that stack is used for something else.
template <typename F>
void CollectUntil(F so) {
  while (!so()) {
    ClearTheStackBelow();
    gc::Collect();
    for (int i = 0; i < 10 && !so(); ++i) Yield();
  }
}

class GcAfterlifeTest : public testing::Test {
 protected:
  GcAfterlifeTest() { StartCheckedCollector(); }
};

TEST_F(GcAfterlifeTest, ACleanupRunsOnAGoroutineOfItsOwnAndMayPark) {
  Channel<int> asked(1), ended;
  Channel<int> question, answered;
  Elsewhere([&] {
    gc::cleanup(
        gc::make<Node>(),
        [=](int number) {
          asked.Send(number);
          answered.Send(*question.Recv() + 1);  // parks twice
          ended.Close();
        },
        5);
  });
  CollectUntil([&] { return asked.Len() == 1; });
  EXPECT_EQ(*asked.Recv(), 5);
  question.Send(7);
  EXPECT_EQ(*answered.Recv(), 8);
  (void)ended.Recv();
}

TEST_F(GcAfterlifeTest, OneThatBlocksHoldsUpTheOthersNoLongerThanToTheNextCycle) {
  constexpr int kOthers = 100;
  Channel<int> never;
  Channel<int> entered(1), done(kOthers + 1);
  Elsewhere([&] {
    gc::cleanup(gc::make<Node>(), [=] {
      entered.Send(1);
      (void)never.Recv();
      done.Send(kOthers);
    });
  });
  CollectUntil([&] { return entered.Len() == 1; });
  Elsewhere([&] {
    for (int i = 0; i < kOthers; ++i) gc::cleanup(gc::make<Node>(), [=] { done.Send(i); });
  });
  // Not all of them: the stack of the one that blocks stays as it is, and so do the stale words in
  // its gaps. It was Elsewhere's before, and where the first object lay there lies one of these
  // now.
  CollectUntil([&] { return done.Len() >= kOthers / 2; });
  never.Close();
  std::vector<int> times(kOthers + 1);
  while (times[kOthers] == 0) ++times.at(*done.Recv());
  for (int i = 0; i < 3; ++i) gc::Collect();
  while (gc::GetStats().queued != 0) Yield();
  while (done.Len() > 0) ++times.at(*done.Recv());
  for (int i = 0; i <= kOthers; ++i) EXPECT_LE(times[i], 1) << i;
}

TEST_F(GcAfterlifeTest, ACleanupThatEndsItsGoroutineIsDoneAndTheRestFollow) {
  Channel<int> done(10);
  const auto shared = std::make_shared<int>(0);
  Elsewhere([&] {
    gc::cleanup(gc::make<Node>(), [=, held = shared] {
      done.Send(1);
      Goexit();
    });
  });
  CollectUntil([&] { return done.Len() == 1; });
  EXPECT_EQ(*done.Recv(), 1);
  Elsewhere([&] { gc::cleanup(gc::make<Node>(), [=] { done.Send(2); }); });
  CollectUntil([&] { return done.Len() == 1; });
  EXPECT_EQ(*done.Recv(), 2);
  while (gc::GetStats().queued != 0) Yield();
  EXPECT_EQ(shared.use_count(), 1) << "its function was destroyed";
}

// A destructor finds null, or what a stale word of a stack keeps: that is whole, and not destroyed.
struct Handle {
  explicit Handle(Channel<uint64_t> to, uint64_t n) : closed(std::move(to)), number(n) {}
  Channel<uint64_t> closed;  // outside of the heap, and not trivial
  uint64_t number;
  bool destroyed = false;
  gc::Ptr<Node> alive, dead;
  gc::Ptr<Handle> other;
  GC_FIELDS(Handle, alive, dead, other);
  ~Handle() {
    const bool right = IsTree(alive, number, 3) && (dead == nullptr || IsTree(dead, number, 2)) &&
                       (other == nullptr || !other->destroyed);
    destroyed = true;
    Node* fresh = Tree(number, 4);  // it may allocate
    closed.Send(right && IsTree(fresh, number, 4) ? number : 0);
  }
};

TEST_F(GcAfterlifeTest, DestructorsRunOnceOnAGoroutineAndSeeWhatIsAliveAlone) {
  constexpr int kHandles = 50;
  Channel<uint64_t> closed(kHandles + 1);
  std::vector<gc::Root<Node>> alive(kHandles + 1);
  Elsewhere([&] {
    gc::Ptr<Handle> last;
    for (uint64_t i = 1; i <= kHandles; ++i) {
      alive[i] = Tree(i, 3);
      Handle* h = gc::finalized<Handle>(closed, i);
      h->alive = alive[i];
      h->dead = Tree(i, 2);
      h->other = last.get() == nullptr ? h : last.get();
      last = h;
    }
  });
  const uint64_t before = gc::GetStats().finalized;
  EXPECT_EQ(before, uint64_t{kHandles});
  CollectUntil([&] { return closed.Len() == kHandles; });
  std::vector<int> times(kHandles + 1);
  for (int i = 0; i < kHandles; ++i) ++times.at(*closed.Recv());
  for (int i = 1; i <= kHandles; ++i) EXPECT_EQ(times[i], 1) << i;
  for (int i = 0; i < 3; ++i) gc::Collect();
  EXPECT_EQ(gc::GetStats().finalized, 0u);
  EXPECT_EQ(closed.Len(), 0u);
}

TEST_F(GcAfterlifeTest, AWeakPointerDoesNotKeepAndIsNullAfterACycle) {
  gc::Root<gc::Weak<Node>> weak;
  gc::Root<Node> held;
  Elsewhere([&] {
    held = Tree(3, 5);
    weak = gc::make<gc::Weak<Node>>(held.get());
  });
  gc::Collect();
  Elsewhere([&] { EXPECT_TRUE(IsTree(weak->lock(), 3, 5)); });
  held = nullptr;
  CollectUntil([&] { return gc::GetStats().weak == 0; });
  EXPECT_EQ(weak->lock(), nullptr);
}

TEST_F(GcAfterlifeTest, KeepAliveKeepsUpToItself) {
  Elsewhere([] {
    Node* n = gc::make<Node>();
    gc::Cleanup undo = gc::cleanup(n, [] { FAIL() << "too early"; });
    for (int i = 0; i < 3; ++i) gc::Collect();
    EXPECT_TRUE(undo.stop()) << "it is due too early";
    gc::keep_alive(n);
  });
}

TEST_F(GcAfterlifeTest, WhatDeferredFunctionsHeldGoesWhenTheyHaveRun) {
  constexpr int kGoroutines = 10;
  std::atomic<int> gone{0}, wrong{0};
  WaitGroup done;
  done.Add(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    Go([&, i] {
      Defer last([&] { done.Done(); });
      Node* n = gc::make<Node>();
      n->key = static_cast<uint64_t>(i);
      gc::cleanup(n, [&gone] { gone.fetch_add(1); });
      Defer look([&wrong, n, i] { wrong += n->key != static_cast<uint64_t>(i); });
    });
  }
  done.Wait();
  CollectUntil([&] { return gone.load() == kGoroutines; });
  EXPECT_EQ(wrong.load(), 0);
}

// Goroutines take trees out of weak pointers, keep them for a while and let them go, beside cycles
// back to back. What lock() gives must be whole, whenever it was asked.
TEST_F(GcAfterlifeTest, WhatAWeakPointerGivesIsWholeWhateverCyclesDoMeanwhile) {
  constexpr int kMutators = 4;
  constexpr size_t kPlaces = 32;
#ifdef PLIMSOLL_TSAN
  constexpr int kRounds = 300;
#else
  constexpr int kRounds = 3000;
#endif
  struct Shared {
    gc::vector<gc::Ptr<Node>> strong;
    gc::vector<gc::Weak<Node>> weak;
    GC_FIELDS(Shared, strong, weak);
  };
  gc::Root<Shared> shared = gc::make<Shared>();
  shared->strong.resize(kPlaces);
  shared->weak.resize(kPlaces);
  const uint64_t seed = std::random_device()();
  std::atomic<int> wrong{0}, gone{0}, found{0}, made{0};
  // A cleanup that a stale word holds up may run when the test is over.
  static std::atomic<int> cleaned{0}, twice{0};
  static std::atomic<int> times[kMutators * kRounds];
  std::atomic<int> running{kMutators};
  Mutex mu;  // the program's own order
  WaitGroup done;
  done.Add(kMutators);
  for (int m = 0; m < kMutators; ++m) {
    Go([&, m, all = gc::Ptr<Shared>(shared.get())] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(m));
      for (int i = 0; i < kRounds; ++i) {
        const size_t at = random() % kPlaces;
        const auto put = [&](Node* n) {
          std::lock_guard hold(mu);
          all->strong[at] = n;
        };
        switch (random() % 4) {
          case 0: {
            Node* n = Tree(random() % 1000 + 1, 4);
            made.fetch_add(1);
            gc::cleanup(n, [number = m * kRounds + i] {
              twice += times[number].fetch_add(1);
              cleaned.fetch_add(1);
            });
            const gc::Weak<Node> weak(n);
            std::lock_guard hold(mu);
            all->strong[at] = n;
            all->weak[at] = weak;
            break;
          }
          case 1:
            put(nullptr);
            break;
          default: {
            mu.lock();
            const gc::Weak<Node> weak = all->weak[at];
            mu.unlock();
            Node* n = weak.lock();
            (n == nullptr ? gone : found).fetch_add(1);
            if (n == nullptr) break;
            wrong += !IsTree(n, n->key, 4);
            if (i % 8 == 0) Yield();
            if (random() % 2 == 0) put(n);
            wrong += !IsTree(n, n->key, 4);
            wrong += !(gc::Weak<Node>(n) == weak);
            break;
          }
        }
      }
      running.fetch_sub(1);
      done.Done();
    });
  }
  while (running.load() > 0) {
    gc::Collect();
    Yield();
  }
  done.Wait();
  EXPECT_EQ(wrong.load(), 0) << "seed " << seed;
  EXPECT_GT(found.load(), 0);
  shared = nullptr;
  for (int i = 0; i < 5; ++i) {
    ClearTheStackBelow();
    gc::Collect();
  }
  while (gc::GetStats().queued != 0) Yield();
  EXPECT_EQ(twice.load(), 0) << "seed " << seed;
  // But for what stale words keep.
  EXPECT_GT(cleaned.load(), made.load() / 2);
}

}  // namespace
}  // namespace plimsoll
