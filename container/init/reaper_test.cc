#include "plimsoll/container/init/reaper.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

ReaperOptions NoGrace() {
  return {.grace = absl::ZeroDuration(), .on_reaped = nullptr, .proc = "/proc", .now_ns = nullptr};
}

// Waits until `pid`, a child of ours, is a zombie, and leaves it one.
void AwaitZombie(pid_t pid) {
  siginfo_t info{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
}

pid_t ForkExit(int code) {
  const pid_t pid = fork();
  if (pid == 0) _exit(code);
  return pid;
}

// Orphans fall to this process; SIGCHLD is blocked, so that a test can wait for one.
class ReaperTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(BecomeSubreaper());
    sigemptyset(&sigchld_);
    sigaddset(&sigchld_, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &sigchld_, &before_);
  }
  void TearDown() override {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

  // Leaves `count` orphans to us that end, with the code `code`, once the returned descriptor is
  // closed.
  int MakeOrphans(int count, int code) {
    int hold[2];
    EXPECT_EQ(pipe(hold), 0);
    const pid_t parent = fork();
    if (parent == 0) {
      close(hold[1]);
      for (int i = 0; i < count; ++i) {
        const pid_t pid = fork();
        if (pid < 0) _exit(1);
        if (pid == 0) {
          char byte;
          (void)!read(hold[0], &byte, 1);
          _exit(code);
        }
      }
      _exit(0);
    }
    close(hold[0]);
    int status;
    EXPECT_EQ(waitpid(parent, &status, 0), parent);
    EXPECT_EQ(status, 0) << "fork failed";
    return hold[1];
  }

  // Reaps, at each SIGCHLD and when the reaper asked for it, until `count` are in or 20 s have
  // passed.
  int ReapUntil(Reaper& reaper, int count) {
    int reaped = 0;
    for (int waits = 0; waits < 20'000; ++waits) {
      const ReapReport report = reaper.Reap();
      reaped += report.reaped;
      if (reaped >= count) break;
      const absl::Duration wait = std::min(report.again_in, absl::Seconds(10));
      const timespec limit = absl::ToTimespec(wait);
      if (sigtimedwait(&sigchld_, nullptr, &limit) < 0 && wait == absl::Seconds(10)) break;
    }
    return reaped;
  }

  sigset_t sigchld_, before_;
};

TEST_F(ReaperTest, ReapsAThousandOrphansAndSeesEachStatus) {
  std::map<int, int> codes;
  ReaperOptions options = NoGrace();
  options.on_reaped = [&](pid_t, ExitStatus status) { ++codes[status.Code()]; };
  Reaper reaper(options);
  close(MakeOrphans(1000, 7));
  EXPECT_EQ(ReapUntil(reaper, 1000), 1000);
  EXPECT_EQ(codes, (std::map<int, int>{{7, 1000}}));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
}

TEST_F(ReaperTest, LeavesAnOwnedZombieToItsOwnerAndReapsThoseBehindIt) {
  Reaper reaper(NoGrace());
  std::vector<pid_t> own;
  for (int i = 0; i < 20; ++i) {
    Reaper::SpawnHold hold(reaper);
    own.push_back(ForkExit(i));
    hold.Own(own.back());
  }
  for (const pid_t pid : own) AwaitZombie(pid);  // older than the orphans: they stand in front
  close(MakeOrphans(100, 0));
  EXPECT_EQ(ReapUntil(reaper, 100), 100);
  for (int i = 0; i < 20; ++i) {
    int status;
    ASSERT_EQ(waitpid(own[i], &status, 0), own[i]) << "its status was stolen";
    EXPECT_EQ(WEXITSTATUS(status), i);
    reaper.Disown(own[i]);
  }
}

TEST_F(ReaperTest, AsksToBeCalledAgainWhileAnOwnerDoesNotWait) {
  Reaper reaper(NoGrace());
  EXPECT_EQ(reaper.Reap().again_in, absl::InfiniteDuration());
  const pid_t pid = ForkExit(0);
  reaper.Own(pid);
  AwaitZombie(pid);
  EXPECT_LE(reaper.Reap().again_in, absl::Seconds(1));
  waitpid(pid, nullptr, 0);
  reaper.Disown(pid);
  EXPECT_EQ(reaper.Reap().again_in, absl::InfiniteDuration());
}

TEST_F(ReaperTest, LeavesUnknownZombiesToTheirWaiterForTheGrace) {
  int64_t now_ns = 0;
  ReaperOptions options;
  options.grace = absl::Seconds(1);
  options.now_ns = [&] { return now_ns; };
  Reaper reaper(options);
  const pid_t patient = ForkExit(3);
  AwaitZombie(patient);
  ReapReport report = reaper.Reap();
  EXPECT_EQ(report.reaped, 0);
  EXPECT_EQ(report.again_in, absl::Seconds(1));
  now_ns += 600'000'000;
  report = reaper.Reap();
  EXPECT_EQ(report.reaped, 0);
  EXPECT_EQ(report.again_in, absl::Milliseconds(400));
  int status;
  ASSERT_EQ(waitpid(patient, &status, 0), patient) << "in time";
  EXPECT_EQ(WEXITSTATUS(status), 3);

  const pid_t slow = ForkExit(0);
  AwaitZombie(slow);
  EXPECT_EQ(reaper.Reap().reaped, 0) << "the grace is counted anew for each";
  now_ns += 1'000'000'000;
  EXPECT_EQ(reaper.Reap().reaped, 1);
}

