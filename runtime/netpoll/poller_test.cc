// Each engine alone, on threads of our own: no scheduler runs. What one promises both keep.
#include "plimsoll/runtime/netpoll/poller.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/netpoll/epoll.h"
#include "plimsoll/runtime/netpoll/io_uring.h"
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

// A byte that is written while a thread waits for it wakes that thread.
template <typename P>
void ExpectWakes(P& poller, PollDesc* desc, const Pair& pair) {
  std::atomic<bool> read_it{false};
  std::thread waiter([&] {
    char byte;
    // An edge of before may come first; then there is nothing to read yet.
    while (read(pair.fds[0], &byte, 1) != 1) {
      ASSERT_EQ(desc->Wait(Mode::kRead), WaitResult::kReady);
    }
    read_it = true;
  });
  sched::GList ready;
  while (!poller.HasWaiters()) base::CpuRelax();
  ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
  while (!read_it) {
    poller.Poll(1'000'000, ready);
    while (!ready.empty()) sched::Ready(ready.PopFront());
  }
  waiter.join();
}

template <typename P>
class PollerTest : public testing::Test {
 protected:
  void SetUp() override {
    const absl::Status s = poller_.Start();
    if (absl::IsUnimplemented(s) || absl::IsPermissionDenied(s)) GTEST_SKIP() << s;
    ASSERT_TRUE(s.ok()) << s;
  }
  P poller_;
};

struct EngineName {
  template <typename P>
  static std::string GetName(int) {
    return std::is_same_v<P, EpollPoller> ? "Epoll" : "IoUring";
  }
};
using Engines = testing::Types<EpollPoller, IoUringPoller>;
TYPED_TEST_SUITE(PollerTest, Engines, EngineName);

TYPED_TEST(PollerTest, ABreakBeforeABlockingPollEndsIt) {
  TypeParam& poller = this->poller_;
  poller.Break();
  poller.Break();
  sched::GList ready;
  poller.Poll(-1, ready);  // would hang
  EXPECT_TRUE(ready.empty());
  poller.Break();
  poller.Poll(-1, ready);
}

TYPED_TEST(PollerTest, ANonBlockingPollLeavesABreakToTheBlockingOne) {
  TypeParam& poller = this->poller_;
  sched::GList ready;
  poller.Break();
  poller.Poll(0, ready);
  poller.Poll(-1, ready);  // would hang if the first had eaten it
  EXPECT_TRUE(ready.empty());
}

TYPED_TEST(PollerTest, EveryBreakEndsAPollThoughTheyRace) {
  TypeParam& poller = this->poller_;
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

TYPED_TEST(PollerTest, ATimedPollIsNeverEarly) {
  TypeParam& poller = this->poller_;
  for (const int64_t wait : {1, 50'000, 1'500'000, 3'000'001}) {
    sched::GList ready;
    const int64_t before = sched::NowNanos();
    poller.Poll(wait, ready);
    EXPECT_GE(sched::NowNanos() - before, wait);
  }
}

TYPED_TEST(PollerTest, AnEventOfAnEarlierLifeIsDropped) {
  TypeParam& poller = this->poller_;
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
  // The waiter counts before it has parked: the edge may find it on its way, and it takes it
  // itself.
  while (ready.empty() && !woken) poller.Poll(1'000'000, ready);
  if (!ready.empty()) sched::Ready(ready.PopFront());
  waiter.join();
  (*second)->Evict();
  poller.Close(*second);
}

TYPED_TEST(PollerTest, ThePeersEndMarksShortReadsAsUntrustworthy) {
  TypeParam& poller = this->poller_;
  Pair pair;
  absl::StatusOr<PollDesc*> desc = poller.Open(pair.fds[0]);
  ASSERT_TRUE(desc.ok());
  sched::GList ready;
  ASSERT_EQ(write(pair.fds[1], "x", 1), 1);
  poller.Poll(0, ready);
  // io_uring trusts none: DESIGN.md.
  EXPECT_EQ((*desc)->ShortReadMeansEmpty(), (std::is_same_v<TypeParam, EpollPoller>));
  ASSERT_EQ(shutdown(pair.fds[1], SHUT_WR), 0);
  poller.Poll(0, ready);
  EXPECT_FALSE((*desc)->ShortReadMeansEmpty());
  (*desc)->Evict();
  poller.Close(*desc);
}

TYPED_TEST(PollerTest, WhatCannotBePolledIsRefused) {
  TypeParam& poller = this->poller_;
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const absl::StatusOr<PollDesc*> desc = poller.Open(fd);
  ASSERT_FALSE(desc.ok());
  EXPECT_EQ(desc.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_NE(std::string(desc.status().message()).find(": EPERM"), std::string::npos)
      << desc.status();
  EXPECT_FALSE(poller.Open(-1).ok());
  close(fd);
}

TYPED_TEST(PollerTest, TheThreadThatOpenedMayEnd) {
  TypeParam& poller = this->poller_;
  Pair pair;
  PollDesc* desc = nullptr;
  std::thread([&] { desc = *poller.Open(pair.fds[0]); }).join();
  ExpectWakes(poller, desc, pair);
  desc->Evict();
  poller.Close(desc);
}

TYPED_TEST(PollerTest, AfterCloseThePollerDoesNotKeepTheConnectionAlive) {
  TypeParam& poller = this->poller_;
  for (int round = 0; round < 100; ++round) {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    absl::StatusOr<PollDesc*> desc = poller.Open(fds[0]);
    ASSERT_TRUE(desc.ok()) << desc.status();
    if (round % 2 == 0) {
      sched::GList ready;
      poller.Poll(0, ready);
    }
    (*desc)->Evict();
    poller.Close(*desc);
    close(fds[0]);
    pollfd end{fds[1], POLLIN, 0};
    ASSERT_EQ(poll(&end, 1, 20'000), 1) << "the peer hears of no end";
    char byte;
    EXPECT_EQ(read(fds[1], &byte, 1), 0);
    close(fds[1]);
  }
}

TYPED_TEST(PollerTest, MoreEdgesThanTheKernelHasRoomForAreNotLost) {
  TypeParam& poller = this->poller_;
  // Nobody asks meanwhile: io_uring's queue of 4,096 overflows.
  constexpr int kPairs = 200, kWrites = 30;
  std::vector<std::unique_ptr<Pair>> pairs;
  std::vector<PollDesc*> descs;
  for (int i = 0; i < kPairs; ++i) {
    pairs.push_back(std::make_unique<Pair>());
    descs.push_back(*poller.Open(pairs.back()->fds[0]));
  }
  for (int w = 0; w < kWrites; ++w) {
    for (const auto& pair : pairs) ASSERT_EQ(write(pair->fds[1], "x", 1), 1);
  }
  for (size_t i = 0; i < kPairs; ++i) {
    char bytes[kWrites];
    ASSERT_EQ(read(pairs[i]->fds[0], bytes, sizeof(bytes)), kWrites);
  }
  for (size_t i = 0; i < kPairs; ++i) {
    if (i % 10 == 0) ExpectWakes(poller, descs[i], *pairs[i]);
    descs[i]->Evict();
    poller.Close(descs[i]);
  }
}

TYPED_TEST(PollerTest, BeforeStartItSaysSo) {
  TypeParam fresh;
  EXPECT_EQ(fresh.Open(0).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace plimsoll::netpoll
