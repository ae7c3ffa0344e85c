// What the program tells of memory outside the heap, and what it is told when the limit is near.

#include "plimsoll/runtime/gc/pressure.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/cleanup.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/testing/fake_world.h"

namespace plimsoll::gc {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr int64_t MiB(int64_t n) { return n * (1 << 20); }

struct Image {
  int64_t number;
  GC_NOSCAN(Image);
};

class PressureTest : public testing::Test {
 protected:
  ~PressureTest() override {
    live_.clear();
    SetGoGc(-1);
    world_.heap_limit = UINT64_MAX;
    world_.may_begin = true;
    for (int i = 0; i < 2; ++i) {
      Collect();
      world_.RunCleanups();
    }
    EXPECT_EQ(GetStats().live_objects, 0u) << "left by the test";
    EXPECT_EQ(GetStats().external_bytes, 0u);
  }

  // An image with so much memory of its own, which a cleanup gives back.
  Root<Image> MakeImage(int64_t bytes) {
    Root<Image> image = make<Image>();  // the next may begin a cycle, and nobody scans this stack
    cleanup(image, [bytes] { external_bytes(-bytes); });
    external_bytes(bytes);
    return image;
  }
  // Of the limit, by objects.
  void Live(size_t mib) {
    live_.resize(mib);
    for (Root<char>& r : live_) {
      if (r == nullptr) r = make_noscan<char>(kMiB);
    }
  }

