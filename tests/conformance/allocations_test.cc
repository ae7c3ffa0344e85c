// Heap allocations per operation, counted at operator new: none in the steady state of what a
// server does all the time.

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/rw_mutex.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/runtime/time/sleep.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(size)) return p;
  throw std::bad_alloc();
}
void* operator new(size_t size, std::align_val_t align) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const size_t a = static_cast<size_t>(align);
  if (void* p = std::aligned_alloc(a, (size + a - 1) / a * a)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace plimsoll {
namespace {

// Allocations of n calls of f, after enough of them for every pool to be full.
template <typename F>
int64_t CountedIn(int n, F&& f) {
  for (int i = 0; i < n; ++i) f();
  const int64_t before = allocations.load();
  for (int i = 0; i < n; ++i) f();
  return allocations.load() - before;
}

TEST(AllocationsTest, TheCounterCounts) {
  EXPECT_EQ(CountedIn(10,
                      [] {
                        auto* p = new int(1);
                        asm volatile("" : : "r"(p) : "memory");
                        delete p;
                      }),
            10);
}

TEST(AllocationsTest, PingPongAllocatesNothing) {
  const Channel<int> there, back;
  Go([=] {
    while (std::optional<int> v = there.Recv()) back.Send(*v);
  });
  EXPECT_EQ(CountedIn(1'000,
                      [&] {
                        there.Send(1);
                        (void)back.Recv();
                      }),
            0);
  there.Close();
}

TEST(AllocationsTest, ASelectAllocatesNothingWhetherItParksOrNot) {
  const Channel<int> a(1), b(1), c;
  EXPECT_EQ(CountedIn(1'000,
                      [&] {
                        Select(OnSend(a, 1), OnSend(b, 1));
                        Select(OnRecv(a), OnRecv(b), Default());
                        Select(OnRecv(a), OnRecv(c), Default());
                        (void)a.TryRecv();
                        (void)b.TryRecv();
                      }),
            0);
  Go([c] {
    for (int i = 0; i < 2'000; ++i) c.Send(i);
  });
  EXPECT_EQ(CountedIn(1'000, [&] { Select(OnRecv(a), OnRecv(b), OnRecv(c)); }), 0);
  EXPECT_EQ(CountedIn(20, [&] { Select(OnRecv(a), Timeout(absl::Microseconds(50))); }), 0);
}

TEST(AllocationsTest, AKeptListOfEightCasesAllocatesNothing) {
  const Channel<int> ch[8] = {Channel<int>(1), Channel<int>(1), Channel<int>(1), Channel<int>(1),
                              Channel<int>(1), Channel<int>(1), Channel<int>(1), Channel<int>(1)};
  std::vector<Case> cases;
  for (const Channel<int>& c : ch) cases.emplace_back(OnRecv(c));
  EXPECT_EQ(CountedIn(1'000,
                      [&] {
                        ch[3].Send(1);
                        EXPECT_EQ(Select(cases), 3);
                      }),
            0);
}

TEST(AllocationsTest, SleepAndTimedReceivesAllocateNothing) {
  const Channel<int> never;
  EXPECT_EQ(CountedIn(50, [] { Sleep(absl::Microseconds(20)); }), 0);
  EXPECT_EQ(CountedIn(50, [&] { (void)never.TryRecvFor(absl::Microseconds(20)); }), 0);
}

TEST(AllocationsTest, LocksAllocateNothingAlsoWhenTheyPark) {
  Mutex mu;
  RWMutex rw;
  WaitGroup wg;
  EXPECT_EQ(CountedIn(200,
                      [&] {
                        mu.lock();
                        wg.Add(1);
                        Go([&] {
                          const std::lock_guard hold(mu);
                          wg.Done();
                        });
                        Yield();
                        mu.unlock();
                        wg.Wait();
                        rw.lock_shared();
                        rw.unlock_shared();
                        // The goroutine lets go of mu after it is done with wg.
                        mu.lock();
                        mu.unlock();
                      }),
            0);
}

TEST(AllocationsTest, AGoroutineAllocatesNothingOnceItsStackIsPooled) {
  WaitGroup wg;
  EXPECT_EQ(CountedIn(1'000,
                      [&] {
                        wg.Add(1);
                        Go([&] { wg.Done(); });
                        wg.Wait();
                      }),
            0);
}

TEST(AllocationsTest, WithCancelAllocatesNothingOnceItsNodesArePooled) {
  auto [parent, cancel_parent] = WithCancel(Background());
  EXPECT_EQ(CountedIn(1'000,
                      [&] {
                        auto [ctx, cancel] = WithCancel(parent);
                        cancel();
                      }),
            0);
  cancel_parent();
}

}  // namespace
}  // namespace plimsoll
