// Runs what a goroutine does most an instruction at a time, and prints where each instruction is:
//
//   golden_steps
//   plimsoll_switch 0x401a30   where this program lies, to be looked up in its disassembly
//   two_yields 0x4034c0        a line for each instruction of one run of it
//   =                          the end of that run
//   …
//
// The processor's trap flag does it, which a switch of stacks does not change: it is set before and
// cleared after, wherever that comes on. golden_test.py counts, without what is in namespace
// golden: that is the caller's.
//
// The same steps each time: one P, no slices, no timers, and a sysmon that sleeps, for it is told
// that every P idles.

#include <sched.h>
#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstdint>
#include <cstdio>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/stack/switch.h"

namespace plimsoll::sched::golden {

constexpr size_t kMost = 1 << 16;
constinit uintptr_t steps[kMost] = {};
constinit std::atomic<size_t> count{0};

void OnStep(int, siginfo_t*, void* context) {
  const size_t n = count.load(std::memory_order_relaxed);
  if (n < kMost) {
    steps[n] =
        static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  }
  count.store(n + 1, std::memory_order_relaxed);
}

// The red zone of a caller that this is inlined into must not be written over.
[[gnu::always_inline]] inline void SetTrapFlag() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), %%rsp" ::
          : "memory", "cc");
}
[[gnu::always_inline]] inline void ClearTrapFlag() {
  asm volatile(
      "lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\tlea 128(%%rsp), "
      "%%rsp" ::
          : "memory", "cc");
}

constexpr int kRuns = 24;  // ids come in batches of 16: the most of them are as usual

template <typename Fn>
void Print(const char* what, Fn&& run) {
  for (int i = 0; i < 4; ++i) run();  // what is made at first use is there
  for (int i = 0; i < kRuns; ++i) {
    count.store(0, std::memory_order_relaxed);
    SetTrapFlag();
    run();
    ClearTrapFlag();
    const size_t n = count.load(std::memory_order_relaxed);
    PLIMSOLL_CHECK(n <= kMost, what, " took ", n, " steps");
    for (size_t s = 0; s < n; ++s) printf("%s 0x%lx\n", what, static_cast<unsigned long>(steps[s]));
    printf("=\n");
  }
}

// What the other goroutine does, until it is told to end.
std::atomic<bool> stop{false};
G* here = nullptr;
G* there = nullptr;

[[gnu::noinline]] void YieldOnce() { Yield(); }

bool Publish(G*, void*) { return true; }
[[gnu::noinline]] void ReadyAndPark(G* other) {
  Ready(other);
  Park(WaitReason::kSemacquire, Publish, nullptr);
}

[[gnu::noinline]] void SpawnOnce() {
  Go([] {});
}
// A yield lets it run, and takes its caller to the back of an empty queue.
[[gnu::noinline]] void SpawnAndEnd() {
  SpawnOnce();
  Yield();
}

[[gnu::noinline]] void CallOnce() {
  BlockingCall([] {});
}

void Yields() {
  stop.store(false);
  Go([] {
    while (!stop.load(std::memory_order_relaxed)) YieldOnce();
  });
  Yield();
  Print("two_yields", YieldOnce);
  stop.store(true);
  Yield();
}

void Parks() {
  stop.store(false);
  here = CurrentG();
  Go([] {
    there = CurrentG();
    Park(WaitReason::kSemacquire, Publish, nullptr);
    while (!stop.load(std::memory_order_relaxed)) ReadyAndPark(here);
    Ready(here);
  });
  Yield();
  Print("two_parks_and_readies", [] { ReadyAndPark(there); });
  stop.store(true);
  ReadyAndPark(there);
}

void Spawns() {
  // Their stacks are taken again: new ones come from the kernel.
  for (int i = 0; i < 2 * kRuns; ++i) SpawnOnce();
  while (GetStats().goroutines > 1) Yield();
  Print("spawn", SpawnOnce);
  while (GetStats().goroutines > 1) Yield();
  Print("spawn_yield_and_end", SpawnAndEnd);
}

void Steps() {
  // A P that idles as far as sysmon can see: it sleeps, and marks no slice as over. Nothing else
  // reads the count where there is one P.
  sched.idle_p_count.fetch_add(1, std::memory_order_seq_cst);
  while (sched.sysmon_sleeps.load(std::memory_order_relaxed) == 0) sched_yield();
  struct sigaction action = {};
  action.sa_sigaction = OnStep;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  PLIMSOLL_CHECK(sigaction(SIGTRAP, &action, nullptr) == 0, "sigaction");
  printf("plimsoll_switch 0x%lx\n", reinterpret_cast<unsigned long>(&plimsoll_switch));
  Yields();
  Parks();
  Spawns();
  Print("blocking_call", CallOnce);
  sched.idle_p_count.fetch_sub(1, std::memory_order_seq_cst);
  WakeSysmon();
}

}  // namespace plimsoll::sched::golden

int main() {
  static int exit_code = 0;
  auto run = [] { plimsoll::sched::golden::Steps(); };
  plimsoll::sched::Run({.procs = 1, .preempt = false}, plimsoll::internal::kEntryOps<decltype(run)>,
                       &run, &exit_code);
}
