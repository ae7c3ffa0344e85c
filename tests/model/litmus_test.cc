// The explorer itself: the outcomes of the litmus tests that everybody knows, and the reduction
// against a search without one.

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"

namespace plimsoll::model {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;
constexpr std::memory_order kAcquire = std::memory_order_acquire;
constexpr std::memory_order kRelease = std::memory_order_release;
constexpr std::memory_order kSeqCst = std::memory_order_seq_cst;

using Outcomes = std::set<std::string>;

// The outcomes of a program that tells its own by `out`.
template <typename Body>
Outcomes All(Body body, Options options = {}) {
  Outcomes outcomes;
  const Result r = Explore(options, [&] { body(outcomes); });
  EXPECT_FALSE(r.failed) << r.trace;
  EXPECT_TRUE(r.complete);
  return outcomes;
}

struct Words {
  atomic<int> x{0}, y{0};
  int r[6] = {};
};

void Tell(Outcomes& outcomes, Words* w, int n) {
  AtEnd([&outcomes, w, n] {
    std::string s;
    for (int i = 0; i < n; ++i) s += static_cast<char>('0' + w->r[i]);
    outcomes.insert(s);
  });
}

Outcomes StoreBuffering(std::memory_order store, std::memory_order load, bool fence) {
  return All([=](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    Thread("a", [=] {
      w->x.store(1, store);
      if (fence) model::atomic_thread_fence(kSeqCst);
      w->r[0] = w->y.load(load);
    });
    Thread("b", [=] {
      w->y.store(1, store);
      if (fence) model::atomic_thread_fence(kSeqCst);
      w->r[1] = w->x.load(load);
    });
    Tell(outcomes, w, 2);
  });
}

TEST(LitmusTest, StoreBufferingNeedsAFence) {
  const Outcomes with_both_zero = {"00", "01", "10", "11"};
  const Outcomes without = {"01", "10", "11"};
  EXPECT_EQ(StoreBuffering(kRelaxed, kRelaxed, false), with_both_zero);
  EXPECT_EQ(StoreBuffering(kRelease, kAcquire, false), with_both_zero);
  EXPECT_EQ(StoreBuffering(kRelaxed, kRelaxed, true), without);
  EXPECT_EQ(StoreBuffering(kSeqCst, kSeqCst, false), without);
}

Outcomes MessagePassing(std::memory_order store, std::memory_order load) {
  return All([=](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    Thread("a", [=] {
      w->x.store(1, kRelaxed);
      w->y.store(1, store);
    });
    Thread("b", [=] {
      w->r[0] = w->y.load(load);
      w->r[1] = w->x.load(kRelaxed);
    });
    Tell(outcomes, w, 2);
  });
}

TEST(LitmusTest, MessagePassingNeedsBothReleaseAndAcquire) {
  const Outcomes ordered = {"00", "01", "11"};
  const Outcomes any = {"00", "01", "10", "11"};
  EXPECT_EQ(MessagePassing(kRelease, kAcquire), ordered);
  EXPECT_EQ(MessagePassing(kRelaxed, kAcquire), any);
  EXPECT_EQ(MessagePassing(kRelease, kRelaxed), any);
  EXPECT_EQ(MessagePassing(kSeqCst, kSeqCst), ordered);
}

TEST(LitmusTest, MessagePassingByFences) {
  const Outcomes outcomes = All([=](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    Thread("a", [=] {
      w->x.store(1, kRelaxed);
      model::atomic_thread_fence(kRelease);
      w->y.store(1, kRelaxed);
    });
    Thread("b", [=] {
      w->r[0] = w->y.load(kRelaxed);
      model::atomic_thread_fence(kAcquire);
      w->r[1] = w->x.load(kRelaxed);
    });
    Tell(outcomes, w, 2);
  });
  EXPECT_EQ(outcomes, (Outcomes{"00", "01", "11"}));
}

// Independent reads of independent writes: two readers may disagree, unless all is seq_cst.
Outcomes Iriw(std::memory_order store, std::memory_order load) {
  return All([=](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    Thread("x", [=] { w->x.store(1, store); });
    Thread("y", [=] { w->y.store(1, store); });
    Thread("xy", [=] {
      w->r[0] = w->x.load(load);
      w->r[1] = w->y.load(load);
    });
    Thread("yx", [=] {
      w->r[2] = w->y.load(load);
      w->r[3] = w->x.load(load);
    });
    Tell(outcomes, w, 4);
  });
}

TEST(LitmusTest, ReadersOfTwoWritesAgreeOnlyUnderSeqCst) {
  EXPECT_TRUE(Iriw(kRelease, kAcquire).contains("1010"));
  EXPECT_EQ(Iriw(kRelease, kAcquire).size(), 16u);
  EXPECT_FALSE(Iriw(kSeqCst, kSeqCst).contains("1010"));
  EXPECT_EQ(Iriw(kSeqCst, kSeqCst).size(), 15u);
}

TEST(LitmusTest, AThreadReadsOneAtomicForwards) {
  const Outcomes outcomes = All([](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    Thread("a", [=] {
      w->x.store(1, kRelaxed);
      w->x.store(2, kRelaxed);
    });
    Thread("b", [=] {
      w->r[0] = w->x.load(kRelaxed);
      w->r[1] = w->x.load(kRelaxed);
    });
    Tell(outcomes, w, 2);
  });
  EXPECT_EQ(outcomes, (Outcomes{"00", "01", "02", "11", "12", "22"}));
}

TEST(LitmusTest, UpdatesReadTheLastStore) {
  const Outcomes outcomes = All([](Outcomes& outcomes) {
    auto* w = New<Words>("w");
    for (int t = 0; t < 3; ++t) {
      Thread("t", [=] { w->r[t] = w->x.fetch_add(1, kRelaxed); });
    }
    Tell(outcomes, w, 3);
  });
  EXPECT_EQ(outcomes, (Outcomes{"012", "021", "102", "120", "201", "210"}));
}

TEST(LitmusTest, SequentialMemoryReadsTheLastStore) {
  const Outcomes outcomes = All(
      [](Outcomes& outcomes) {
        auto* w = New<Words>("w");
        Thread("a", [=] {
          w->x.store(1, kRelaxed);
          w->r[0] = w->y.load(kRelaxed);
        });
        Thread("b", [=] {
          w->y.store(1, kRelaxed);
          w->r[1] = w->x.load(kRelaxed);
        });
        Tell(outcomes, w, 2);
      },
      {.memory = Memory::kSequential});
  EXPECT_EQ(outcomes, (Outcomes{"01", "10", "11"}));
}

TEST(ExploreTest, ALockKeepsOthersOut) {
  const Result r = Explore({}, [] {
    auto* lock = New<Lock>("lock");
    auto* n = New<Var<int>>("n", 0);
    for (int t = 0; t < 3; ++t) {
      Thread("t", [=] {
        lock->lock();
        n->Set(n->Get() + 1);
        lock->unlock();
      });
    }
    AtEnd([=] { Check(n->Get() == 3); });
  });
  EXPECT_FALSE(r.failed) << r.trace;
  EXPECT_TRUE(r.complete);
  EXPECT_EQ(r.executions, 6u);  // the orders of three critical sections, and no more
}

TEST(ExploreTest, FindsARaceAndReplaysIt) {
  const Program program = [] {
    auto* ready = New<atomic<int>>("ready", 0);
    auto* data = New<Var<int>>("data", 0);
    Thread("writer", [=] {
      data->Set(1);
      ready->store(1, kRelaxed);
    });
    Thread("reader", [=] {
      if (ready->load(kAcquire) == 1) data->Get();
    });
  };
  const Result r = Explore({}, program);
  ASSERT_TRUE(r.failed);
  EXPECT_NE(r.failure.find("data race"), std::string::npos) << r.failure;
  EXPECT_NE(r.trace.find("store ready"), std::string::npos) << r.trace;
  const Result again = Replay({}, ScheduleFromText(ToText(r.schedule)), program);
  EXPECT_TRUE(again.failed);
  EXPECT_EQ(again.failure, r.failure);
}

TEST(ExploreTest, FindsTwoLocksInTheWrongOrder) {
  const Result r = Explore({}, [] {
    auto* a = New<Lock>("a");
    auto* b = New<Lock>("b");
    Thread("ab", [=] {
      a->lock();
      b->lock();
      b->unlock();
      a->unlock();
    });
    Thread("ba", [=] {
      b->lock();
      a->lock();
      a->unlock();
      b->unlock();
    });
  });
  EXPECT_TRUE(r.failed);
  EXPECT_NE(r.failure.find("waits for ever"), std::string::npos) << r.failure;
}

TEST(ExploreTest, FindsALostWakeUp) {
  // Check then wait: the wake-up comes between the two.
  const auto program = [](bool right) {
    return [right] {
      auto* word = New<atomic<int>>("word", 0);
      auto* waiting = New<atomic<int>>("waiting", 0);
      auto* woken = New<atomic<int>>("woken", 0);
      Thread("sleeper", [=] {
        if (right) {
          waiting->store(1);
          if (word->load() == 1) return;
        } else {
          if (word->load() == 1) return;
          waiting->store(1);
        }
        woken->WaitWhile(0);
      });
      Thread("waker", [=] {
        word->store(1);
        if (waiting->load() == 1) woken->store(1);
      });
    };
  };
  EXPECT_FALSE(Explore({}, program(true)).failed);
  EXPECT_TRUE(Explore({}, program(false)).failed);
  EXPECT_TRUE(Explore({.search = Search::kBounded, .preemptions = 1}, program(false)).failed);
  EXPECT_TRUE(Explore({.search = Search::kRandom, .executions = 1000}, program(false)).failed);
}

TEST(ExploreTest, FindsAnAtomicUsedAfterItsEnd) {
  struct Frame {
    atomic<int> word{0};
  };
  const Result r = Explore({}, [] {
    auto* frame = New<Frame>("frame");
    auto* gone = New<atomic<int>>("gone", 0);
    Thread("owner", [=] {
      gone->store(1);
      frame->~Frame();
    });
    Thread("user", [=] {
      if (gone->load() == 0) frame->word.store(1);
    });
  });
  EXPECT_TRUE(r.failed);
  EXPECT_NE(r.failure.find("after its end"), std::string::npos) << r.failure;
}

TEST(ExploreTest, EveryChoiceIsMade) {
  std::set<int> seen;
  Explore({}, [&seen] {
    Thread("t", [&seen] {
      const int a = Choose(3);
      seen.insert(a * 10 + Choose(2));
    });
  });
  EXPECT_EQ(seen, (std::set<int>{0, 1, 10, 11, 20, 21}));
}

// Programs of three threads with random operations: the reduced search must show what the full one
// does, and go through fewer executions.
struct RandomProgram {
  struct Op {
    int kind, location;
    std::memory_order order;
    int value;
  };
  std::vector<std::vector<Op>> threads;

