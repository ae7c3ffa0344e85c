// Sysmon finds and trims by itself, also where nothing runs any more.

#include <atomic>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/trim.h"
#include "plimsoll/runtime/sched/wake_claim.h"
#include "plimsoll/runtime/stack/touched_pages.h"

namespace plimsoll::sched {
namespace {

void SleepNs(int64_t ns) {
  WakeClaim claim;
  ParkUntil(WaitReason::kSleep, NowNanos() + ns, claim, nullptr, nullptr);
}

__attribute__((noinline, no_sanitize("address"))) int Deep(int kib) {
  volatile char room[1024];
  room[0] = static_cast<char>(kib);
  room[1023] = static_cast<char>(kib);
  return kib <= 1 ? room[0] : Deep(kib - 1) + room[1023];
}

TEST(TrimAloneTest, SysmonTrimsWhoIsParkedForLongAgainAndAgain) {
  if (stack::TouchedPages().source() == stack::TouchedPages::Source::kNone) {
    GTEST_SKIP() << "this kernel does not tell what is touched";
  }
  const int64_t goroutines = GetStats().goroutines;
  uint64_t before = GetTrimStats().bytes;
  std::atomic<G*> parked{nullptr};
  std::atomic<bool> goes_on{true}, ended{false};
  Go([&] {
    while (goes_on) {
      Deep(100);
      Park(
          WaitReason::kChanReceive,
          [](G* g, void* arg) {
            static_cast<std::atomic<G*>*>(arg)->store(g);
            return true;
          },
          &parked);
    }
    ended = true;
  });
  for (int i = 0; i < 3; ++i) {
    // However long it takes.
    while (parked == nullptr) SleepNs(1'000'000);
    while (GetTrimStats().bytes < before + (80 << 10)) SleepNs(1'000'000);
    EXPECT_EQ(GetStats().goroutines, goroutines + 1) << "who trims does not count";
    if (i == 2) goes_on = false;
    before = GetTrimStats().bytes;
    Ready(parked.exchange(nullptr));
  }
  while (!ended) SleepNs(1'000'000);
  EXPECT_GE(GetTrimStats().rounds, 3u);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::sched::Run({.procs = 2, .trim_parked_ns = 1'000'000},
                       plimsoll::internal::kEntryOps<decltype(run)>, &run, &exit_code);
}