  FakeWorld& world_ =
      FakeWorld::Get({.gogc = -1, .checkmark = true, .verify = true, .beside = false});
  std::vector<Root<char>> live_;
};

TEST_F(PressureTest, MemoryOutsideTheHeapBringsACycleAsAllocationDoes) {
  Collect();
  SetGoGc(100);
  const uint64_t cycles = GetStats().cycles;
  external_bytes(MiB(3));
  EXPECT_EQ(GetStats().cycles, cycles) << "4 MiB are not worth a cycle";
  external_bytes(MiB(2));
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  EXPECT_EQ(GetStats().external_bytes, 5 * kMiB);
  // It was kept: it counts as live now.
  external_bytes(MiB(4));
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  external_bytes(MiB(2));
  EXPECT_EQ(GetStats().cycles, cycles + 2);
  external_bytes(MiB(-11));
  EXPECT_EQ(GetStats().cycles, cycles + 2);
}

TEST_F(PressureTest, WithGogcOffItBringsNone) {
  const uint64_t cycles = GetStats().cycles;
  external_bytes(MiB(1000));
  external_bytes(MiB(-1000));
  EXPECT_EQ(GetStats().cycles, cycles);
}

TEST_F(PressureTest, WhereNoCycleMayBeginTheNextAllocationBeginsIt) {
  Collect();
  SetGoGc(100);
  const uint64_t cycles = GetStats().cycles;
  world_.may_allocate = false;  // as on a thread of the program's own
  external_bytes(MiB(100));
  EXPECT_EQ(GetStats().cycles, cycles);
  world_.may_allocate = true;
  // The next that needs memory of the heap.
  for (int i = 0; i < 10'000 && GetStats().cycles == cycles; ++i) (void)make<Image>();
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  external_bytes(MiB(-100));
}

// A small heap in front of much memory: eight images are held, a thousand are made.
TEST_F(PressureTest, WhatTheDeadHoldStaysInProportionToWhatTheLivingHold) {
  Collect();
  SetGoGc(100);
  const uint64_t cycles = GetStats().cycles;
  std::deque<Root<Image>> held;
  uint64_t most = 0;
  for (int i = 0; i < 1000; ++i) {
    held.emplace_back(MakeImage(MiB(1)));
    if (held.size() > 8) held.pop_front();
    most = std::max(most, GetStats().external_bytes);
    world_.RunCleanups();
  }
  EXPECT_LE(most, 20 * kMiB) << "twice what is live: eight, and the new one";
  const uint64_t done = GetStats().cycles - cycles;
  EXPECT_GE(done, 50u);
  EXPECT_LE(done, 250u);
}

TEST_F(PressureTest, WhenWhatTheDeadHeldIsGivenBackTheGoalIsOfWhatIsLeft) {
  SetGoGc(100);
  std::vector<Root<Image>> held;
  for (int i = 0; i < 20; ++i) {
    world_.may_allocate = false;
    external_bytes(MiB(1));
    world_.may_allocate = true;
    Image* image = make<Image>();
    cleanup(image, [] { external_bytes(MiB(-1)); });
    if (i % 2 == 0) held.emplace_back(image);
  }
  Collect();
  const uint64_t with_the_dead = GetStats().goal_bytes;
  world_.RunCleanups();
  EXPECT_EQ(GetStats().external_bytes, 10 * kMiB);
  EXPECT_LE(GetStats().goal_bytes + 9 * kMiB, with_the_dead);
}

TEST_F(PressureTest, WhatWasNotToldOfCannotBeTakenBack) {
  EXPECT_EXIT(
      {
        external_bytes(10);
        external_bytes(-11);
      },
      testing::ExitedWithCode(2),
      "gc: external_bytes: 1 bytes were taken back that nobody told of");
  EXPECT_EXIT(external_bytes(INT64_MIN), testing::ExitedWithCode(2),
              "gc: external_bytes: 9223372036854775808 bytes were taken back that nobody told of");
}

TEST_F(PressureTest, MoreThanThereCanBeIsTold) {
  EXPECT_EXIT(
      {
        external_bytes(INT64_MAX);
        external_bytes(1);
      },
      testing::ExitedWithCode(2), "gc: external_bytes: 2\\^63 bytes or more were told of");
}

// --- Pressure.

TEST_F(PressureTest, ListenersAreToldAfterEachCycleThatLeavesTooLittle) {
  std::vector<Pressure> first, second;
  PressureListener a([&](Pressure p) { first.push_back(p); });
  const auto told = [&](size_t mib) {
    first.clear();
    Live(mib);
    Collect();
    EXPECT_TRUE(first.empty()) << "on a goroutine of its own";
    world_.RunCleanups();
    return first;
  };
  using Told = std::vector<Pressure>;
  world_.heap_limit = 100 * kMiB;
  EXPECT_EQ(told(50), Told{});
  EXPECT_EQ(told(90), Told{});
  EXPECT_EQ(GetStats().pressure, Pressure::kNone);
  EXPECT_EQ(told(93), Told{Pressure::kHigh});
  EXPECT_EQ(GetStats().pressure, Pressure::kHigh);
  EXPECT_EQ(told(93), Told{Pressure::kHigh}) << "again, after each cycle";
  {
    PressureListener b([&](Pressure p) { second.push_back(p); });
    EXPECT_EQ(told(98), Told{Pressure::kCritical});
    EXPECT_EQ(told(105), Told{Pressure::kCritical}) << "the limit yields";
    EXPECT_EQ(second, (Told{Pressure::kCritical, Pressure::kCritical}));
  }
  EXPECT_EQ(told(50), Told{Pressure::kNone});
  EXPECT_EQ(told(50), Told{}) << "once";
  EXPECT_EQ(second.size(), 2u) << "it is not called any more";
  world_.heap_limit = 40 * kMiB;  // lowered below what is live
  EXPECT_EQ(told(50), Told{Pressure::kCritical});
  world_.heap_limit = UINT64_MAX;
  EXPECT_EQ(told(50), Told{Pressure::kNone});
}

TEST_F(PressureTest, GogcNotTheLimitIsNoPressure) {
  int told = 0;
  PressureListener a([&](Pressure) { ++told; });
  SetGoGc(5);
  Live(50);
  world_.heap_limit = 1000 * kMiB;
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told, 0);
}

TEST_F(PressureTest, ACallThatRunsIsFollowedByOneWhateverWasFoundMeanwhile) {
  std::vector<Pressure> told;
  world_.heap_limit = 100 * kMiB;
  Live(98);
  PressureListener a([&](Pressure p) {
    told.push_back(p);
    if (told.size() > 1) return;
    // As cycles of other goroutines' do, while this one lets go of its memory.
    Collect();
    Live(50);
    Collect();
    EXPECT_TRUE(world_.cleanups_begun.empty()) << "it is told already";
  });
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told, (std::vector<Pressure>{Pressure::kCritical, Pressure::kCritical}))
      << "the worst of what was found";
  told.push_back(Pressure::kNone);
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told.back(), Pressure::kNone);
  EXPECT_EQ(told.size(), 4u);
}

TEST_F(PressureTest, WithoutAGoroutineItIsToldAfterTheNextCycle) {
  std::vector<Pressure> told;
  PressureListener a([&](Pressure p) { told.push_back(p); });
  world_.heap_limit = 100 * kMiB;
  Live(98);
  world_.may_begin = false;
  Collect();
  world_.RunCleanups();
  EXPECT_TRUE(told.empty());
  world_.may_begin = true;
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told, std::vector<Pressure>{Pressure::kCritical});
  world_.heap_limit = UINT64_MAX;
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told.size(), 2u);
}

TEST_F(PressureTest, BeforeTheEndForLackOfMemoryItIsCritical) {
  std::vector<Pressure> told;
  PressureListener a([&](Pressure p) { told.push_back(p); });
  const uint64_t cycles = GetStats().cycles;
  internal::LastResort();
  EXPECT_EQ(GetStats().cycles, cycles + 1);
  world_.RunCleanups();
  EXPECT_EQ(told, std::vector<Pressure>{Pressure::kCritical});
  Collect();
  world_.RunCleanups();
  EXPECT_EQ(told.size(), 2u);
  EXPECT_EQ(told.back(), Pressure::kNone);
}

}  // namespace
}  // namespace plimsoll::gc
