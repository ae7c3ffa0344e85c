// A world of one thread, whose stack is looked at only on request: a test says what its roots are.
#ifndef PLIMSOLL_RUNTIME_GC_TESTING_FAKE_WORLD_H_
#define PLIMSOLL_RUNTIME_GC_TESTING_FAKE_WORLD_H_

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/collectable.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/world.h"

namespace plimsoll::gc {

class FakeWorld final : public World {
 public:
  // The process's world, joined to the collector at first use.
  static FakeWorld& Get(const Options& options = {.gogc = -1, .checkmark = true, .verify = true}) {
    static FakeWorld world;
    static const bool started = (gc::Start(world, options), true);
    (void)started;
    return world;
  }

  bool scan_stack = false;           // the real one
  std::span<const uintptr_t> stack;  // and one of a test's making
  int stops = 0, sweeps = 0;
  bool sweep_at_once = true;
  bool may_allocate = true;
  uint64_t heap_limit = UINT64_MAX;

  void Stop(StopFor) override {
    ++stops;
    if (stopping) stopping();
  }
  void Start() override {}
  void Note(Stage, uint64_t) override {}
  void ScanStacks(uintptr_t sp, RangeSink& sink) override {
    if (scanning) scanning();
    if (scan_stack) sink.Scan(sp, hi_);
    const auto lo = reinterpret_cast<uintptr_t>(stack.data());
    if (!stack.empty()) sink.Scan(lo, lo + stack.size_bytes());
    const auto registers = reinterpret_cast<uintptr_t>(interrupted.data());
    if (!interrupted.empty()) {
      sink.ScanInterrupted(registers, registers + interrupted.size_bytes());
    }
    if (scanned) scanned();
  }
  bool OnStack(const void* p) override {
    const auto at = reinterpret_cast<uintptr_t>(p);
    return at >= lo_ && at < hi_;
  }
  void CheckMutator() override {
    if (!may_allocate) base::Fatal("fake world: no mutator");
  }
  bool IsMutator() override { return may_allocate; }
  void NeedCache() override { alloc::SetCurrentCollectedCache(alloc::NewCollectedCache()); }
  // The program beside a mark: called between two steps of it.
  std::function<void()> beside;
  // What threads that are not stopped do after the Roots were looked at.
  std::function<void()> scanning;
  // And when the stacks were, too.
  std::function<void()> scanned;
  // What the program still does while the world is about to stop.
  std::function<void()> stopping;
  // What the registers of an interrupted mutator hold.
  std::span<const uintptr_t> interrupted;

  void Yield() override {}
  bool Begin(void (*)()) override { return false; }  // who begins a mark does it
  // Whether others had a turn; where it is set.
  std::function<bool(bool over)> give_way;
  bool GiveWay(bool over) override {
    if (beside) beside();
    return give_way && give_way(over);
  }
  void AwaitWork() override {}
  // Moves the clock on by what it would wait.
  int64_t waited_ns = 0;
  void AwaitShare(int64_t until_ns) override {
    waited_ns += std::max<int64_t>(0, until_ns - NowNanos());
  }
  // What the collector's goroutines would do: once for each that was begun.
  void RunCleanups() {
    while (!cleanups_begun.empty()) {
      auto* fn = cleanups_begun.back();
      cleanups_begun.pop_back();
      fn();
    }
  }
  std::vector<void (*)()> cleanups_begun;
  bool may_begin = true;
  bool BeginCleanups(void (*fn)()) override {
    if (may_begin) cleanups_begun.push_back(fn);
    return may_begin;
  }
  void Sweep() override {
    ++sweeps;
    while (sweep_at_once && alloc::SweepSome(1)) {
    }
  }
  bool StartHelper(void* (*fn)(void*)) override {
    pthread_t thread;
    return pthread_create(&thread, nullptr, fn, nullptr) == 0 && pthread_detach(thread) == 0;
  }
  uint64_t HeapLimit(uint64_t held) override { return heap_limit; }
  bool clock_runs = true;
  int64_t NowNanos() override {
    if (!clock_runs) return waited_ns;
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec + waited_ns;
  }
  int procs = 1;
  int Procs() override { return procs; }
  double quota = std::numeric_limits<double>::infinity();
  double Cpus() override { return std::min<double>(procs, quota); }

 private:
  FakeWorld() {
    pthread_attr_t attr;
    void* lo;
    size_t size;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &lo, &size);
    pthread_attr_destroy(&attr);
    lo_ = reinterpret_cast<uintptr_t>(lo);
    hi_ = lo_ + size;
  }
  uintptr_t lo_, hi_;
};

}  // namespace plimsoll::gc

#endif  // PLIMSOLL_RUNTIME_GC_TESTING_FAKE_WORLD_H_
