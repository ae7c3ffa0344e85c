// The heap as the runtime uses it: Heap::Allocate and Free on goroutines, in the same loops as the
// peers' malloc rows.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

// Runs `body` on as many goroutines as there are Ps, and waits for them.
template <typename F>
void OnEveryP(int procs, F body) {
  WaitGroup group;
  group.Add(procs);
  for (int p = 0; p < procs; ++p) {
    Go([&group, body] {
      body();
      group.Done();
    });
  }
  group.Wait();
}

void Finish(const Args& args, int64_t ops, const Stopwatch& watch, double cpu_before) {
  const double seconds = watch.Seconds();
  Report(
      args, ops, seconds,
      absl::StrCat("cpu_s=", CpuSeconds() - cpu_before, " rss_mb=", StatusBytes("VmHWM:") >> 20));
}

// What does an object cost that is freed at once?
void Pairs(const Args& args, size_t size) {
  const double cpu = CpuSeconds();
  Stopwatch watch;
  OnEveryP(args.procs, [n = args.n, size] {
    for (int64_t i = 0; i < n; ++i) {
      void* volatile p = Heap::Allocate(size);
      *static_cast<char*>(p) = 1;
      Heap::Free(p);
    }
  });
  Finish(args, args.n * args.procs, watch, cpu);
}

// What does an object cost when thousands are made before the first is freed?
void Batches(const Args& args, size_t size) {
  const double cpu = CpuSeconds();
  Stopwatch watch;
  OnEveryP(args.procs, [n = args.n, size] {
    const auto batch = std::min<int64_t>(10000, (int64_t{64} << 20) / static_cast<int64_t>(size));
    std::vector<char*> objects(batch);
    for (int64_t i = 0; i < n; i += batch) {
      for (char*& p : objects) {
        p = static_cast<char*>(Heap::Allocate(size));
        *p = 1;
      }
      for (char* p : objects) Heap::Free(p);
    }
  });
  Finish(args, args.n * args.procs, watch, cpu);
}

// What does an object cost that another goroutine frees: 16 to 512 bytes, over a ring of 4,096?
void CrossFree(const Args& args) {
  struct Ring {
    std::atomic<void*> slot[4096] = {};
  };
  const auto ring = std::make_unique<Ring>();
  const auto relax = [](int& turns) {
    if ((++turns & 127) == 0) {
      Yield();
    } else {
      __builtin_ia32_pause();
    }
  };
  const double cpu = CpuSeconds();
  Stopwatch watch;
  WaitGroup group;
  group.Add(1);
  Go([&] {
    for (int64_t i = 0; i < args.n; ++i) {
      std::atomic<void*>& slot = ring->slot[i & 4095];
      void* p = nullptr;
      // acquire: pairs with the producer's release
      for (int turns = 0; (p = slot.load(std::memory_order_acquire)) == nullptr;) relax(turns);
      slot.store(nullptr, std::memory_order_release);
      Heap::Free(p);
    }
    group.Done();
  });
  uint32_t random = 1;
  for (int64_t i = 0; i < args.n; ++i) {
    random = random * 1664525 + 1013904223;
    auto* p = static_cast<char*>(Heap::Allocate(16 + (random >> 16) % 497));
    *p = 1;
    std::atomic<void*>& slot = ring->slot[i & 4095];
    // acquire: pairs with the consumer's release
    for (int turns = 0; slot.load(std::memory_order_acquire) != nullptr;) relax(turns);
    slot.store(p, std::memory_order_release);
  }
  group.Wait();
  Finish(args, args.n, watch, cpu);
}

constexpr Bench kBenches[] = {
    {"heap16", "N objects of 16 bytes from the heap on each P, freed at once",
     [](const Args& a) { Pairs(a, 16); }},
    {"heap64", "the same, 64 bytes", [](const Args& a) { Pairs(a, 64); }},
    {"heap256", "the same, 256 bytes", [](const Args& a) { Pairs(a, 256); }},
    {"heap4096", "the same, 4,096 bytes", [](const Args& a) { Pairs(a, 4096); }},
    {"heapbatch64", "N objects of 64 bytes on each P, 10,000 made before they are freed",
     [](const Args& a) { Batches(a, 64); }},
    {"heapxfree", "N objects of 16 to 512 bytes, freed by another goroutine", CrossFree},
};

}  // namespace

std::span<const Bench> HeapBenches() { return kBenches; }

}  // namespace plimsoll::bench
