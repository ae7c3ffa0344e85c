#include "plimsoll/runtime/gc_world.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/sanitizer.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/stack_trace.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/gc/string.h"
#include "plimsoll/runtime/gc/vector.h"
#include "plimsoll/runtime/gc/weak.h"
#include "plimsoll/runtime/gc/what_holds.h"
#include "plimsoll/runtime/gc_trees_for_tests.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/attach.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/lock_os_thread.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sched/trace_buffer.h"
#include "plimsoll/runtime/sync/mutex.h"
#include "plimsoll/runtime/sync/pool.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

// TSan's checks take ten times as long, with the world stopped too.
#ifdef PLIMSOLL_TSAN
constexpr int kRounds = 500;
#else
constexpr int kRounds = 2000;
#endif

// How long mutators go on beside cycles: for some rounds, or for PLIMSOLL_TEST_SECONDS.
class Stint {
 public:
  explicit Stint(int rounds) : rounds_(rounds) {
    if (const char* text = std::getenv("PLIMSOLL_TEST_SECONDS")) {
      until_ = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(text));
    }
  }
  bool Lasts(int round) const {
    return until_.has_value() ? std::chrono::steady_clock::now() < *until_ : round < rounds_;
  }

 private:
  const int rounds_;
  std::optional<std::chrono::steady_clock::time_point> until_;
};

class GcWorldTest : public testing::Test {
 protected:
  GcWorldTest() { StartCheckedCollector(); }
};

TEST_F(GcWorldTest, ParkedGoroutinesKeepWhatTheirStacksHold) {
  constexpr int kGoroutines = 50;
  Channel<int> go_on;
  std::atomic<int> ready{0}, right{0};
  WaitGroup done;
  done.Add(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    Go([&, i] {
      Node* tree = Tree(static_cast<uint64_t>(i) + 1, 5);  // this frame alone holds it
      ready.fetch_add(1);
      (void)go_on.Recv();
      right.fetch_add(IsTree(tree, static_cast<uint64_t>(i) + 1, 5));
      done.Done();
    });
  }
  while (ready.load() < kGoroutines) Yield();
  for (int i = 0; i < 3; ++i) {
    gc::Collect();
    for (int j = 0; j < 2000; ++j) (void)gc::make<Node>();
  }
  EXPECT_GE(gc::GetStats().live_objects, kGoroutines * 63u);
  go_on.Close();
  done.Wait();
  EXPECT_EQ(right.load(), kGoroutines);
}

TEST_F(GcWorldTest, WhatHoldsTellsOfAStackAndOfAChannel) {
  Channel<int> go_on;
  Channel<gc::Ptr<Node>> values(1);
  std::atomic<Node*> on_stack{nullptr};
  WaitGroup done;
  done.Add(1);
  Go([&] {
    Node* tree = Tree(3, 1);
    on_stack.store(tree);
    (void)go_on.Recv();
    EXPECT_TRUE(IsTree(tree, 3, 1));
    done.Done();
  });
  while (on_stack.load() == nullptr) Yield();
  for (int i = 0; i < 10; ++i) Yield();
  const std::string of_stack = gc::WhatHolds(on_stack.load());
  EXPECT_NE(of_stack.find("is in a goroutine's stack, at 0x"), std::string::npos) << of_stack;
  Node* sent = Tree(4, 0);
  values.Send(gc::Ptr<Node>(sent));
  const std::string of_channel = gc::WhatHolds(sent);
  EXPECT_NE(of_channel.find("is in a channel, at 0x"), std::string::npos) << of_channel;
  go_on.Close();
  done.Wait();
}

TEST_F(GcWorldTest, AClosureOfAGoroutineThatHasNotRunYetIsARoot) {
  WaitGroup done;
  std::atomic<int> right{0};
  done.Add(20);
  for (int i = 0; i < 20; ++i) {
    Go([&, tree = gc::Ptr<Node>(Tree(7, 3))] {
      right.fetch_add(IsTree(tree, 7, 3));
      done.Done();
    });
  }
  gc::Collect();
  for (int j = 0; j < 2000; ++j) (void)gc::make<Node>();
  done.Wait();
  EXPECT_EQ(right.load(), 20);
}

