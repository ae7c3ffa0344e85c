// The poller alone, on threads of our own: no scheduler runs.
#include "plimsoll/runtime/netpoll/epoll.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::netpoll {
namespace {

struct Pair {
  Pair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0); }
  ~Pair() {
    close(fds[0]);
    close(fds[1]);
  }
  int fds[2];
};

TEST(EpollPollerTest, ABreakBeforeABlockingPollEndsIt) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  poller.Break();
  poller.Break();
  sched::GList ready;
  poller.Poll(-1, ready);  // would hang
  EXPECT_TRUE(ready.empty());
  poller.Break();
  poller.Poll(-1, ready);
}

TEST(EpollPollerTest, ANonBlockingPollLeavesABreakToTheBlockingOne) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  sched::GList ready;
  poller.Break();
  poller.Poll(0, ready);
  poller.Poll(-1, ready);  // would hang if the first had eaten it
  EXPECT_TRUE(ready.empty());
}

TEST(EpollPollerTest, EveryBreakEndsAPollThoughTheyRace) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  std::atomic<int> asked{0}, seen{0};
  std::atomic<bool> stop{false};
  std::thread waiter([&] {
    sched::GList ready;
    while (!stop.load()) {
      // What was asked before a Break is seen after the Poll that it ends.
      poller.Poll(-1, ready);
      seen.store(asked.load());
    }
  });
  for (int i = 1; i <= 20000; ++i) {
    asked.store(i);
    poller.Break();
    while (seen.load() < i) base::CpuRelax();
  }
  stop = true;
  poller.Break();
  waiter.join();
}

TEST(EpollPollerTest, ATimedPollIsNeverEarly) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  for (const int64_t wait : {1, 50'000, 1'500'000, 3'000'001}) {
    sched::GList ready;
    const int64_t before = sched::NowNanos();
    poller.Poll(wait, ready);
    EXPECT_GE(sched::NowNanos() - before, wait);
  }
}

TEST(EpollPollerTest, AnEventOfAnEarlierLifeIsDropped) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  Pair kept, reused;
  // A copy keeps the registration alive in the kernel after close, as a child before exec would.
  absl::StatusOr<PollDesc*> first = poller.Open(kept.fds[0]);
  ASSERT_TRUE(first.ok());
  sched::GList ready;
  poller.Poll(0, ready);  // uses up the first edge: writable
  (*first)->Evict();
  const uint32_t sequence = (*first)->sequence();
  poller.Close(*first);

  absl::StatusOr<PollDesc*> second = poller.Open(reused.fds[0]);
  ASSERT_TRUE(second.ok());
  ASSERT_EQ(*second, *first) << "the pool gives the last one back first";
  EXPECT_NE((*second)->sequence(), sequence);
  EXPECT_EQ((*second)->Check(Mode::kRead), WaitResult::kReady) << "no longer closed";
  // Take the new life's own first edge; then an edge of the old life arrives.
  poller.Poll(0, ready);
  EXPECT_EQ((*second)->Wait(Mode::kWrite), WaitResult::kReady);
  ASSERT_EQ(write(kept.fds[1], "x", 1), 1);
  poller.Poll(0, ready);
  (*second)->SetDeadline(Mode::kRead, 1);  // long past
  EXPECT_EQ((*second)->Wait(Mode::kRead), WaitResult::kTimedOut);
  (*second)->SetDeadline(Mode::kRead, kNoDeadline);
  // Had the old edge set the semaphore, this would return instead of blocking: the thread below
  // proves that it needs an edge of its own.
  std::atomic<bool> woken{false};
  std::thread waiter([&] {
    EXPECT_EQ((*second)->Wait(Mode::kRead), WaitResult::kReady);
    woken = true;
  });
  while (!poller.HasWaiters()) base::CpuRelax();
  poller.Poll(0, ready);
  EXPECT_FALSE(woken);
  ASSERT_EQ(write(reused.fds[1], "x", 1), 1);
  while (ready.empty()) poller.Poll(-1, ready);
  sched::Ready(ready.PopFront());
  waiter.join();
  (*second)->Evict();
  poller.Close(*second);
}

TEST(EpollPollerTest, ThePeersEndMarksShortReadsAsUntrustworthy) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  Pair pair;
  absl::StatusOr<PollDesc*> desc = poller.Open(pair.fds[0]);
  ASSERT_TRUE(desc.ok());
  sched::GList ready;
  ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
  poller.Poll(0, ready);
  EXPECT_TRUE((*desc)->ShortReadMeansEmpty());
  ASSERT_EQ(shutdown(pair.fds[1], SHUT_WR), 0);
  poller.Poll(0, ready);
  EXPECT_FALSE((*desc)->ShortReadMeansEmpty());
  (*desc)->Evict();
  poller.Close(*desc);
}

TEST(EpollPollerTest, WhatCannotBePolledIsRefused) {
  EpollPoller poller;
  ASSERT_TRUE(poller.Start().ok());
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const absl::StatusOr<PollDesc*> desc = poller.Open(fd);
  ASSERT_FALSE(desc.ok());
  EXPECT_NE(std::string(desc.status().message()).find("epoll_ctl: EPERM"), std::string::npos)
      << desc.status();
  close(fd);
}

TEST(EpollPollerTest, BeforeStartItSaysSo) {
  EpollPoller poller;
  EXPECT_EQ(poller.Open(0).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace plimsoll::netpoll
