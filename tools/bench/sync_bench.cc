// Locks that goroutines share.

#include <mutex>
#include <shared_mutex>

#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/bench.h"

namespace plimsoll::bench {
namespace {

// What does a lock and an unlock cost that so many goroutines want all the time?
void MutexOf(const Args& args, int goroutines) {
  Stopwatch watch;
  Mutex mu;
  WaitGroup group;
  int64_t x = 0;
  const int64_t each = args.n / goroutines;  // a division a turn would be a third of what it costs
  group.Add(goroutines);
  for (int g = 0; g < goroutines; ++g) {
    Go([&, each] {
      for (int64_t i = 0; i < each; ++i) {
        const std::lock_guard hold(mu);
        // What is guarded must happen at each turn, not once for all of them.
        asm volatile("" : "+m"(x));
        ++x;
      }
      group.Done();
    });
  }
  group.Wait();
  Report(args, args.n, watch.Seconds());
}

// What does a read lock cost while others read as well, and nobody writes?
void ReadersOf(const Args& args, int goroutines) {
  Stopwatch watch;
  RWMutex mu;
  WaitGroup group;
  const int64_t each = args.n / goroutines;
  group.Add(goroutines);
  for (int g = 0; g < goroutines; ++g) {
    Go([&, each] {
      for (int64_t i = 0; i < each; ++i) {
        const std::shared_lock hold(mu);
      }
      group.Done();
    });
  }
  group.Wait();
  Report(args, args.n, watch.Seconds());
}

constexpr Bench kBenches[] = {
    {"mutex1", "N locks of a mutex by one goroutine", [](const Args& a) { MutexOf(a, 1); }},
    {"mutex8", "N locks of a mutex by 8 goroutines", [](const Args& a) { MutexOf(a, 8); }},
    {"mutex1000", "N locks of a mutex by 1,000 goroutines",
     [](const Args& a) { MutexOf(a, 1000); }},
    {"rwmutex8", "N read locks by 8 goroutines", [](const Args& a) { ReadersOf(a, 8); }},
};

}  // namespace

std::span<const Bench> SyncBenches() { return kBenches; }

}  // namespace plimsoll::bench
