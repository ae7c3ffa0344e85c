// That what a poll of the idle source finds is told: by a source in memory, with one P.

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sched/trace_buffer.h"

namespace plimsoll::sched {
namespace {

// Whoever waits here has what it waits for at the next poll, which a waiter asks for.
class ReadySource : public IdleSource {
 public:
  void Wait() {
    // Counted until it runs again: a poll that took it may not have queued it yet.
    waiters_.fetch_add(1, std::memory_order_relaxed);
    Park(WaitReason::kIoWait, Publish, this);
    waiters_.fetch_sub(1, std::memory_order_relaxed);
  }

  void Poll(int64_t wait_ns, GList& ready) override {
    if (G* g = waits_.exchange(nullptr, std::memory_order_acquire); g != nullptr) {
      ready.PushBack(g);
      return;
    }
    if (wait_ns == 0) return;
    if (word_.load(std::memory_order_acquire) == 0) base::FutexWait(word_, 0, wait_ns);
    word_.store(0, std::memory_order_relaxed);
  }
  void Break() override {
    word_.store(1, std::memory_order_release);
    base::FutexWake(word_, 1);
  }
  bool HasWaiters() const override { return waiters_.load(std::memory_order_relaxed) > 0; }

 private:
  // A park's commit; `arg` is the source.
  static bool Publish(G* g, void* arg) {
    auto* source = static_cast<ReadySource*>(arg);
    // release: pairs with the acquire in Poll; g is off its stack
    source->waits_.store(g, std::memory_order_release);
    source->Break();  // one may wait in Poll already, for longer than g wants to
    return true;
  }

  std::atomic<int> waiters_{0};
  std::atomic<G*> waits_{nullptr};
  std::atomic<uint32_t> word_{0};
};

ReadySource& Source() {
  static auto* source = new ReadySource;
  return *source;
}

TEST(TracePollTest, WhoAPollFoundIsToldAsReadiedByNobody) {
  TraceBuffer buffer(1000);
  const uint64_t me = GoroutineId(CurrentG());
  ASSERT_TRUE(StartTracing(buffer));
  Source().Wait();
  StopTracing();
  std::vector<std::string> told;
  for (const TraceEvent& e : buffer.events()) {
    if (e.kind == TraceKind::kPoll) {
      told.push_back("poll " + std::to_string(e.count));
    } else if (e.g == me) {
      told.emplace_back(TraceKindText(e.kind));
      if (e.kind == TraceKind::kReady) {
        EXPECT_EQ(e.other, 0u);
      }
    }
  }
  EXPECT_EQ(told, (std::vector<std::string>{"park", "poll 1", "ready", "run"}));
}

TEST(TracePollTest, NothingIsToldOfAPollWhereNobodyIsTold) {
  TraceBuffer buffer(1000);
  Source().Wait();
  ASSERT_TRUE(StartTracing(buffer));
  StopTracing();
  for (const TraceEvent& e : buffer.events()) EXPECT_NE(e.kind, TraceKind::kPoll);
}

}  // namespace
}  // namespace plimsoll::sched

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  static int exit_code = 0;
  auto run = [] { exit_code = RUN_ALL_TESTS(); };
  plimsoll::sched::SetIdleSource(&plimsoll::sched::Source());
  plimsoll::sched::Run({.procs = 1, .preempt = false}, plimsoll::internal::kEntryOps<decltype(run)>,
                       &run, &exit_code);
}
