// The memory of a parked goroutine's stack goes back, and nothing that it will see again.

#include "plimsoll/runtime/sched/trim.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/lock_os_thread.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/stack/touched_pages.h"

namespace plimsoll::sched {
namespace {

constexpr int64_t kHourNs = 3600 * int64_t{1'000'000'000};

// Uses about `kib` KiB of stack, each page of it.
__attribute__((noinline, no_sanitize("address"))) int Deep(int kib) {
  volatile char room[1024];
  room[0] = static_cast<char>(kib);
  room[1023] = static_cast<char>(kib);
  return kib <= 1 ? room[0] : Deep(kib - 1) + room[1023];
}

// Those who wait to be let go on.
class Gate {
 public:
  void Wait(WaitReason reason = WaitReason::kChanReceive) {
    Park(
        reason,
        [](G* g, void* arg) {
          auto* gate = static_cast<Gate*>(arg);
          base::SpinLockHolder hold(gate->mu_);
          gate->waiting_[gate->n_++] = g;  // nothing may allocate here
          return true;
        },
        this);
  }
  // Waits until n wait; leaves them where they are.
  void Await(int n) {
    for (;;) {
      {
        NoPreempt guard;
        base::SpinLockHolder hold(mu_);
        if (n_ == n) return;
      }
      Yield();
    }
  }
  // The first one, off the list; null where nobody waits.
  G* Take() {
    NoPreempt guard;
    base::SpinLockHolder hold(mu_);
    return n_ > 0 ? waiting_[--n_] : nullptr;
  }
  void Open() {
    while (G* g = Take()) Ready(g);
  }

 private:
  base::SpinLock mu_;
  G* waiting_[256] ABSL_GUARDED_BY(mu_);
  int n_ ABSL_GUARDED_BY(mu_) = 0;
};

uintptr_t DepthOf(const stack::Stack& s) {
  static const stack::TouchedPages pages;
  return s.hi - pages.Lowest(s);
}

bool CanBeTold() {
  static const stack::TouchedPages pages;
  return pages.source() != stack::TouchedPages::Source::kNone;
}

class TrimTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CanBeTold()) GTEST_SKIP() << "this kernel does not tell what is touched";
  }
};

// A frame that a goroutine keeps while it is parked: `kib` KiB with a pattern.
template <int kib>
struct Kept {
  explicit Kept(unsigned seed) : seed(seed) {
    for (size_t i = 0; i < kib * 256; ++i) words[i] = seed + static_cast<unsigned>(i) * 2654435761u;
  }
  bool Whole() const {
    for (size_t i = 0; i < kib * 256; ++i) {
      if (words[i] != seed + static_cast<unsigned>(i) * 2654435761u) return false;
    }
    return true;
  }
  unsigned seed;
  volatile unsigned words[kib * 256];
};

TEST_F(TrimTest, WhatWasDeepOnceGoesBackAndWhatIsAboveTheStackPointerStays) {
  Gate gate;
  stack::Stack s;
  std::atomic<bool> whole{false}, ended{false};
  Go([&] {
    s = CurrentG()->stack;
    Kept<40> kept(17);
    Deep(120);
    gate.Wait();
    whole = kept.Whole();
    Deep(120);  // what went back is there again
    whole = whole && kept.Whole();
    ended = true;
  });
  gate.Await(1);
  EXPECT_GE(DepthOf(s), uintptr_t{160} << 10);
  const TrimStats before = GetTrimStats();
  TrimParkedStacks(0);
  const TrimStats after = GetTrimStats();
  EXPECT_LE(DepthOf(s), uintptr_t{60} << 10);
  EXPECT_GE(DepthOf(s), uintptr_t{40} << 10);
  EXPECT_GE(after.bytes - before.bytes, uint64_t{100} << 10);
  EXPECT_EQ(after.stacks, before.stacks + 1);
  // A second time there is nothing, and the world is not stopped for it.
  TrimParkedStacks(0);
  EXPECT_EQ(GetTrimStats().stops, after.stops);
  gate.Open();
  while (!ended) Yield();
  EXPECT_TRUE(whole);
}

TEST_F(TrimTest, TheProcessesMemoryFalls) {
  const auto resident = [] {
    long pages = 0;
    long total = 0;
    FILE* f = fopen("/proc/self/statm", "r");
    EXPECT_EQ(fscanf(f, "%ld %ld", &total, &pages), 2);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
  };
  constexpr int kMany = 100;
  Gate gate;
  std::atomic<int> ended{0};
  for (int i = 0; i < kMany; ++i) {
    Go([&] {
      Deep(180);
      gate.Wait();
      ended.fetch_add(1);
    });
  }
  gate.Await(kMany);
  const long before = resident();
  TrimParkedStacks(0);
  const long after = resident();
  // 180 KiB of each were deep; a page or two of its frames stay.
  EXPECT_LE(after, before - kMany * (140 << 10)) << before << " -> " << after;
  gate.Open();
  while (ended != kMany) Yield();
}