TEST_F(GcWorldTest, AGoroutineInABlockingCallKeepsItsStack) {
  std::atomic<bool> within{false}, leave{false}, right{false};
  WaitGroup done;
  done.Add(1);
  Go([&] {
    Node* tree = Tree(3, 6);
    BlockingCall([&] {
      within.store(true);
      while (!leave.load()) {
      }
    });
    right.store(IsTree(tree, 3, 6));
    done.Done();
  });
  while (!within.load()) Yield();
  gc::Collect();
  for (int j = 0; j < 5000; ++j) (void)gc::make<Node>();
  leave.store(true);
  done.Wait();
  EXPECT_TRUE(right.load());
}

// f on a thread that the runtime did not make; waits for its end.
template <typename F>
void OnAThread(F f) {
  std::thread thread(std::move(f));
  BlockingCall([&] { thread.join(); });
}

TEST_F(GcWorldTest, AnAttachedThreadAllocatesAndItsStackIsARoot) {
  constexpr int kThreads = 4;
  Channel<int> go_on;
  std::atomic<int> ready{0}, right{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      AttachedThread attached;
      Node* tree = Tree(static_cast<uint64_t>(i) + 1, 5);  // this frame alone holds it
      ready.fetch_add(1);
      (void)go_on.Recv();
      right.fetch_add(IsTree(tree, static_cast<uint64_t>(i) + 1, 5));
    });
  }
  while (ready.load() < kThreads) Yield();
  for (int i = 0; i < 3; ++i) {
    gc::Collect();
    for (int j = 0; j < 2000; ++j) (void)gc::make<Node>();
  }
  EXPECT_GE(gc::GetStats().live_objects, kThreads * 63u);
  go_on.Close();
  BlockingCall([&] {
    for (std::thread& t : threads) t.join();
  });
  EXPECT_EQ(right.load(), kThreads);
}

TEST_F(GcWorldTest, AttachedThreadsCollectWhileTheyComeAndGo) {
  constexpr int kThreads = 3;
  std::atomic<int> wrong{0};
  OnAThread([&] {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        gc::Root<Node> kept;  // also while it is not attached
        for (uint64_t i = 1; i <= 60; ++i) {
          AttachedThread attached;
          if (kept.get() != nullptr) wrong += !IsTree(kept.get(), i - 1, 4);
          gc::Ptr<Node> mine = Tree(i, 4);
          if (i % 10 == static_cast<uint64_t>(t)) gc::Collect();
          Yield();
          wrong += !IsTree(mine, i, 4);
          kept = mine.get();
        }
      });
    }
    for (std::thread& t : threads) t.join();
  });
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(GcWorldTest, RootsThatAThreadOutsideDeletesWhileAMarkBeginsMayBeGarbage) {
  // The checkmark must not ask for what a root held that is deleted between its look and the
  // marker's: nobody stops a thread that is not attached.
  std::atomic<bool> stop{false};
  std::thread outside([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      std::vector<gc::Root<Node>> roots;
      {
        AttachedThread attached;
        for (uint64_t i = 0; i < 2000; ++i) roots.emplace_back(Tree(i, 1));
      }
      roots.clear();
    }
  });
  for (int i = 0; i < 60; ++i) gc::Collect();
  stop.store(true);
  BlockingCall([&] { outside.join(); });
}

TEST_F(GcWorldTest, ARunningAttachedThreadIsStoppedInItsHandlerAndScanned) {
  if (base::kTsan) GTEST_SKIP() << "nobody is stopped in TSan's runtime";
  std::atomic<bool> ready{false}, stop{false}, right{false};
  std::thread thread([&] {
    AttachedThread attached;
    Node* tree = Tree(5, 5);
    ready.store(true);
    while (!stop.load(std::memory_order_relaxed)) {
    }
    right.store(IsTree(tree, 5, 5));
  });
  while (!ready.load()) Yield();
  for (int i = 0; i < 5; ++i) {
    gc::Collect();
    for (int j = 0; j < 2000; ++j) (void)gc::make<Node>();
  }
  stop.store(true);
  BlockingCall([&] { thread.join(); });
  EXPECT_TRUE(right.load());
}

TEST_F(GcWorldTest, AnAttachedThreadsBlockingCallKeepsItsStack) {
  std::atomic<bool> within{false}, leave{false}, right{false};
  std::thread thread([&] {
    AttachedThread attached;
    Node* tree = Tree(3, 6);
    BlockingCall([&] {
      within.store(true);
      while (!leave.load()) sched_yield();
    });
    right.store(IsTree(tree, 3, 6));
  });
  while (!within.load()) Yield();
  gc::Collect();
  for (int j = 0; j < 5000; ++j) (void)gc::make<Node>();
  leave.store(true);
  BlockingCall([&] { thread.join(); });
  EXPECT_TRUE(right.load());
}

