// The run queue: runtime/sched/run_queue.h itself, with rings of 2 and 4.

#include "plimsoll/runtime/sched/run_queue.h"

#include <array>
#include <cstdint>

#include "gtest/gtest.h"
#include "plimsoll/tests/model/atomic.h"
#include "plimsoll/tests/model/explore.h"
#include "plimsoll/tests/model/faults.h"

namespace plimsoll::model {
namespace {

constexpr int kMaxGs = 8;

// A goroutine: what made it runnable was written before it was queued, and whoever takes it reads
// that, and owns it from then on.
struct G {
  Var<int> payload{0};
  Var<int> taken{0};
};

template <uint32_t kRing>
struct Queues {
  using Queue = sched::RunQueue<G, kRing>;
  Queue owner;
  Queue thief[2];
  std::array<G, kMaxGs> gs;
  // What overflowed, as PutGlobalList would have it: under a lock.
  Lock global_lock;
  std::array<G*, kMaxGs> global{};
  int global_size = 0;

  void Put(int i, bool next) {
    gs[static_cast<size_t>(i)].payload.Set(1);
    const auto overflow = [this](G** batch, uint32_t n) {
      Check(n == kRing / 2 + 1, "half a ring and one overflow");
      global_lock.lock();
      for (uint32_t k = 0; k < n; ++k) global[static_cast<size_t>(global_size++)] = batch[k];
      global_lock.unlock();
    };
    if (next) {
      owner.PutNext(&gs[static_cast<size_t>(i)], overflow);
    } else {
      owner.PutBack(&gs[static_cast<size_t>(i)], overflow);
    }
  }
  static void Take(G* g) {
    if (g == nullptr) return;
    Check(g->payload.Get() == 1, "what made it runnable is visible");
    Check(g->taken.Get() == 0, "a goroutine runs once");
    g->taken.Set(1);
  }
  void TakeOwn() {
    bool from_next;
    Take(owner.Get(&from_next));
  }
  void Steal(int who, bool take_next) {
    Queue& mine = thief[who];
    Take(owner.StealInto(mine, take_next));
    // What else it stole it runs as its own.
    bool from_next;
    while (G* g = mine.Get(&from_next)) Take(g);
  }
  // Nothing is lost: what nobody took is in a queue.
  void DrainAll(int put) {
    bool from_next;
    for (Queue* q : {&owner, &thief[0], &thief[1]}) {
      while (G* g = q->Get(&from_next)) Take(g);
    }
    for (int i = 0; i < global_size; ++i) Take(global[static_cast<size_t>(i)]);
    for (int i = 0; i < put; ++i) {
      Check(gs[static_cast<size_t>(i)].taken.Get() == 1,
            "every goroutine that was put is somewhere");
    }
  }
};

// The owner puts `put` goroutines to the back, every `next_each`-th to runnext, and takes `get`.
template <uint32_t kRing>
Program OwnerAndThieves(int put, int next_each, int get, int thieves, int steals) {
  return [=] {
    auto* q = New<Queues<kRing>>("queues");
    Thread("owner", [=] {
      for (int i = 0; i < put; ++i) q->Put(i, next_each != 0 && i % next_each == 0);
      for (int i = 0; i < get; ++i) q->TakeOwn();
    });
    for (int t = 0; t < thieves; ++t) {
      Thread(t == 0 ? "thief" : "thief2", [=] {
        for (int i = 0; i < steals; ++i) q->Steal(t, /*take_next=*/true);
      });
    }
    AtEnd([=] { q->DrainAll(put); });
  };
}

// Ring of 4, already holding `before`, put before the threads begin.
Program Overflowing(int before, int put, int thieves) {
  return [=] {
    auto* q = New<Queues<4>>("queues");
    for (int i = 0; i < before; ++i) q->Put(i, false);
    Thread("owner", [=] {
      for (int i = before; i < before + put; ++i) q->Put(i, false);
    });
    for (int t = 0; t < thieves; ++t) {
      Thread(t == 0 ? "thief" : "thief2", [=] { q->Steal(t, true); });
    }
    AtEnd([=] { q->DrainAll(before + put); });
  };
}

// A goroutine lies in runnext before anyone looks. The owner puts `put` more there, each of which
// displaces the one before to the ring, and takes as many: one is left at every moment, and whoever
// asks must see it. `alone`: on the only P, where the one that asks is sysmon.
template <uint32_t kRing>
Program NeverEmpty(int put, int looks, bool alone) {
  return [=] {
    auto* q = New<Queues<kRing>>("queues");
    q->Put(0, /*next=*/true);
    Thread("owner", [=] {
      const auto overflow = [](G**, uint32_t) { Check(false, "so few do not overflow"); };
      for (int i = 1; i <= put; ++i) {
        q->gs[static_cast<size_t>(i)].payload.Set(1);
        q->owner.PutNext(&q->gs[static_cast<size_t>(i)], overflow, alone);
        bool from_next;
        Queues<kRing>::Take(q->owner.Get(&from_next, alone));
      }
    });
    Thread("looker", [=] {
      for (int i = 0; i < looks; ++i) {
        Check(!q->owner.Empty(), "a queue that always holds one is not empty");
      }
    });
    AtEnd([=] { q->DrainAll(put + 1); });
  };
}

// The same beside a thief. What it took may leave the queue empty; but who finds it empty and then
// sees that nobody took the first one must find that one in the owner's hand, between runnext and
// the ring: `carrying` counts the owner's ways in and out of PutNext.
template <uint32_t kRing>
Program EmptyBesideAThief(bool take_next) {
  return [=] {
    auto* q = New<Queues<kRing>>("queues");
    auto* carrying = New<atomic<int>>("carrying", 0);
    auto* taken = New<atomic<int>>("taken", 0);
    q->Put(0, /*next=*/true);
    Thread("owner", [=] {
      carrying->fetch_add(1, std::memory_order_seq_cst);
      q->Put(1, /*next=*/true);
      carrying->fetch_add(1, std::memory_order_seq_cst);
      taken->fetch_add(1, std::memory_order_seq_cst);
      q->TakeOwn();
    });
    Thread("thief", [=] {
      taken->fetch_add(1, std::memory_order_seq_cst);
      q->Steal(0, take_next);
    });
    Thread("looker", [=] {
      const int before = carrying->load(std::memory_order_seq_cst);
      const bool empty = q->owner.Empty();
      const int after = taken->load(std::memory_order_seq_cst);
      // The owner was past its PutNext before the look, and only one of two can have been taken.
      if (before == 2 && after < 2) Check(!empty, "one of two is left");
    });
    AtEnd([=] { q->DrainAll(2); });
  };
}

TEST(RunQueueModel, AQueueThatHoldsOneIsNeverCalledEmpty) {
  ExpectHolds("queue of 4, one in runnext: put 1, get 1 / empty?", {}, NeverEmpty<4>(1, 1, false));
  ExpectHolds("queue of 4, one in runnext: put 2, get 2 / empty?", {}, NeverEmpty<4>(2, 1, false));
  ExpectHolds("queue of 4, one in runnext: put 2, get 2 / empty? twice", {},
              NeverEmpty<4>(2, 2, false));
  ExpectHolds("the same on the only P", {}, NeverEmpty<4>(2, 2, true));
  ExpectHolds("queue of 4, one in runnext: put 1, get 1 / steal, not runnext / empty?", {},
              EmptyBesideAThief<4>(false));
  ExpectHolds("queue of 4, one in runnext, 2 preemptions: put 1, get 1 / steal / empty?",
              {.search = Search::kBounded, .preemptions = 2}, EmptyBesideAThief<4>(true));
  if (SearchFar()) {
    ExpectHolds("queue of 4, one in runnext: put 1, get 1 / steal / empty?", {},
                EmptyBesideAThief<4>(true));
  }
}

TEST(RunQueueModel, PutGetAndStealLoseNothingAndRunNothingTwice) {
  ExpectHolds("queue of 4: put 2, get 2 / steal", {}, OwnerAndThieves<4>(2, 0, 2, 1, 1));
  ExpectHolds("queue of 2: put 3, get 1 / steal", {}, OwnerAndThieves<2>(3, 0, 1, 1, 1));
  ExpectHolds("queue of 4: put 3 by runnext, get 1 / steal", {}, OwnerAndThieves<4>(3, 1, 1, 1, 1));
  ExpectHolds("queue of 4: put 2, get 1 / steal / steal", {}, OwnerAndThieves<4>(2, 0, 1, 2, 1));
  if (SearchFar()) {
    ExpectHolds("queue of 2: put 3, get 1 / steal 2", {}, OwnerAndThieves<2>(3, 2, 1, 1, 2));
    const Options two{.search = Search::kBounded, .preemptions = 2};
    ExpectHolds("queue of 2, 2 preemptions: put 5, get 2 / steal 2", two,
                OwnerAndThieves<2>(5, 2, 2, 1, 2));
    ExpectHolds("queue of 4, 2 preemptions: put 3, get 2 / steal / steal", two,
                OwnerAndThieves<4>(3, 0, 2, 2, 1));
  }
}

TEST(RunQueueModel, OverflowAndStealShareTheRing) {
  ExpectHolds("full queue of 4: put 1 / steal", {}, Overflowing(4, 1, 1));
  ExpectHolds("full queue of 4: put 2 / steal", {}, Overflowing(4, 2, 1));
  if (SearchFar()) {
    ExpectHolds("full queue of 4, 2 preemptions: put 3 / steal / steal",
                {.search = Search::kBounded, .preemptions = 2}, Overflowing(4, 3, 2));
  }
}

TEST(RunQueueModel, TwoThievesByRandomSchedules) {
  const uint64_t n = SearchFar() ? 300'000 : 20'000;
  ExpectHolds("queue of 4, random: put 5, get 3 / steal 2 / steal 2",
              {.search = Search::kRandom, .executions = n}, OwnerAndThieves<4>(5, 2, 3, 2, 2));
  ExpectHolds("full queue of 4, random: put 3 / steal / steal",
              {.search = Search::kRandom, .executions = n}, Overflowing(4, 3, 2));
}

TEST(RunQueueModel, FindsEachPlantedFault) {
  ExpectFinds("queue of 4: put 2 / steal", "runqput: no release", {},
              OwnerAndThieves<4>(2, 0, 0, 1, 1));
  ExpectFinds("queue of 4: put by runnext / steal", "runnext: no release", {},
              OwnerAndThieves<4>(1, 1, 0, 1, 1));
  ExpectFinds("full queue of 4: put 1 / steal", "overflow: head stored, not CASed", {},
              Overflowing(4, 1, 1));
  ExpectFinds("queue of 4: put 1, get 1 / steal", "runqget: head stored, not CASed", {},
              OwnerAndThieves<4>(1, 0, 1, 1, 1));
  ExpectFinds("queue of 2: put 3 / steal", "runqput: a place used again too early", {},
              OwnerAndThieves<2>(3, 0, 0, 1, 1));
  ExpectFinds("queue of 4, one in runnext: put 1, get 1 / empty?",
              "runqget: runnext emptied without a release", {}, NeverEmpty<4>(1, 1, false));
  ExpectFinds("the same on the only P", "runqget alone: runnext emptied without a release", {},
              NeverEmpty<4>(1, 1, true));
  ExpectFinds("queue of 4, one in runnext: put 1, get 1 / empty?", "empty: one look at tail", {},
              NeverEmpty<4>(1, 1, false));
}

}  // namespace
}  // namespace plimsoll::model
