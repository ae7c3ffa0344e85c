#include "plimsoll/runtime/sched/stop_world.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/timers.h"

namespace plimsoll::sched {
namespace {

// Tests run on the main goroutine of a scheduler with two Ps (tests/testing/goroutine_main.cc).

// Every goroutine of the stopped world, by value.
struct Shown {
  uint64_t id;  // of the goroutine, which may have ended since
  GView view;
};
std::vector<Shown> Views() {
  // Room is made while the world runs: nothing allocates within a stop.
  struct Room {
    std::vector<Shown> views;
    size_t used = 0;
  } room;
  room.views.resize(10'000);
  StopTheWorld();
  ForEachG(
      [](const GView& g, void* arg) {
        auto* r = static_cast<Room*>(arg);
        if (r->used < r->views.size()) r->views[r->used++] = {g.id(), g};
      },
      &room);
  StartTheWorld();
  room.views.resize(room.used);
  return room.views;
}

const GView* Find(const std::vector<Shown>& views, uint64_t id) {
  for (const Shown& g : views) {
    if (g.id == id) return &g.view;
  }
  return nullptr;
}

// Goroutines that work until told to stop, each in its own way.
struct Workers {
  std::atomic<bool> stop{false};
  std::atomic<int> left{0};
  std::array<std::atomic<uint64_t>, 8> steps{};

  template <typename Step>
  void Start(size_t slot, Step step) {
    left.fetch_add(1);
    Go([this, slot, step]() mutable {
      while (!stop.load(std::memory_order_relaxed)) {
        step();
        steps[slot].fetch_add(1, std::memory_order_relaxed);
      }
      left.fetch_sub(1);
    });
  }
  ~Workers() {
    stop.store(true);
    while (left.load() > 0) Yield();
  }
};

TEST(StopTheWorldTest, NothingMovesUntilTheStart) {
  Workers workers;
  workers.Start(0, [] { Yield(); });
  workers.Start(1, [] {
    for (int i = 0; i < 100; ++i) NoPreempt region;
    Yield();
  });
  workers.Start(2, [] {
    BlockingCall([] {});
    Yield();
  });
  workers.Start(3, [] {
    WakeClaim claim;
    ParkUntil(WaitReason::kSleep, NowNanos() + 1'000, claim, nullptr, nullptr);
  });
  const uint64_t before = GetWorldStats().stops;
  for (int i = 0; i < 500; ++i) {
    StopTheWorld();
    std::array<uint64_t, 4> seen;
    for (size_t k = 0; k < seen.size(); ++k) seen[k] = workers.steps[k].load();
    for (int spin = 0; spin < 2'000; ++spin) base::CpuRelax();
    for (size_t k = 0; k < seen.size(); ++k) {
      // One in a blocking call may finish it; it is not done with its step before it has a P.
      ASSERT_EQ(workers.steps[k].load(), seen[k]) << "worker " << k << ", stop " << i;
    }
    StartTheWorld();
    Yield();
  }
  EXPECT_EQ(GetWorldStats().stops, before + 500);
  // All of them still go on.
  for (size_t k = 0; k < 4; ++k) {
    const uint64_t now = workers.steps[k].load();
    while (workers.steps[k].load() == now) Yield();
  }
}

TEST(StopTheWorldTest, AGoroutineThatEndsRegionsWithoutParkingStopsInPlace) {
  std::atomic<bool> stop{false}, ended{false};
  std::atomic<uint64_t> id{0};
  Go([&] {
    id.store(GoroutineId(CurrentG()));
    while (!stop.load(std::memory_order_relaxed)) NoPreempt region;
    ended.store(true);
  });
  while (id.load() == 0) Yield();
  const std::vector<Shown> views = Views();
  const GView* g = Find(views, id.load());
  ASSERT_NE(g, nullptr);
  EXPECT_EQ(g->state, GView::State::kPreempted);
  EXPECT_GE(g->sp, g->lo);
  EXPECT_LT(g->sp, g->hi);
  stop.store(true);
  while (!ended.load()) Yield();
}

// The word lies nowhere but in the frames of the goroutine that made it, or in its registers.
// Frames hold what is poisoned, and what their goroutine writes meanwhile.
#define UNCHECKED __attribute__((no_sanitize("address"), no_sanitize("thread")))
UNCHECKED bool Holds(const GView& g, uint64_t word) {
  for (uintptr_t at = g.sp & ~uintptr_t{7}; at + 8 <= g.hi; at += 8) {
    if (*reinterpret_cast<const volatile uint64_t*>(at) == word) return true;
  }
  return false;
}

// Made anew from halves, so that no other copy of it is in memory that is looked at.
__attribute__((noinline)) uint64_t Secret(uint32_t n) {
  asm volatile("" : "+r"(n));
  return 0x5ec2e75ec2e70000u * 3 + uint64_t{n} * 0x1000193u;
}

struct Scan {
  uint64_t id;
  uint64_t secret;
  bool seen = false;
  bool holds = false;
  GView::State state{};
};
UNCHECKED void ScanOne(const GView& g, void* arg) {
  auto* scan = static_cast<Scan*>(arg);
  if (g.id() != scan->id) return;
  scan->seen = true;
  scan->state = g.state;
  scan->holds = Holds(g, scan->secret);
}

TEST(ForEachGTest, TheFramesOfAGoroutineInABlockingCallHoldWhatItsRegistersHeld) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::atomic<uint64_t> id{0}, result{0};
  Go([&] {
    const uint64_t kept = Secret(7);
    id.store(GoroutineId(CurrentG()));
    char c;
    BlockingCall([&] { return read(gate[0], &c, 1); });
    result.store(kept);
  });
  while (id.load() == 0) Yield();
  Scan scan{.id = id.load(), .secret = Secret(7)};
  do {
    Yield();
    StopTheWorld();
    ForEachG(ScanOne, &scan);
    StartTheWorld();
  } while (scan.state != GView::State::kBlockingCall);
  EXPECT_TRUE(scan.holds);
  ASSERT_EQ(write(gate[1], "x", 1), 1);
  while (result.load() == 0) Yield();
  EXPECT_EQ(result.load(), Secret(7));
  close(gate[0]);
  close(gate[1]);
}

// Tells, in the std::atomic<G*> at `arg`, that it has parked.
bool Publish(G* g, void* arg) {
  static_cast<std::atomic<G*>*>(arg)->store(g);
  return true;
}

TEST(ForEachGTest, AParkedGoroutineIsSeenWithItsFramesAndReason) {
  std::atomic<G*> parked{nullptr};
  std::atomic<uint64_t> id{0}, result{0};
  Go([&] {
    const uint64_t kept = Secret(8);
    id.store(GoroutineId(CurrentG()));
    Park(WaitReason::kChanReceive, &Publish, &parked);
    result.store(kept);
  });
  while (parked.load() == nullptr) Yield();
  Scan scan{.id = id.load(), .secret = Secret(8)};
  StopTheWorld();
  ForEachG(ScanOne, &scan);
  StartTheWorld();
  EXPECT_TRUE(scan.seen);
  EXPECT_EQ(scan.state, GView::State::kWaiting);
  EXPECT_TRUE(scan.holds);
  Ready(parked.load());
  while (result.load() == 0) Yield();
}

// Whatever batches they go through in.
TEST(ForEachGTest, EachOfManyIsShownOnce) {
  constexpr int kMost = 60;
  std::vector<uint64_t> ids;
  std::atomic<int> ended{0};
  std::atomic<G*> parked[kMost] = {};
  std::atomic<uint64_t> id{0};
  for (int i = 0; i < kMost; ++i) {
    id.store(0);
    Go([&, i] {
      id.store(GoroutineId(CurrentG()));
      Park(WaitReason::kChanReceive, &Publish, &parked[i]);
      ended.fetch_add(1);
    });
    while (parked[i].load() == nullptr) Yield();
    ids.push_back(id.load());
    const std::vector<Shown> views = Views();
    for (uint64_t one : ids) {
      EXPECT_EQ(std::ranges::count(views, one, &Shown::id), 1) << one << " of " << i + 1;
    }
  }
  for (auto& g : parked) Ready(g.load());
  while (ended.load() < kMost) Yield();
}

TEST(ForEachGTest, TheCallerIsShownAboveItsOwnFrames) {
  const std::vector<Shown> views = Views();
  const GView* me = Find(views, GoroutineId(CurrentG()));
  ASSERT_NE(me, nullptr);
  EXPECT_EQ(me->state, GView::State::kCaller);
  const auto here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  EXPECT_LT(me->sp, here);
  EXPECT_LT(here, me->hi);
}

TEST(ForEachGTest, AClosureThatMovesToItsStackIsSeenThere) {
  // The world stops while the closure is being moved: it is on the new goroutine's stack by then.
  struct Moving {
    bool* seen;
    uint64_t secret;
    Moving(bool* s, uint64_t w) : seen(s), secret(w) {}
    Moving(Moving&& other) noexcept : seen(other.seen), secret(other.secret) {
      other.secret = 0;
      StopTheWorld();
      ForEachG(
          [](const GView& g, void* arg) {
            const auto* m = static_cast<Moving*>(arg);
            const auto at = reinterpret_cast<uintptr_t>(m);
            if (g.sp <= at && at < g.hi) *m->seen = true;
          },
          this);
      StartTheWorld();
    }
    void operator()() {}
  };
  bool seen = false;
  Go(Moving(&seen, 1));
  EXPECT_TRUE(seen);
}

TEST(StopTheWorldTest, AReturnFromABlockingCallWaitsForTheStart) {
  int gate[2];
  ASSERT_EQ(pipe(gate), 0);
  std::atomic<bool> inside{false}, left{false}, back{false};
  Go([&] {
    BlockingCall([&] {
      inside.store(true);
      char c;
      EXPECT_EQ(read(gate[0], &c, 1), 1);
      left.store(true);
    });
    back.store(true);
  });
  while (!inside.load()) Yield();
  StopTheWorld();
  EXPECT_EQ(write(gate[1], "x", 1), 1);
  while (!left.load()) base::CpuRelax();
  for (int spin = 0; spin < 20'000; ++spin) base::CpuRelax();
  EXPECT_FALSE(back.load());
  StartTheWorld();
  while (!back.load()) Yield();
  close(gate[0]);
  close(gate[1]);
}

TEST(StopTheWorldTest, GoroutinesAndThreadsTakeTurns) {
  std::atomic<int> inside{0}, done{0}, overlaps{0};
  const auto stop_often = [&] {
    for (int i = 0; i < 200; ++i) {
      StopTheWorld();
      if (inside.fetch_add(1) != 0) overlaps.fetch_add(1);
      inside.fetch_sub(1);
      StartTheWorld();
    }
    done.fetch_add(1);
  };
  for (int i = 0; i < 3; ++i) Go(stop_often);
  std::thread foreign(stop_often);
  while (done.load() < 4) Yield();
  foreign.join();
  EXPECT_EQ(overlaps.load(), 0);
}

TEST(StopTheWorldTest, WhatIsMadeRunnableWithinRunsAfter) {
  std::atomic<bool> ran{false};
  StopTheWorld();
  Go([&] { ran.store(true); });
  for (int spin = 0; spin < 20'000; ++spin) base::CpuRelax();
  EXPECT_FALSE(ran.load());
  StartTheWorld();
  while (!ran.load()) Yield();
}

TEST(StopTheWorldTest, ATimerThatFallsDueWithinFiresAfter) {
  std::atomic<bool> fired{false};
  SchedTimer t([](void* arg, int64_t) { static_cast<std::atomic<bool>*>(arg)->store(true); },
               &fired);
  StopTheWorld();
  const int64_t due = NowNanos() + 100'000;
  t.Arm(due);
  while (NowNanos() < due + 100'000) base::CpuRelax();
  EXPECT_FALSE(fired.load());
  StartTheWorld();
  WakeClaim claim;
  ParkUntil(WaitReason::kSleep, NowNanos() + 1'000'000, claim, nullptr, nullptr);
  EXPECT_TRUE(fired.load());
}

}  // namespace
}  // namespace plimsoll::sched
