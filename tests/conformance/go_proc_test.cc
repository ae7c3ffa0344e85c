// What Go's src/runtime/proc_test.go asserts of the scheduler and the collector together.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc_world.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"

namespace plimsoll {
namespace {

class GoProcTest : public testing::Test {
 protected:
  GoProcTest() {
    static const bool started = (StartCollector({}), true);
    (void)started;
    sched::SetProcs({.procs = 1});
  }
  ~GoProcTest() override { sched::SetProcs({.procs = 2}); }
};

// GCFairness: system calls in a loop, undeclared, do not keep who sleeps from waking.
TEST_F(GoProcTest, TwoThatWriteInALoopLetASleeperWakeAtOneP) {
  const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(null, 0);
  std::atomic<bool> stop{false};
  WaitGroup writers;
  writers.Add(2);
  for (int i = 0; i < 2; ++i) {
    Go([&] {
      while (!stop.load(std::memory_order_relaxed)) (void)!write(null, ".", 1);
      writers.Done();
    });
  }
  for (int i = 0; i < 3; ++i) {
    Sleep(absl::Milliseconds(10));
    gc::Collect();
  }
  stop.store(true);
  writers.Wait();
  close(null);
}

// GCFairness2: who allocates in loops, with a collection always due, does not keep others from
// running.
TEST_F(GoProcTest, ThreeThatAllocateInALoopLetASleeperWakeAtOneP) {
  const int gogc = gc::SetGoGc(1);
  constexpr int kAllocators = 3;
  std::atomic<bool> stop{false};
  std::atomic<int64_t> counts[kAllocators] = {};
  WaitGroup allocators;
  allocators.Add(kAllocators);
  for (int i = 0; i < kAllocators; ++i) {
    Go([&, i] {
      gc::Root<char> sink;
      while (!stop.load(std::memory_order_relaxed)) {
        sink = gc::make_noscan<char>(1024);
        counts[i].fetch_add(1, std::memory_order_relaxed);
      }
      allocators.Done();
    });
  }
  Sleep(absl::Milliseconds(30));
  const auto each_ran = [&] {
    for (const auto& count : counts) {
      if (count.load() == 0) return false;
    }
    return true;
  };
  while (!each_ran()) Sleep(absl::Milliseconds(30));
  stop.store(true);
  allocators.Wait();
  gc::SetGoGc(gogc);
}

}  // namespace
}  // namespace plimsoll
