// What Go's src/runtime/proc_test.go asserts of the scheduler and the collector together.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/gc/collector.h"
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

}  // namespace
}  // namespace plimsoll