using GcWorldDeathTest = GcWorldTest;

TEST_F(GcWorldDeathTest, AThreadThatIsNotAttachedOrNoMoreMayNotAllocate) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::thread([] { (void)gc::make<Node>(); }).join(), testing::ExitedWithCode(2),
              "gc: collected memory is used on a thread that is not the runtime's");
  EXPECT_EXIT(std::thread([] {
                {
                  AttachedThread attached;
                  (void)gc::make<Node>();
                }
                (void)gc::make<Node>();
              }).join(),
              testing::ExitedWithCode(2),
              "gc: collected memory is used on a thread that is not the runtime's");
}

// It would mark beside goroutines that count on nobody else's doing so.
TEST_F(GcWorldDeathTest, AThreadThatIsNotAttachedMayNotCollect) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(std::thread([] { gc::Collect(); }).join(), testing::ExitedWithCode(2),
              "gc: collected memory is used on a thread that is not the runtime's");
  EXPECT_EXIT(BlockingCall([] { gc::Collect(); }), testing::ExitedWithCode(2),
              "gc: collected memory is used within a BlockingCall");
}

#ifndef NDEBUG
TEST_F(GcWorldDeathTest, ASignalHandlerMayNotAllocate) {
  EXPECT_EXIT(
      {
        struct sigaction action = {};
        action.sa_handler = [](int) { (void)gc::make<Node>(); };
        action.sa_flags = SA_ONSTACK;
        sigaction(SIGUSR1, &action, nullptr);
        raise(SIGUSR1);
        _exit(0);
      },
      testing::ExitedWithCode(2), "gc: collected memory is used in a signal handler");
}
#endif

TEST_F(GcWorldTest, ValuesInAChannelsBufferAreRoots) {
  struct Message {
    int number;
    gc::Ptr<Node> tree;
    GC_FIELDS(Message, tree);
  };
  Channel<gc::Ptr<Node>> pointers(8);
  Channel<Message> messages(8);
  Channel<gc::string> texts;  // unbuffered: from stack to stack
  WaitGroup sent;
  sent.Add(1);
  Go([=, &sent] {
    for (uint64_t i = 1; i <= 8; ++i) {
      pointers.Send(Tree(i, 4));
      messages.Send(Message{static_cast<int>(i), Tree(i, 4)});
    }
    sent.Done();
    for (int i = 0; i < 8; ++i) texts.Send(gc::string("text ") + std::to_string(i));
  });
  sent.Wait();
  gc::Collect();
  EXPECT_GE(gc::GetStats().live_objects, 16u * 31);
  for (int j = 0; j < 5000; ++j) (void)gc::make<Node>();
  for (uint64_t i = 1; i <= 8; ++i) {
    EXPECT_TRUE(IsTree(*pointers.Recv(), i, 4));
    const Message m = *messages.Recv();
    EXPECT_TRUE(IsTree(m.tree, i, 4)) << m.number;
  }
  for (int i = 0; i < 8; ++i) {
    gc::Collect();
    EXPECT_EQ(texts.Recv()->view(), "text " + std::to_string(i));
  }
}

// Everything at once: mutators that migrate, cycles back to back, with both checks on.
TEST_F(GcWorldTest, MutatorsAndCyclesBackToBack) {
  const Stint stint(kRounds);
  constexpr int kMutators = 8;
  const uint64_t seed = std::random_device()();  // no SCOPED_TRACE: that is the thread's
  std::atomic<int> wrong{0};
  std::atomic<int> running{kMutators};
  WaitGroup done;
  done.Add(kMutators);
  for (int m = 0; m < kMutators; ++m) {
    Go([&, m] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(m));
      gc::vector<gc::Ptr<Node>> mine;  // on this stack
      mine.resize(16);
      std::vector<gc::Root<Node>> rooted(4);
      for (int i = 0; stint.Lasts(i); ++i) {
        const size_t at = random() % 16;
        if (Node* old = mine[at]; old != nullptr) wrong += !IsTree(old, at + 1, 4);
        mine[at] = Tree(at + 1, 4);
        if (i % 16 == 0) rooted[random() % 4] = mine[random() % 16].get();
        if (i % 64 == 0) {
          gc::string s = gc::string("text ") + std::to_string(i);
          Yield();
          wrong += s.view() != "text " + std::to_string(i);
          // Large, and longer in the making than a stop takes.
          (void)gc::make_noscan<char>(100'000);
        }
      }
      for (const gc::Root<Node>& r : rooted) {
        if (r.get() != nullptr) wrong += !IsTree(r, r->key, 4);
      }
      running.fetch_sub(1);
      done.Done();
    });
  }
  int cycles = 0;
  while (running.load() > 0) {
    gc::Collect();
    ++cycles;
    Yield();
  }
  done.Wait();
  std::printf("%d cycles\n", cycles);
  EXPECT_EQ(wrong.load(), 0) << "seed " << seed;
  EXPECT_GE(cycles, 2);
}