TEST_F(ReaperTest, SystemAndPopenKeepTheirStatusesWhileAReaperRuns) {
  Reaper reaper;  // the default grace
  std::atomic<bool> stop{false};
  std::thread reaping([&] {
    while (!stop.load(std::memory_order_relaxed)) (void)reaper.Reap();
  });
  for (int i = 0; i < 20; ++i) {
    const int status = system("exit 5");  // NOLINT(bugprone-command-processor): the point
    EXPECT_EQ(WEXITSTATUS(status), 5);
  }
  stop.store(true, std::memory_order_relaxed);
  reaping.join();
}

TEST_F(ReaperTest, NeverTakesAChildBornWhileItReaps) {
  Reaper reaper(NoGrace());
  std::atomic<bool> stop{false};
  std::thread reaping([&] {
    while (!stop.load(std::memory_order_relaxed)) (void)reaper.Reap();
  });
  int stolen = 0;
  for (int i = 0; i < 200; ++i) {
    pid_t pid;
    {
      Reaper::SpawnHold hold(reaper);
      pid = ForkExit(0);
      AwaitZombie(pid);  // as fast as a child can end: before anybody could have called Own
      hold.Own(pid);
    }
    stolen += waitpid(pid, nullptr, 0) != pid;
    reaper.Disown(pid);
  }
  stop.store(true, std::memory_order_relaxed);
  reaping.join();
  EXPECT_EQ(stolen, 0);
}

TEST_F(ReaperTest, SaysThatItIsBlindWithoutProcAndStillReapsWhatItSees) {
  ReaperOptions options = NoGrace();
  options.proc = "/no/such/proc";
  Reaper reaper(options);
  close(MakeOrphans(10, 0));
  EXPECT_EQ(ReapUntil(reaper, 10), 10) << "no zombie of our own in the way: /proc is not needed";
  const pid_t own = ForkExit(0);
  reaper.Own(own);
  AwaitZombie(own);
  const ReapReport report = reaper.Reap();
  EXPECT_TRUE(report.blind);
  EXPECT_LE(report.again_in, absl::Seconds(1));
  EXPECT_EQ(waitpid(own, nullptr, 0), own);
}

class ListChildrenTest : public testing::Test {
 protected:
  void SetUp() override {
    proc_ = std::filesystem::path(testing::TempDir()) / ("proc" + std::to_string(getpid()));
    std::filesystem::create_directories(proc_);
  }
  void TearDown() override { std::filesystem::remove_all(proc_); }

  void Write(const std::string& task, const std::string& children) {
    const auto dir = proc_ / std::to_string(getpid()) / "task" / task;
    std::filesystem::create_directories(dir);
    std::ofstream(dir / "children") << children;
  }
  void Self(const std::string& target) { std::filesystem::create_symlink(target, proc_ / "self"); }

  std::filesystem::path proc_;
};

TEST_F(ListChildrenTest, GathersTheChildrenOfEveryThread) {
  Self(std::to_string(getpid()));
  Write("1", "10 20 ");
  Write("2", "");
  Write("3", "30");
  std::vector<pid_t> children;
  EXPECT_TRUE(ListChildren(proc_, &children));
  std::sort(children.begin(), children.end());
  EXPECT_EQ(children, (std::vector<pid_t>{10, 20, 30}));
}

TEST_F(ListChildrenTest, SkipsWhatIsNoPid) {
  Self(std::to_string(getpid()));
  Write("1", std::string("x 5 -7 0 99999999999999 \0\xff 6\n", 30));
  std::vector<pid_t> children;
  EXPECT_TRUE(ListChildren(proc_, &children));
  for (const pid_t pid : children) EXPECT_GT(pid, 0);
  EXPECT_NE(std::find(children.begin(), children.end(), 5), children.end());
  EXPECT_NE(std::find(children.begin(), children.end(), 6), children.end());
}

TEST_F(ListChildrenTest, RefusesTheProcOfAnotherPidNamespace) {
  Self(std::to_string(getpid() + 1));
  Write("1", "10");
  std::vector<pid_t> children;
  EXPECT_FALSE(ListChildren(proc_, &children));
}

TEST_F(ListChildrenTest, RefusesAProcWithoutChildrenFiles) {
  Self(std::to_string(getpid()));
  std::filesystem::create_directories(proc_ / std::to_string(getpid()) / "task" / "1");
  std::vector<pid_t> children;
  EXPECT_FALSE(ListChildren(proc_, &children));
}

TEST_F(ListChildrenTest, ListsARealChild) {
  const pid_t pid = ForkExit(0);
  std::vector<pid_t> children;
  ASSERT_TRUE(ListChildren("/proc", &children));
  EXPECT_NE(std::find(children.begin(), children.end(), pid), children.end());
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
}

}  // namespace
}  // namespace plimsoll::container
