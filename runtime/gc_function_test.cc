// gc::function on goroutines: handed over by channels, replaced and called by several at once,
// while marks run beside.

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/function.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc_trees_for_tests.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

constexpr int kDepth = 4;
constexpr int kEach = 200;

using Check = gc::function<bool()>;

// Holds its tree by a plain pointer or by a Ptr: nothing else does.
Check CheckOf(uint64_t key) {
  Node* tree = Tree(key, kDepth);
  if (key % 2 == 0) return [tree, key] { return IsTree(tree, key, kDepth); };
  return [tree = gc::Ptr<Node>(tree), key] { return IsTree(tree, key, kDepth); };
}

class GcFunctionTest : public testing::Test {
 protected:
  GcFunctionTest() { StartCheckedCollector(); }
};

TEST_F(GcFunctionTest, ChannelsHandThemOverWhileMarksRun) {
  Channel<Check> checks(8);
  std::atomic<int> right{0};
  std::atomic<bool> over{false};
  WaitGroup making, taking, collecting;
  for (int g = 0; g < 2; ++g) {
    making.Go([checks, g] {
      for (int i = 1; i <= kEach; ++i) checks.Send(CheckOf(static_cast<uint64_t>(g * kEach + i)));
    });
    taking.Go([checks, &right] {
      while (const auto check = checks.Recv()) right.fetch_add((*check)());
    });
  }
  collecting.Go([&over] {
    while (!over.load()) gc::Collect();
  });
  making.Wait();
  checks.Close();
  taking.Wait();
  over.store(true);
  collecting.Wait();
  EXPECT_EQ(right.load(), 2 * kEach);
}

// One member that all of them replace: each calls a copy of what somebody has put there, which by
// then may be nobody else's.
TEST_F(GcFunctionTest, SeveralReplaceAndCallOneMember) {
  struct Shared {
    Check check;
    GC_FIELDS(Shared, check);
  };
  gc::Root<Shared> shared = gc::make<Shared>();
  shared->check = CheckOf(1);
  Mutex mu;
  std::atomic<int> right{0};
  WaitGroup all;
  for (int g = 0; g < 3; ++g) {
    all.Go([s = shared.get(), &mu, &right, g] {
      for (int i = 1; i <= kEach; ++i) {
        Check mine = CheckOf(static_cast<uint64_t>(g * kEach + i));
        Check theirs;
        {
          std::lock_guard hold(mu);
          theirs = s->check;
          s->check = std::move(mine);
        }
        right.fetch_add(theirs());
        if (i % 20 == 0) gc::Collect();
      }
    });
  }
  all.Wait();
  EXPECT_EQ(right.load(), 3 * kEach);
}

TEST_F(GcFunctionTest, GoRunsOneAndItsStackKeepsWhatItHolds) {
  std::atomic<int> right{0};
  WaitGroup done;
  for (int i = 1; i <= 50; ++i) {
    done.Add(1);
    gc::function<void()> f = [check = CheckOf(static_cast<uint64_t>(i)), &right, &done] {
      gc::Collect();
      right.fetch_add(check());
      done.Done();
    };
    Go(f);
  }
  done.Wait();
  EXPECT_EQ(right.load(), 50);
}

}  // namespace
}  // namespace plimsoll