// Threads that are not the runtime's are not stopped: they move pointers while Roots are looked at.
TEST_F(GcWorldTest, AForeignThreadMovesPointersFromRootToRoot) {
  constexpr size_t kRoots = 20'000;  // between the two, in the table: some 20 us
  std::vector<gc::Root<Node>> all(kRoots);
  gc::Root<Node>&first = all.front(), &last = all.back();
  first = Tree(1, 4);
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      last = first;
      first = nullptr;
      first = last;
      last = nullptr;
    }
  });
  for (int i = 0; i < 50; ++i) {
    gc::Collect();
    // What was lost is used again.
    for (int j = 0; j < 100; ++j) (void)gc::make<Node>();
  }
  stop.store(true);
  BlockingCall([&] { thread.join(); });
  EXPECT_TRUE(IsTree(first, 1, 4));
}

#if defined(__x86_64__) && !defined(PLIMSOLL_TSAN)  // TSan holds signals back
constinit std::atomic<bool> in_handler{false}, leave_handler{false};
// Of what its caller had in r13 only the frames on the altstack know, while it runs.
void ClobberAndWait(int) {
  asm volatile("xorl %%r13d, %%r13d" : : : "r13");
  in_handler.store(true);
  while (!leave_handler.load()) asm volatile("xorl %%r13d, %%r13d" : : : "r13");
}

// The complement of a tree's address, of which no frame has a word: those that made it are gone,
// and where they were is overwritten. (Of a goroutine on another stack all of its own is scanned.)
gc::Root<gc::Weak<Node>>* watched = nullptr;  // the test's: the tree, and keeps it not
__attribute__((noinline)) uintptr_t MakeTree() {
  Node* const tree = Tree(5, 6);
  *watched = gc::make<gc::Weak<Node>>(tree);
  return ~reinterpret_cast<uintptr_t>(tree);
}
__attribute__((noinline)) void Overwrite() {
  volatile char below[32 << 10];
  for (size_t i = 0; i < sizeof below; ++i) below[i] = 0;
}
__attribute__((noinline)) uintptr_t HiddenTree() {
  const uintptr_t hidden = MakeTree();
  Overwrite();
  return hidden;
}

bool IsThatTree(uintptr_t address) {
  Node* const tree = (*watched)->lock();
  return tree != nullptr && reinterpret_cast<uintptr_t>(tree) == address && IsTree(tree, 5, 6);
}

// The collector interrupts a handler of the program's that interrupted a goroutine, on the thread's
// altstack or on one of the program's.
class GcHandlerTest : public GcWorldTest, public testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(AltStack, GcHandlerTest, testing::Bool(), [](const auto& info) {
  return info.param ? "OfTheProgram" : "OfTheThread";
});

TEST_P(GcHandlerTest, ARegisterOfWhoeverIsInAHandlerIsARoot) {
  const bool programs = GetParam();
  if (programs && base::kAsan) GTEST_SKIP() << "ASan has its own idea of the altstack";
  struct sigaction action = {}, before;
  action.sa_handler = &ClobberAndWait;
  action.sa_flags = SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, &before);
  in_handler.store(false);
  leave_handler.store(false);
  std::atomic<bool> right{false};
  WaitGroup done;
  done.Add(1);
  gc::Root<gc::Weak<Node>> weak;
  watched = &weak;
  std::vector<char> altstack(256 << 10);
  Go([&] {
    LockOsThread();  // the signal is for this thread
    stack_t mine = {}, threads = {};
    mine.ss_sp = altstack.data();
    mine.ss_size = altstack.size();
    if (programs) syscall(SYS_sigaltstack, &mine, &threads);
    const uintptr_t hidden = HiddenTree();
    uintptr_t seen;
    long result = SYS_tgkill;
    const long process = syscall(SYS_getpid), thread = syscall(SYS_gettid);
    asm volatile("movq %[hidden], %%r13\n\tnotq %%r13\n\tsyscall\n\tmovq %%r13, %[seen]"
                 : [seen] "=&r"(seen), "+a"(result)
                 : [hidden] "r"(hidden), "D"(process), "S"(thread), "d"(static_cast<long>(SIGUSR1))
                 : "r13", "rcx", "r11", "memory");
    right.store(IsThatTree(seen));
    if (programs) syscall(SYS_sigaltstack, &threads, nullptr);
    UnlockOsThread();
    done.Done();
  });
  while (!in_handler.load()) Yield();
  for (int i = 0; i < 2; ++i) gc::Collect();
  leave_handler.store(true);
  done.Wait();
  EXPECT_TRUE(right.load());
  sigaction(SIGUSR1, &before, nullptr);
}