  static RandomProgram Make(unsigned seed) {
    unsigned state = seed * 2654435761u + 1;
    const auto below = [&state](unsigned n) {
      state = state * 1664525u + 1013904223u;
      return (state >> 10) % n;
    };
    RandomProgram p;
    const unsigned threads = 2 + below(2);
    const unsigned ops = threads == 2 ? 4 : 2;
    for (unsigned t = 0; t < threads; ++t) {
      p.threads.emplace_back();
      for (unsigned i = 0; i < ops; ++i) {
        constexpr std::memory_order kLoads[] = {kRelaxed, kAcquire, kSeqCst};
        constexpr std::memory_order kStores[] = {kRelaxed, kRelease, kSeqCst};
        const int kind = static_cast<int>(below(7));
        p.threads.back().push_back({kind, static_cast<int>(below(2)),
                                    kind < 2 ? kLoads[below(3)] : kStores[below(3)],
                                    static_cast<int>(1 + t * 4 + i)});
      }
    }
    return p;
  }

  void Run(Outcomes& outcomes) const {
    struct Shared {
      atomic<int> words[2];
      Lock lock;
      int read[3][4] = {};
    };
    auto* s = New<Shared>("s");
    for (size_t t = 0; t < threads.size(); ++t) {
      Thread("t", [this, s, t] {
        for (size_t i = 0; i < threads[t].size(); ++i) {
          const Op& op = threads[t][i];
          atomic<int>& word = s->words[op.location];
          int& r = s->read[t][i];
          switch (op.kind) {
            case 0:
            case 1:
              r = word.load(op.order);
              break;
            case 2:
              word.store(op.value, op.order);
              break;
            case 3:
              r = word.fetch_add(op.value, op.order);
              break;
            case 4:
              model::atomic_thread_fence(op.order == kRelaxed ? kSeqCst : op.order);
              break;
            case 5:
              s->lock.lock();
              r = word.load(kRelaxed);
              word.store(op.value, kRelaxed);
              s->lock.unlock();
              break;
            case 6:
              r = word.WaitWhile(0, /*stays=*/true);
              break;
          }
        }
      });
    }
    AtEnd([&outcomes, s] {
      std::string text;
      for (auto& thread : s->read) {
        for (int r : thread) text += std::to_string(r) + ",";
      }
      text += std::to_string(s->words[0].load()) + "," + std::to_string(s->words[1].load());
      outcomes.insert(text);
    });
  }
};

TEST(ExploreTest, TheReducedSearchShowsWhatTheFullOneDoes) {
  const char* asked = getenv("MODEL_PROGRAMS");
  const unsigned programs = asked != nullptr ? static_cast<unsigned>(atoi(asked)) : 150;
  uint64_t reduced_executions = 0, full_executions = 0;
  size_t outcomes = 0;
  for (unsigned seed = 0; seed < programs; ++seed) {
    const RandomProgram p = RandomProgram::Make(seed);
    Outcomes reduced, full;
    const Result a = Explore({}, [&] { p.Run(reduced); });
    const Result b =
        Explore({.search = Search::kBounded, .preemptions = 1000}, [&] { p.Run(full); });
    ASSERT_TRUE(a.complete && b.complete);
    ASSERT_EQ(reduced, full) << "program " << seed;
    reduced_executions += a.executions;
    full_executions += b.executions;
    outcomes += full.size();
  }
  printf("%u programs, %zu outcomes: %llu executions, unreduced %llu\n", programs, outcomes,
         static_cast<unsigned long long>(reduced_executions),
         static_cast<unsigned long long>(full_executions));
  EXPECT_LT(reduced_executions * 5, full_executions);
}

}  // namespace
}  // namespace plimsoll::model
