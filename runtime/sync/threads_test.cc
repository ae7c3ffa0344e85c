// Every type of this folder, and channels, between plain threads, and between threads and
// goroutines.
//
// Linked twice: threads_test has a scheduler; in threads_alone_test there is none, and only the
// cases that need no goroutine run.

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sync/cond.h"
#include "plimsoll/runtime/sync/map.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/once.h"
#include "plimsoll/runtime/sync/pool.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/semaphore.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// Clang's analysis knows one owner of a lock: what many do at once goes past it.
bool TryRead(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { return mu.try_lock_shared(); }
void EndRead(RWMutex& mu) ABSL_NO_THREAD_SAFETY_ANALYSIS { mu.unlock_shared(); }

// Workers that share what is tested.
class Crew {
 public:
  explicit Crew(bool mixed) : mixed_(mixed) {}
  ~Crew() { Join(); }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // One more worker runs f(): in a mixed crew a thread and a goroutine by turns.
  template <typename F>
  void Start(F f) {
    if (mixed_ && started_++ % 2 == 1) {
      goroutines_.fetch_add(1, std::memory_order_relaxed);
      Go([this, f = std::move(f)]() mutable {
        f();
        // release: pairs with the acquire in Join
        goroutines_.fetch_sub(1, std::memory_order_release);
      });
    } else {
      threads_.emplace_back(std::move(f));
    }
  }

  // Waits for all of them.
  void Join() {
    while (goroutines_.load(std::memory_order_acquire) != 0) sched::Yield();
    for (std::thread& thread : threads_) BlockingCall([&] { thread.join(); });
    threads_.clear();
  }

 private:
  const bool mixed_;
  int started_ = 0;
  std::atomic<int> goroutines_{0};  // that have not ended
  std::vector<std::thread> threads_;
};

class ThreadsTest : public testing::TestWithParam<bool> {
 protected:
  static constexpr int kWorkers = 4;

  // Runs f(0), f(1), …, one worker each, all at once.
  template <typename F>
  void Run(F f) {
    for (int i = 0; i < kWorkers; ++i) crew_.Start([&f, i] { f(i); });
    crew_.Join();
  }

  // Two of each kind are of the first half, in a mixed crew as well.
  static bool FirstHalf(int worker) { return worker < kWorkers / 2; }

  Crew crew_{GetParam()};
};

std::string NameOf(const testing::TestParamInfo<bool>& mixed) {
  return mixed.param ? "WithGoroutines" : "Alone";
}
INSTANTIATE_TEST_SUITE_P(Threads, ThreadsTest, testing::Bool(), NameOf);

TEST_P(ThreadsTest, AMutexLetsOneInAtATime) {
  constexpr int kRounds = 2'000;
  Mutex mu;
  int64_t counter = 0;  // plain: TSan sees a lock that does not exclude
  Run([&](int) {
    for (int i = 0; i < kRounds; ++i) {
      std::lock_guard hold(mu);
      ++counter;
      if (i % 128 == 0) sched::Yield();  // with the lock held: the others come to wait
    }
  });
  EXPECT_EQ(counter, kWorkers * kRounds);
}

TEST_P(ThreadsTest, AWaitGroupLetsEachOneGoOnWhenAllAreDone) {
  constexpr int kRounds = 100;
  std::vector<WaitGroup> groups(kRounds);
  for (WaitGroup& group : groups) group.Add(kWorkers);
  // Plain: TSan sees a Wait that does not order.
  std::vector<std::vector<int>> written(kRounds, std::vector<int>(kWorkers, -1));
  Run([&](int me) {
    for (int i = 0; i < kRounds; ++i) {
      written[i][me] = me;
      groups[i].Done();
      groups[i].Wait();
      for (int other = 0; other < kWorkers; ++other) EXPECT_EQ(written[i][other], other);
    }
  });
}

TEST_P(ThreadsTest, AOnceRunsOnceAndAllSeeWhatItDid) {
  constexpr int kRounds = 50;
  std::vector<Once> onces(kRounds);
  std::vector<int> runs(kRounds);  // plain, likewise
  int made = 0;
  const auto value = OnceValue([&] { return std::to_string(++made); });
  std::vector<const std::string*> seen(kWorkers);
  Run([&, value](int me) {
    seen[me] = &value();
    for (int i = 0; i < kRounds; ++i) {
      onces[i].Do([&] {
        sched::Yield();  // the others come meanwhile, and must wait
        ++runs[i];
      });
      EXPECT_EQ(runs[i], 1);
    }
  });
  EXPECT_EQ(value(), "1");
  for (const std::string* one : seen) EXPECT_EQ(one, &value());
}

TEST_P(ThreadsTest, ChannelsCarryEachValueOnce) {
  constexpr int kRounds = 1'000;
  const Channel<int> unbuffered, buffered(2);
  constexpr int kValues = kRounds * kWorkers / 2;
  std::vector<std::atomic<int>> received(kValues);
  Run([&](int me) {
    for (int i = 0; i < kRounds; ++i) {
      if (FirstHalf(me)) {
        const int value = me * kRounds + i;
        if (i % 3 == 0) {
          unbuffered.Send(value);
        } else {
          Select(OnSend(unbuffered, value), OnSend(buffered, value));
        }
      } else {
        const auto take = [&](std::optional<int> v) { received[v.value()].fetch_add(1); };
        Select(OnRecv(unbuffered, take), OnRecv(buffered, take));
      }
    }
  });
  for (int v = 0; v < kValues; ++v) EXPECT_EQ(received[v].load(), 1) << v;
  EXPECT_EQ(buffered.Len(), 0u);
}

TEST_P(ThreadsTest, AnRWMutexLetsManyReadersOrOneWriterIn) {
  constexpr int kRounds = 2'000;
  RWMutex mu;
  int64_t first = 0, second = 0;  // plain, and equal unless a writer is in
  Run([&](int) {
    for (int i = 0; i < kRounds; ++i) {
      if (i % 4 == 0) {
        std::lock_guard hold(mu);
        ++first;
        if (i % 128 == 0) sched::Yield();
        ++second;
      } else {
        std::shared_lock hold(mu);
        const int64_t seen = first;
        if (i % 128 == 1) sched::Yield();
        EXPECT_EQ(seen, second);
      }
    }
  });
  EXPECT_EQ(first, kWorkers * kRounds / 4);
  EXPECT_EQ(second, first);
}

TEST_P(ThreadsTest, AnRWMutexHoldsItsReadersTogether) {
  RWMutex mu;
  std::atomic<int> inside{0};
  Run([&](int) {
    std::shared_lock hold(mu);
    inside.fetch_add(1);
    while (inside.load() != kWorkers) sched::Yield();  // ends only if all are in at once
  });
}

TEST_P(ThreadsTest, AnRWMutexWithAWaitingWriterKeepsNewReadersOut) {
  // By turns a writer of either kind, against readers of either kind.
  for (int round = 0; round < 20; ++round) {
    RWMutex mu;
    bool written = false;  // plain: TSan sees a lock that does not order
    std::atomic<int> late_readers_in{0};
    ASSERT_TRUE(TryRead(mu));
    crew_.Start([&] {
      std::lock_guard hold(mu);
      EXPECT_EQ(late_readers_in.load(), 0);
      written = true;
    });
    while (TryRead(mu)) {  // until the writer has announced itself
      EndRead(mu);
      sched::Yield();
    }
    for (int reader = 0; reader < 2; ++reader) {
      crew_.Start([&] {
        std::shared_lock hold(mu);
        EXPECT_TRUE(written);
        late_readers_in.fetch_add(1);
      });
    }
    for (int i = 0; i < 20; ++i) sched::Yield();
    EXPECT_EQ(late_readers_in.load(), 0);
    EndRead(mu);
    crew_.Join();
    EXPECT_EQ(late_readers_in.load(), 2);
  }
}

TEST_P(ThreadsTest, ACondHandsTheTurnFromEachToTheNext) {
  // Nobody gets on without being woken: a Broadcast that misses one who waits ends it all.
  constexpr int kRounds = 100;
  Mutex mu;
  Cond cond;
  int turn = 0;  // guarded by mu
  Run([&](int me) {
    for (int i = 0; i < kRounds; ++i) {
      {
        std::unique_lock hold(mu);
        cond.Wait(hold, [&] { return turn % kWorkers == me; });
        EXPECT_EQ(turn, i * kWorkers + me);
        ++turn;
      }
      cond.Broadcast();
    }
  });
  EXPECT_EQ(turn, kWorkers * kRounds);
}

TEST_P(ThreadsTest, ACondsSignalWakesTheOneThatHasWaitedLongest) {
  constexpr size_t kWaiters = 6;
  Mutex mu;
  Cond cond;
  size_t waiting = 0;         // guarded by mu
  std::vector<size_t> woken;  // likewise
  for (size_t i = 0; i < kWaiters; ++i) {
    crew_.Start([&, i] {
      std::unique_lock hold(mu);
      ++waiting;
      cond.Wait(hold);
      woken.push_back(i);
    });
    for (bool waits = false; !waits; sched::Yield()) {
      std::lock_guard hold(mu);
      waits = waiting == i + 1;
    }
  }
  for (size_t i = 0; i < kWaiters; ++i) {
    cond.Signal();
    for (bool done = false; !done; sched::Yield()) {
      std::lock_guard hold(mu);
      ASSERT_LE(woken.size(), i + 1) << "a Signal woke more than one";
      done = woken.size() == i + 1;
    }
  }
  crew_.Join();
  for (size_t i = 0; i < kWaiters; ++i) EXPECT_EQ(woken[i], i);
}

TEST_P(ThreadsTest, ACondLosesNoSignalBetweenProducersAndConsumers) {
  // One Signal a value: if one is lost a value is left behind, and the test does not end.
  constexpr int kRounds = 2'000;
  Mutex mu;
  Cond not_empty;
  std::deque<int> queue;  // guarded by mu
  int64_t sum = 0;        // likewise
  Run([&](int me) {
    for (int i = 0; i < kRounds; ++i) {
      if (FirstHalf(me)) {
        {
          std::lock_guard hold(mu);
          queue.push_back(i);
        }
        not_empty.Signal();
      } else {
        std::unique_lock hold(mu);
        not_empty.Wait(hold, [&] { return !queue.empty(); });
        sum += queue.front();
        queue.pop_front();
      }
    }
  });
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(sum, int64_t{kWorkers / 2} * kRounds * (kRounds - 1) / 2);
}

struct Counted {
  static inline std::atomic<int> live{0};
  Counted() { live.fetch_add(1); }
  ~Counted() { live.fetch_sub(1); }
  int uses = 0;  // plain: TSan sees a Put that does not order
  std::atomic<int> users{0};
};

TEST_P(ThreadsTest, APoolGivesAnObjectToOneAtATimeAndLosesNone) {
  constexpr int kRounds = 1'000;
  std::atomic<int> made{0};
  {
    Pool<Counted> pool([&] {
      made.fetch_add(1);
      return std::make_unique<Counted>();
    });
    Run([&](int) {
      for (int i = 0; i < kRounds; ++i) {
        auto object = pool.Get();
        EXPECT_EQ(object->users.fetch_add(1), 0);
        ++object->uses;
        if (i % 64 == 0) sched::Yield();
        object->users.fetch_sub(1);
        pool.Put(std::move(object));
      }
    });
    const int all = made.load();
    EXPECT_EQ(Counted::live.load(), all);
    std::vector<std::unique_ptr<Counted>> held;
    std::set<Counted*> different;
    int uses = 0;
    for (int i = 0; i < all; ++i) {
      held.push_back(pool.Get());
      different.insert(held.back().get());
      uses += held.back()->uses;
    }
    EXPECT_EQ(made.load(), all) << "each of them lay there";
    EXPECT_EQ(different.size(), static_cast<size_t>(all));
    EXPECT_EQ(uses, kWorkers * kRounds);
    for (auto& object : held) pool.Put(std::move(object));
  }
  EXPECT_EQ(Counted::live.load(), 0);
}

TEST_P(ThreadsTest, APoolMayAgeWhileItIsUsed) {
  constexpr int kRounds = 500;
  {
    Pool<Counted> pool([] { return std::make_unique<Counted>(); });
    Run([&](int me) {
      for (int i = 0; i < kRounds; ++i) {
        auto object = pool.Get();
        EXPECT_EQ(object->users.fetch_add(1), 0);
        if (i % 32 == me) AgePools();
        object->users.fetch_sub(1);
        pool.Put(std::move(object));
      }
    });
    EXPECT_GT(Counted::live.load(), 0);
    AgePools();
    AgePools();
    EXPECT_EQ(Counted::live.load(), 0) << "nobody asked for any of them";
  }
}

TEST_P(ThreadsTest, AMapKeepsWhatEachStoresAndCountsRight) {
  constexpr int kRounds = 500;
  constexpr int kCounter = -1;
  Map<int, int> map;
  map.Store(kCounter, 0);
  std::atomic<int> first{0};
  Run([&](int me) {
    for (int i = 0; i < kRounds; ++i) {
      const int mine = i * kWorkers + me;
      EXPECT_FALSE(map.LoadOrStore(mine, i).loaded);
      EXPECT_EQ(map.Load(mine), i);
      if (i % 2 == 1) {
        EXPECT_EQ(map.LoadAndDelete(mine), i);
      }
      const int everybodys = kCounter - 1 - i;
      first += !map.LoadOrStore(everybodys, i).loaded;
      for (bool counted = false; !counted;) {
        const int seen = *map.Load(kCounter);
        counted = map.CompareAndSwap(kCounter, seen, seen + 1);
      }
      if (i % 64 == 0) {
        std::set<int> keys;
        map.Range([&](int key, int) {
          EXPECT_TRUE(keys.insert(key).second) << key << " came twice";
          return true;
        });
        EXPECT_TRUE(keys.contains(kCounter));
        EXPECT_TRUE(keys.contains(mine));
      }
    }
  });
  EXPECT_EQ(first.load(), kRounds);
  std::map<int, int> expected = {{kCounter, kWorkers * kRounds}};
  for (int i = 0; i < kRounds; ++i) {
    expected[kCounter - 1 - i] = i;
    for (int me = 0; me < kWorkers && i % 2 == 0; ++me) expected[i * kWorkers + me] = i;
  }
  std::map<int, int> left;
  map.Range([&](int key, int value) { return left.emplace(key, value).second; });
  EXPECT_EQ(left, expected);
}

TEST_P(ThreadsTest, ASemaphoreLetsInNoMoreThanItsWeight) {
  constexpr int kRounds = 200;
  constexpr int64_t kTotal = 3;
  Semaphore sem(kTotal);
  std::atomic<int64_t> inside{0};
  int64_t alone = 0;  // plain: changed by who has the whole weight
  Run([&](int me) {
    const int64_t weight = FirstHalf(me) ? 1 + me : kTotal;
    for (int i = 0; i < kRounds; ++i) {
      if (i % 4 == 3) {
        while (!sem.TryAcquireFor(weight, absl::Microseconds(20))) {
        }
      } else {
        sem.Acquire(weight);
      }
      EXPECT_LE(inside.fetch_add(weight) + weight, kTotal);
      if (weight == kTotal) ++alone;
      if (i % 32 == 0) sched::Yield();
      inside.fetch_sub(weight);
      sem.Release(weight);
    }
  });
  EXPECT_EQ(alone, int64_t{kWorkers / 2} * kRounds);
  EXPECT_TRUE(sem.TryAcquire(kTotal)) << "not all of it came back";
  EXPECT_FALSE(sem.TryAcquire(1)) << "more came back than there is";
}

TEST_P(ThreadsTest, ASemaphoresHeavyRequestIsNotOvertaken) {
  for (int round = 0; round < 20; ++round) {
    Semaphore sem(2);
    sem.Acquire(1);
    bool heavy_was_in = false;  // plain: TSan sees a Release that does not order
    std::atomic<int> light_in{0};
    crew_.Start([&] {
      sem.Acquire(2);
      EXPECT_EQ(light_in.load(), 0);
      heavy_was_in = true;
      sem.Release(2);
    });
    while (sem.TryAcquire(1)) {  // until the heavy one waits
      sem.Release(1);
      sched::Yield();
    }
    for (int light = 0; light < 2; ++light) {
      crew_.Start([&] {
        sem.Acquire(1);
        EXPECT_TRUE(heavy_was_in);
        light_in.fetch_add(1);
        sem.Release(1);
      });
    }
    for (int i = 0; i < 20; ++i) sched::Yield();
    EXPECT_EQ(light_in.load(), 0);
    sem.Release(1);
    crew_.Join();
    EXPECT_EQ(light_in.load(), 2);
  }
}

TEST_P(ThreadsTest, ATimedRequestEndsByItsTimeOrByARelease) {
  Semaphore sem(2);
  sem.Acquire(1);
  Run([&](int) { EXPECT_FALSE(sem.TryAcquireFor(2, absl::Milliseconds(1))); });
  std::atomic<int> got{0};
  for (int i = 0; i < kWorkers; ++i) {
    crew_.Start([&] {
      EXPECT_TRUE(sem.TryAcquireFor(2, absl::InfiniteDuration()));
      got.fetch_add(1);
      sem.Release(2);
    });
  }
  EXPECT_EQ(got.load(), 0);
  sem.Release(1);
  crew_.Join();
  EXPECT_EQ(got.load(), kWorkers);
}

}  // namespace
}  // namespace plimsoll