// Calls f on the stack that ends at `top`, as a coroutine's switch would, with the complement of
// `hidden` in r15 and nowhere else; returns what is in r15 then. Only f, and whom it calls, may
// save it: on that stack.
__attribute__((noinline)) uintptr_t CallElsewhere(uintptr_t hidden, void (*f)(), char* top) {
  uintptr_t seen;
  asm volatile(
      "movq %%rax, %%r15\n\tnotq %%r15\n\t"
      "movq %%rsp, %%rbx\n\tmovq %%rdx, %%rsp\n\t"
      "call *%%rcx\n\t"
      "movq %%rbx, %%rsp\n\tmovq %%r15, %[seen]"
      : [seen] "=&r"(seen), "+a"(hidden), "+c"(f), "+d"(top)
      :
      : "rbx", "r15", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
        "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
        "xmm15", "cc", "memory");
  return seen;
}

constinit std::atomic<bool> elsewhere{false}, come_back{false};
Channel<int>* wake = nullptr;

struct Stay {
  const char* name;
  void (*there)();
  bool collects = false;
};
const Stay kStays[] = {
    {"Parked",
     [] {
       elsewhere.store(true);
       (void)wake->Recv();
     }},
    {"InABlockingCall",
     [] {
       BlockingCall([] {
         elsewhere.store(true);
         while (!come_back.load()) sched_yield();
       });
     }},
    {"Running",
     [] {
       elsewhere.store(true);
       while (!come_back.load()) {
       }
     }},
    {"AtTheEndOfARegion",
     [] {
       elsewhere.store(true);
       while (!come_back.load()) sched::NoPreempt region;
     }},
    {"Collecting",
     [] {
       for (int i = 0; i < 2; ++i) gc::Collect();
     },
     true},
};

class GcElsewhereTest : public GcWorldTest, public testing::WithParamInterface<Stay> {};
INSTANTIATE_TEST_SUITE_P(Stays, GcElsewhereTest, testing::ValuesIn(kStays),
                         [](const auto& info) { return info.param.name; });

// A goroutine goes to a stack of its own making, and what its frames had in registers goes along.
TEST_P(GcElsewhereTest, ARegisterOfAGoroutineOnAStackOfTheProgramsIsARoot) {
  if (base::kAsan) GTEST_SKIP() << "ASan was not told of the stack";
  const Stay& stay = GetParam();
  Channel<int> channel;
  wake = &channel;
  elsewhere.store(false);
  come_back.store(false);
  gc::Root<gc::Weak<Node>> weak;
  watched = &weak;
  std::vector<char> stack(256 << 10);
  char* const top = stack.data() + (stack.size() & ~size_t{63});
  std::atomic<bool> right{false}, own_right{false};
  WaitGroup done;
  done.Add(1);
  Go([&] {
    Node* own = Tree(3, 5);  // in its frame, on its own stack
    asm volatile("" : : "r"(&own) : "memory");
    const uintptr_t seen = CallElsewhere(HiddenTree(), stay.there, top);
    right.store(IsThatTree(seen));
    own_right.store(IsTree(own, 3, 5));
    done.Done();
  });
  if (!stay.collects) {
    while (!elsewhere.load()) Yield();
    for (int i = 0; i < 10; ++i) Yield();  // it parks meanwhile
    for (int i = 0; i < 2; ++i) gc::Collect();
    come_back.store(true);
    channel.Close();
  }
  done.Wait();
  EXPECT_TRUE(right.load());
  EXPECT_TRUE(own_right.load());
}
#endif