TEST_F(TrimTest, AStackOfManyMebibytesGoesInSeveralStops) {
  Gate gate;
  stack::Stack s;
  std::atomic<bool> ended{false};
  Go(
      [&] {
        s = CurrentG()->stack;
        Deep(20 << 10);
        gate.Wait();
        ended = true;
      },
      {.stack = MiB(100)});
  gate.Await(1);
  EXPECT_GE(DepthOf(s), uintptr_t{20} << 20);
  const TrimStats before = GetTrimStats();
  TrimParkedStacks(0);
  EXPECT_LE(DepthOf(s), uintptr_t{20} << 10);
  EXPECT_GE(GetTrimStats().stops, before.stops + 5) << "each is short";
  gate.Open();
  while (!ended) Yield();
}

TEST_F(TrimTest, WhoDidNotParkForLongIsOnAThreadOrWasNeverDeepIsLeftAlone) {
  Gate gate;
  std::atomic<int> ready{0}, ended{0};
  std::atomic<bool> call{true};
  stack::Stack shallow, locked, sticky, calling, running;
  const auto spawn = [&](stack::Stack* s, auto body, GoOptions options = {}) {
    Go(
        [&, s, body] {
          *s = CurrentG()->stack;
          body();
          ended.fetch_add(1);
        },
        options);
  };
  spawn(&shallow,
        [&] {
          Deep(8);
          gate.Wait();
        },
        {.stack = MiB(3)});  // on no stack that was deep before
  spawn(&locked, [&] {
    LockOsThread();
    Deep(120);
    gate.Wait();
    UnlockOsThread();
  });
  spawn(&sticky,
        [&] {
          Deep(120);
          gate.Wait();
        },
        {.affinity = Affinity::kSticky});
  spawn(&calling, [&] {
    Deep(120);
    BlockingCall([&] {
      ready.fetch_add(1);
      while (call) usleep(1000);
    });
  });
  spawn(&running, [&] {
    Deep(120);
    ready.fetch_add(1);
    while (call) Yield();
  });
  gate.Await(3);
  while (ready < 2) Yield();
  const stack::Stack* all[] = {&shallow, &locked, &sticky, &calling, &running};
  uintptr_t depth[5];
  for (int i = 0; i < 5; ++i) depth[i] = DepthOf(*all[i]);
  TrimParkedStacks(0);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(DepthOf(*all[i]), depth[i]) << i;
  call = false;
  gate.Open();
  while (ended != 5) Yield();

  // One that has not been parked for an hour.
  spawn(&running, [&] {
    Deep(120);
    gate.Wait();
  });
  gate.Await(1);
  TrimParkedStacks(kHourNs);
  EXPECT_GE(DepthOf(running), uintptr_t{120} << 10);
  gate.Open();
  while (ended != 6) Yield();
}

// Goroutines that go deep, park with a pattern in their frames and check it. In every second round
// two wakers, a goroutine and a foreign thread, let them go on while the trimmer is at them.
TEST_F(TrimTest, WhoIsWokenMeanwhileFindsItsFramesWhole) {
  constexpr int kGoroutines = 24;
  constexpr int kRounds = base::kTsan || base::kAsan ? 20 : 60;
  Gate gate;
  std::atomic<int> ended{0}, torn{0};
  std::atomic<bool> wake{false}, over{false}, waker_ended{false};
  for (int i = 0; i < kGoroutines; ++i) {
    Go([&, i] {
      for (int round = 0; !over; ++round) {
        Kept<6> kept(static_cast<unsigned>(i * 1000 + round));
        Deep(24 + (i * 7 + round * 13) % 100);
        gate.Wait();
        if (!kept.Whole()) torn.fetch_add(1);
      }
      ended.fetch_add(1);
    });
  }
  std::thread foreign([&] {
    while (!over) {
      if (G* g = wake ? gate.Take() : nullptr) Ready(g);
      std::this_thread::yield();
    }
  });
  Go([&] {
    while (!over) {
      if (G* g = wake ? gate.Take() : nullptr) Ready(g);
      Yield();
    }
    waker_ended = true;
  });
  const TrimStats before = GetTrimStats();
  for (int round = 0; round < kRounds; ++round) {
    gate.Await(kGoroutines);
    wake = round % 2 == 1;
    TrimParkedStacks(0);
    wake = false;
    if (round % 2 == 0) gate.Open();
  }
  over = true;
  while (ended != kGoroutines || !waker_ended) {
    gate.Open();
    Yield();
  }
  foreign.join();
  EXPECT_EQ(torn, 0);
  EXPECT_GE(GetTrimStats().stacks, before.stacks + kGoroutines * kRounds / 4);
}

}  // namespace
}  // namespace plimsoll::sched
