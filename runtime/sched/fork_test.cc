// What a forked child may do, and what it is told where it does more. In each case the parent has
// goroutines that run, one of which the child cannot see any more.

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "plimsoll/alloc/base/spin_lock.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/attach.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/goexit.h"
#include "plimsoll/runtime/sched/lock_os_thread.h"
#include "plimsoll/runtime/sched/park.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"

// Tests run on the main goroutine of a scheduler with two Ps (tests/testing/goroutine_main.cc).

namespace plimsoll::sched {
namespace {

constexpr char kTold[] =
    "fatal error: runtime: a forked child calls the runtime: it may only exec or _exit\n";

struct Ending {
  int status;  // the exit status, or 128 and the signal's number
  std::string text;
};

// Forks here, on the calling goroutine's stack, and runs f in the child, which ends with 99 where f
// returns.
template <typename F>
Ending InChild(F f) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {-1, "no pipe"};
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    alarm(60);  // where it hangs it dies, and is told as 128 + SIGALRM
    f();
    _exit(99);
  }
  close(ends[1]);
  Ending ending{0, ""};
  BlockingCall([&] {
    char buffer[512];
    for (;;) {
      const ssize_t n = read(ends[0], buffer, sizeof(buffer));
      if (n > 0) ending.text.append(buffer, static_cast<size_t>(n));
      if (n == 0 || (n < 0 && errno != EINTR)) break;
    }
    while (waitpid(child, &ending.status, 0) < 0 && errno == EINTR) {
    }
  });
  close(ends[0]);
  ending.status =
      WIFEXITED(ending.status) ? WEXITSTATUS(ending.status) : 128 + WTERMSIG(ending.status);
  return ending;
}

class ForkTest : public testing::Test {
 protected:
  ForkTest() {
    for (int i = 0; i < 3; ++i) {
      Go([this] {
        while (!stop_.load()) Yield();
        left_.fetch_sub(1);
      });
    }
  }
  ~ForkTest() override {
    stop_.store(true);
    while (left_.load() > 0) Yield();
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> left_{3};
};

TEST_F(ForkTest, AChildMayExecOrExit) {
  const Ending exits = InChild([] { _exit(7); });
  EXPECT_EQ(exits.status, 7);
  EXPECT_EQ(exits.text, "");
  const Ending execs = InChild([] {
    // With what a program does before: descriptors, memory, a caught exception, a blocking call.
    std::string command("exit 8");
    try {
      throw std::runtime_error(command);
    } catch (const std::exception& e) {
      command = e.what();
    }
    BlockingCall(
        [&] { execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr)); });
  });
  EXPECT_EQ(execs.status, 8);
  EXPECT_EQ(execs.text, "");
}

TEST_F(ForkTest, FromAnyGoroutineAndAnyThread) {
  std::atomic<int> wrong{0}, left{0};
  const auto fork_here = [&] {
    const pid_t child = fork();
    if (child == 0) _exit(5);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    wrong += !WIFEXITED(status) || WEXITSTATUS(status) != 5;
  };
  left.store(3);
  Go([&] {
    fork_here();
    left.fetch_sub(1);
  });
  Go([&] {
    LockOsThread();
    fork_here();
    UnlockOsThread();
    left.fetch_sub(1);
  });
  Go([&] {
    BlockingCall(fork_here);
    left.fetch_sub(1);
  });
  std::thread attached([&] {
    AttachedThread here;
    fork_here();
  });
  std::thread foreign(fork_here);
  BlockingCall([&] {
    attached.join();
    foreign.join();
  });
  while (left.load() > 0) Yield();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_F(ForkTest, AChildThatCallsTheRuntimeIsTold) {
  const struct {
    const char* what;
    void (*call)();
  } kCases[] = {
      {"Go", [] { Go([] {}); }},
      {"Yield", [] { Yield(); }},
      {"park", [] { Park(WaitReason::kSleep, [](G*, void*) { return true; }, nullptr); }},
      {"timed park",
       [] {
         WakeClaim claim;
         ParkUntil(WaitReason::kSleep, NowNanos() + 1000, claim, nullptr, nullptr);
       }},
      {"Goexit", [] { Goexit(); }},
      {"LockOsThread", [] { LockOsThread(); }},
      {"AttachThread", [] { AttachThread(); }},
      {"DetachThread", [] { DetachThread(); }},
      {"StopTheWorld", [] { StopTheWorld(); }},
  };
  for (const auto& c : kCases) {
    const Ending told = InChild(c.call);
    EXPECT_EQ(told.status, 2) << c.what;
    EXPECT_EQ(told.text, kTold) << c.what;
  }
}

base::SpinLock held;
void Hold() ABSL_NO_THREAD_SAFETY_ANALYSIS { held.lock(); }
void LetGo() ABSL_NO_THREAD_SAFETY_ANALYSIS { held.unlock(); }

TEST_F(ForkTest, AChildThatWaitsForALockWhoseHolderIsNotThereIsTold) {
  // Held by a thread that the child does not have, and never preempted: it has no P.
  std::atomic<bool> there{false}, go{false};
  std::thread holder([&] {
    Hold();
    there.store(true);
    while (!go.load()) sched_yield();
    LetGo();
  });
  while (!there.load()) Yield();
  const Ending told = InChild(Hold);
  EXPECT_EQ(told.status, 2);
  EXPECT_EQ(told.text, kTold);
  go.store(true);
  BlockingCall([&] { holder.join(); });
}

TEST_F(ForkTest, AReadyOfAGoroutineThatWaitsInTheParentIsTold) {
  static std::atomic<G*> waits{nullptr};
  std::atomic<bool> done{false};
  Go([&] {
    Park(
        WaitReason::kChanReceive,
        [](G* g, void*) {
          waits.store(g);
          return true;
        },
        nullptr);
    done.store(true);
  });
  while (waits.load() == nullptr) Yield();
  const Ending told = InChild([] { Ready(waits.load()); });
  EXPECT_EQ(told.status, 2);
  EXPECT_EQ(told.text, kTold);
  Ready(waits.load());
  while (!done.load()) Yield();
}

TEST_F(ForkTest, AChildThatReturnsFromItsGoroutineIsTold) {
  std::atomic<int> status{-1};
  static int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  Go([&] {
    const pid_t child = fork();
    if (child == 0) {
      dup2(ends[1], STDERR_FILENO);
      alarm(60);
      return;
    }
    int s = 0;
    while (waitpid(child, &s, 0) < 0 && errno == EINTR) {
    }
    status.store(WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s));
  });
  while (status.load() == -1) Yield();
  EXPECT_EQ(status.load(), 2);
  char text[256] = {};
  EXPECT_GT(read(ends[0], text, sizeof(text) - 1), 0);
  EXPECT_STREQ(text, kTold);
  close(ends[0]);
  close(ends[1]);
}

TEST_F(ForkTest, ASignalDoesInTheChildWhatItDoesWithoutUs) {
  EXPECT_EQ(InChild([] {
              // TSan keeps what is sent to oneself back; the kernel's default does not ask it.
              signal(SIGQUIT, SIG_DFL);
              raise(SIGQUIT);
            }).status,
            128 + SIGQUIT);
  // The preemption signal, whose handler is there still.
  const Ending urgent = InChild([] {
    for (int i = 0; i < 100; ++i) raise(SIGURG);
    _exit(4);
  });
  EXPECT_EQ(urgent.status, 4);
  EXPECT_EQ(urgent.text, "");
}

}  // namespace
}  // namespace plimsoll::sched