TEST_F(GcWorldTest, ATracerIsToldOfACycleAndOfItsStops) {
  gc::Collect();  // one that was due before is over
  sched::TraceBuffer buffer(1 << 16);
  ASSERT_TRUE(sched::StartTracing(buffer));
  gc::Collect();
  sched::StopTracing();
  EXPECT_EQ(buffer.lost(), 0u);
  // One after the other. The end may take more than one stop.
  std::string told;
  uint64_t cycle = 0;
  for (const sched::TraceEvent& e : buffer.events()) {
    std::string text(sched::TraceKindText(e.kind));
    if (e.kind == sched::TraceKind::kStop || e.kind == sched::TraceKind::kStart) {
      text += " (" + std::string(sched::StopReasonText(e.stop)) + ")";
    } else if (e.kind >= sched::TraceKind::kGcBegin) {
      if (cycle == 0) cycle = e.other;
      EXPECT_EQ(e.other, cycle);
      EXPECT_NE(e.g, 0u);
    } else {
      continue;
    }
    told += text + "\n";
  }
  const std::string again = "stop (gc end)\nstart (gc end)\n";
  for (size_t at; (at = told.find(again)) != std::string::npos;) told.erase(at, again.size());
  EXPECT_EQ(told, std::getenv("GC_TEST_STOPPED") == nullptr
                      ? "gc begin\nstop (gc start)\nstart (gc start)\nstop (gc end)\ngc marked\n"
                        "start (gc end)\ngc end\n"
                      : "gc begin\nstop (gc cycle)\ngc marked\nstart (gc cycle)\ngc end\n");
}

TEST_F(GcWorldTest, SlicesAreShortWhileAMarkGoesOnAndNotAfterIt) {
  if (std::getenv("GC_TEST_STOPPED") != nullptr) GTEST_SKIP() << "nobody runs while it marks";
  const int64_t usual = sched::GetStats().slice_ns;
  gc::Root<gc::vector<gc::Ptr<Node>>> live = gc::make<gc::vector<gc::Ptr<Node>>>();
  for (int i = 0; i < 20'000; ++i) live->push_back(gc::make<Node>());
  std::atomic<bool> seen{false};
  WaitGroup done;
  done.Add(1);
  Go([&] {
    while (!seen.load()) {
      if (sched::GetStats().slice_ns < usual) seen.store(true);
    }
    done.Done();
  });
  while (!seen.load()) gc::Collect();
  done.Wait();
  gc::Collect();
  EXPECT_EQ(sched::GetStats().slice_ns, usual);
}

TEST_F(GcWorldTest, WhatAssistsTookIsNotWhatOthersRanMeanwhile) {
  // Many that are stopped within an assist's step, one after the other, on one P.
  const int procs = sched::SetProcs({.procs = 1});
  gc::Root<Node> live = Tree(1, 13);
  gc::SetGoGc(100);
  const gc::Stats before = gc::GetStats();
  const auto began = std::chrono::steady_clock::now();
  WaitGroup done;
  done.Add(24);
  for (int g = 0; g < 24; ++g) {
    Go([&] {
      for (int i = 0; i < 20; ++i) (void)Tree(1, 10);
      done.Done();
    });
  }
  done.Wait();
  const int64_t wall = (std::chrono::steady_clock::now() - began) / std::chrono::nanoseconds(1);
  const gc::Stats after = gc::GetStats();
  gc::SetGoGc(-1);
  sched::SetProcs({.procs = procs});
  EXPECT_GE(after.cycles, before.cycles + 2);
  // Most of it are the checks. With the others' turns it was a third and more.
  EXPECT_LE(after.assist_ns - before.assist_ns, wall / 4);
  EXPECT_TRUE(IsTree(live, 1, 13));
}

// Who waits for a cycle, and is stopped for its end, begins no other.
TEST_F(GcWorldTest, ACollectIsACycle) {
  constexpr uint64_t kCollects = 300;
  gc::Root<Node> live = Tree(1, 10);
  gc::Collect();
  const uint64_t before = gc::GetStats().cycles;
  for (uint64_t i = 0; i < kCollects; ++i) gc::Collect();
  gc::Collect();  // one that was begun for nobody has ended before this one
  EXPECT_EQ(gc::GetStats().cycles, before + kCollects + 1);
}

TEST_F(GcWorldTest, AllocationTriggersCyclesOnAnyGoroutine) {
  gc::SetGoGc(100);
  const uint64_t before = gc::GetStats().cycles;
  WaitGroup done;
  done.Add(4);
  for (int g = 0; g < 4; ++g) {
    Go([&] {
      for (int i = 0; i < 200; ++i) (void)Tree(1, 9);
      done.Done();
    });
  }
  done.Wait();
  gc::SetGoGc(-1);
  EXPECT_GE(gc::GetStats().cycles, before + 5);
  EXPECT_LE(gc::GetStats().span_bytes, uint64_t{16} << 20);
}

// Garbage of which every page would else stay in memory, since GOGC is off and nobody allocates.
TEST_F(GcWorldTest, ALimitThatIsLoweredTakesMemoryAtOnce) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  gc::Root<Node> live = Tree(1, 14);
  for (int i = 0; i < 6000; ++i) (void)Tree(1, 7);  // 48 MiB
  const uint64_t before = alloc::GetCollectedStats().held;
  const uint64_t cycles = gc::GetStats().cycles;
  EXPECT_GE(before, 40 * kMiB);
  SetCollectorMemoryLimit(20 * kMiB);
  EXPECT_LE(gc::GetStats().limit_bytes, 20 * kMiB);
  while (alloc::GetCollectedStats().held > gc::GetStats().limit_bytes + 2 * kMiB) sched::Yield();
  EXPECT_EQ(gc::GetStats().cycles, cycles + 1);
  EXPECT_TRUE(IsTree(live, 1, 14));
  EXPECT_LE(Heap::Stats().limit.value(), 20 * kMiB);
  SetCollectorMemoryLimit(UINT64_MAX);
  EXPECT_EQ(gc::GetStats().limit_bytes, UINT64_MAX);
  EXPECT_EQ(Heap::Stats().limit.value(), UINT64_MAX) << "what is idle stays again";
}

