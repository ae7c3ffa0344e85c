#include "plimsoll/runtime/sched/altstack.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "gtest/gtest.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/stack/stack_pool.h"

namespace plimsoll::sched {
namespace {

std::atomic<uintptr_t> handler_frame{0};

__attribute__((noinline)) void NoteFrame(int) {
  char here;
  asm volatile("" : : "r"(&here) : "memory");
  handler_frame.store(reinterpret_cast<uintptr_t>(&here));
}

void InstallNoteFrame() {
  struct sigaction action = {};
  action.sa_handler = NoteFrame;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, nullptr);
}

// Raises a signal on this thread and returns where its handler's frame was.
uintptr_t FrameOfHandler() {
  handler_frame.store(0);
  raise(SIGUSR2);
  return handler_frame.load();
}

TEST(AltStackTest, HasRoomForFourSignalFramesHoweverBig) {
  EXPECT_EQ(AltStackBytes(0), 64u << 10) << "a kernel that tells no AT_MINSIGSTKSZ";
  EXPECT_EQ(AltStackBytes(3632), 64u << 10) << "AVX-512";
  const size_t amx = 11952;
  EXPECT_EQ(AltStackBytes(amx), 64u << 10);
  EXPECT_GE(AltStackBytes(20000), 4 * 20000u + (16 << 10));
}

TEST(AltStackTest, HandlersOfItsThreadRunOnItUntilItIsRemoved) {
  InstallNoteFrame();
  const AltStack before = InstallAltStack();
  ASSERT_NE(before.lo, 0u);
  EXPECT_TRUE(before.Holds(FrameOfHandler()));
  const AltStack second = InstallAltStack();  // takes the first one's place
  EXPECT_TRUE(second.Holds(FrameOfHandler()));
  RemoveAltStack(second);
  EXPECT_FALSE(before.Holds(FrameOfHandler()));
  // This thread runs goroutines: it needs one.
  EXPECT_TRUE(InstallAltStack().Holds(FrameOfHandler()));
}

TEST(AltStackDeathTest, AHandlerThatOverflowsItMeetsAGuard) {
  const AltStack stack = InstallAltStack();
  ASSERT_NE(stack.lo, 0u);
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(stack.lo - 1) = 1, "");
  *reinterpret_cast<volatile char*>(stack.lo) = 1;
  RemoveAltStack(stack);
}

TEST(AltStackTest, EveryThreadOfTheSchedulerHasOne) {
  InstallNoteFrame();
  std::atomic<int> wrong{0}, ended{0};
  std::atomic<bool> busy{false};  // one handler at a time: it notes in one place
  for (int i = 0; i < 20; ++i) {
    Go([&] {
      for (int k = 0; k < 20; ++k) {
        {
          NoPreempt guard;
          while (busy.exchange(true)) {
          }
          const uintptr_t mine = reinterpret_cast<uintptr_t>(&k);
          const uintptr_t there = FrameOfHandler();
          const uintptr_t apart = there > mine ? there - mine : mine - there;
          if (apart < stack::kDefaultStack.value()) wrong.fetch_add(1);
          busy.store(false);
        }
        Yield();
      }
      ended.fetch_add(1);
    });
  }
  while (ended.load() != 20) Yield();
  EXPECT_EQ(wrong.load(), 0) << "handlers that ran on their goroutine's stack";
}

TEST(AltStackTest, NoThreadOfTheSchedulerBlocksSignalsThatTheFirstDidNot) {
  // Threads made later are made by one that blocks all. Each of these holds a thread of its own.
  constexpr int kThreads = 8;
  std::atomic<int> inside{0}, blocked{0};
  for (int i = 0; i < kThreads; ++i) {
    Go([&] {
      BlockingCall([&] {
        inside.fetch_add(1);
        while (inside.load() < kThreads) usleep(1000);
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        if (sigismember(&mask, SIGURG) == 1 || sigismember(&mask, SIGQUIT) == 1)
          blocked.fetch_add(1);
        inside.fetch_add(1);
      });
    });
  }
  while (inside.load() != 2 * kThreads) Yield();
  EXPECT_EQ(blocked.load(), 0);
}

}  // namespace
}  // namespace plimsoll::sched