// In a process of its own, where no cycle has been.
TEST(GcWorldStartDeathTest, TheFirstCycleComesByTheLimitAlsoWithGoGcOff) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        SetCollectorMemoryLimit(uint64_t{32} << 20);
        StartCollector(CollectorOptions("off", base::DebugText("")));
        for (int i = 0; i < 64; ++i) (void)gc::make_noscan<char>(1 << 20);
        std::fprintf(stderr, "cycles: %s\n", gc::GetStats().cycles > 0 ? "some" : "none");
        _exit(0);
      },
      testing::ExitedWithCode(0), "cycles: some");
}

TEST_F(GcWorldTest, WhatAPoolHoldsAndNobodyAsksForGoesWithTheCycles) {
  static std::atomic<int> live;
  struct Counted {
    Counted() { live.fetch_add(1); }
    ~Counted() { live.fetch_sub(1); }
  };
  Pool<Counted> pool;
  pool.Put(std::make_unique<Counted>());
  EXPECT_EQ(live.load(), 1);
  // Each cycle ages pools once, on a goroutine, unless the one before does so still.
  while (live.load() != 0) {
    gc::Collect();
    sched::Yield();
  }
}

TEST_F(GcWorldTest, CollectFromManyGoroutinesEndsForAll) {
  WaitGroup done;
  done.Add(10);
  const uint64_t before = gc::GetStats().cycles;
  for (int i = 0; i < 10; ++i) {
    Go([&] {
      gc::Collect();
      done.Done();
    });
  }
  done.Wait();
  EXPECT_GE(gc::GetStats().cycles, before + 1);
}

#ifndef NDEBUG
TEST_F(GcWorldTest, CollectedMemoryWithinABlockingCallEndsTheProcess) {
  EXPECT_EXIT(BlockingCall([] { (void)gc::make<Node>(); }), testing::ExitedWithCode(2),
              "gc: collected memory is used within a BlockingCall: carry a gc::Root in");
}
#endif

// The heap grows and shrinks, and what is live is shared: marks beside it, assists, ends.
TEST_F(GcWorldTest, AHeapThatManyChangeWhileItIsMarked) {
  const Stint stint(2 * kRounds);
  gc::SetGoGc(50);
  constexpr int kMutators = 6;
  constexpr int kPlaces = 64;
  struct Shared {
    gc::vector<gc::Ptr<Node>> places;
    GC_FIELDS(Shared, places);
  };
  gc::Root<Shared> shared = gc::make<Shared>();
  shared->places.resize(kPlaces);
  const uint64_t seed = std::random_device()();
  std::atomic<int> wrong{0};
  std::atomic<int> running{kMutators};
  Channel<gc::Ptr<Node>> handed(4);
  Mutex mu;  // the program's own order: who takes a tree from a place sees what it was built of
  WaitGroup done;
  done.Add(kMutators);
  const uint64_t cycles = gc::GetStats().cycles;
  for (int m = 0; m < kMutators; ++m) {
    Go([&, m, all = gc::Ptr<Shared>(shared.get())] {
      std::mt19937_64 random(seed + static_cast<uint64_t>(m));
      for (int i = 0; stint.Lasts(i); ++i) {
        const size_t at = random() % kPlaces;
        const auto put = [&](size_t place, Node* value) {
          std::lock_guard hold(mu);
          all->places[place] = value;
        };
        mu.lock();
        Node* tree = all->places[at];  // the last that holds it, maybe
        mu.unlock();
        switch (random() % 4) {
          case 0:
            put(at, Tree(random() % 1000 + 1, 5));
            break;
          case 1:
            put(at, nullptr);
            if (i % 8 == 0) Yield();
            if (tree != nullptr) put(random() % kPlaces, tree);
            break;
          case 2:
            if (gc::Ptr<Node> value = tree; tree != nullptr && handed.TrySend(value)) {
              put(at, nullptr);
            } else if (auto got = handed.TryRecv(); got.value.has_value()) {
              put(at, *got.value);
            }
            break;
          default:
            break;
        }
        if (tree != nullptr) wrong += !IsTree(tree, tree->key, 5);
      }
      running.fetch_sub(1);
      done.Done();
    });
  }
  // Cycles by allocation, and between them one after the other.
  while (running.load() > 0) {
    gc::Collect();
    Yield();
  }
  done.Wait();
  gc::SetGoGc(-1);
  std::printf("%d cycles\n", static_cast<int>(gc::GetStats().cycles - cycles));
  EXPECT_EQ(wrong.load(), 0) << "seed " << seed;
  EXPECT_GE(gc::GetStats().cycles, cycles + 3);
}

// How many callers the heap would write down for a sample, `calls` calls down from here.
[[gnu::noinline]] uint32_t CallersFound(int calls) {
  uint32_t found = 0;
  if (calls > 0) {
    found = CallersFound(calls - 1);
  } else {
    alloc::StackTrace trace;
    trace.Capture();
    found = trace.depth;
  }
  asm volatile("" : "+r"(found));  // no tail call
  return found;
}

TEST_F(GcWorldTest, TheHeapFindsItsCallersOnAGoroutinesStack) {
  WaitGroup done;
  done.Add(1);
  uint32_t found = 0;
  Go([&] {
    found = CallersFound(8);
    done.Done();
  });
  done.Wait();
  EXPECT_GE(found, 9u);
}

TEST(CollectorOptionsTest, ReadsGosVariablesAndOurs) {
  struct Case {
    const char *gogc, *debug;
    int percent;
    bool trace, verify, checkmark;
  };
  const Case kCases[] = {
      {nullptr, nullptr, 100, false, false, false},
      {"", "", 100, false, false, false},
      {"50", "gctrace=1", 50, true, false, false},
      {"off", "schedtrace=1000,verify=1,checkmark=1", -1, false, true, true},
      {"0", "gctrace=0,gctrace", 0, false, false, false},
      {"50%", "gctrace=2", 100, false, false, false},
      {"-5", ",,verify=1,", 100, false, true, false},
      {"99999999999", "", 100, false, false, false},
  };
  for (const Case& c : kCases) {
    SCOPED_TRACE(std::string(c.gogc == nullptr ? "null" : c.gogc) + " " +
                 (c.debug == nullptr ? "null" : c.debug));
    const gc::Options o =
        CollectorOptions(c.gogc, base::DebugText(c.debug == nullptr ? "" : c.debug));
    EXPECT_EQ(o.gogc, c.percent);
    EXPECT_EQ(o.trace, c.trace);
    EXPECT_EQ(o.verify, c.verify);
    EXPECT_EQ(o.checkmark, c.checkmark);
  }
  EXPECT_STREQ(CollectorOptions("", base::DebugText("gcfault=flip_mark")).fault, "flip_mark");
  EXPECT_TRUE(CollectorOptions("", base::DebugText("")).beside);
  EXPECT_FALSE(CollectorOptions("", base::DebugText("gcstoptheworld=1")).beside);
}

}  // namespace
}  // namespace plimsoll
