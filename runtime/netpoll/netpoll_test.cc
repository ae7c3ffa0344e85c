// Descriptors, goroutines and the scheduler together, on two Ps.
#include "plimsoll/runtime/netpoll/netpoll.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::netpoll {
namespace {

constexpr int64_t kMs = 1'000'000;

// Two ends of a stream, each with its PollDesc.
class Pair {
 public:
  Pair() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    for (int i : {0, 1}) {
      absl::StatusOr<PollDesc*> desc = Open(fds[i]);
      EXPECT_TRUE(desc.ok()) << desc.status();
      descs[i] = *desc;
    }
  }
  ~Pair() {
    for (int i : {0, 1}) {
      if (!evicted[i]) descs[i]->Evict();
      Close(descs[i]);
      close(fds[i]);
    }
  }

  // Reads one byte at end `i`, waiting as long as it takes.
  char ReadOne(int i) {
    char c = 0;
    while (read(fds[i], &c, 1) != 1) EXPECT_EQ(descs[i]->Wait(Mode::kRead), WaitResult::kReady);
    return c;
  }
  void WriteOne(int i, char c) { EXPECT_EQ(write(fds[i], &c, 1), 1); }

  // Until end `i` has no unused edge to read: the next Wait then parks.
  void UseUpEdges(int i) {
    descs[i]->SetDeadline(Mode::kRead, sched::NowNanos() + kMs);
    while (descs[i]->Wait(Mode::kRead) == WaitResult::kReady) {
    }
    descs[i]->SetDeadline(Mode::kRead, kNoDeadline);
  }

  int fds[2];
  PollDesc* descs[2];
  bool evicted[2] = {};
};

TEST(NetpollTest, AByteWakesTheGoroutineThatWaitsForIt) {
  Pair pair;
  Channel<char> got;
  Go([&] { got.Send(pair.ReadOne(0)); });
  while (PollDesc::Waiters() == 0) sched::Yield();
  pair.WriteOne(1, 'x');
  EXPECT_EQ(got.Recv(), 'x');
}

TEST(NetpollTest, AnEdgeThatCameBeforeTheWaitIsNotLost) {
  Pair pair;
  pair.UseUpEdges(0);
  pair.WriteOne(1, 'x');
  // Another wait makes some P look at the poller, so that the edge is there first.
  Pair other;
  Go([&] { other.WriteOne(1, 'y'); });
  other.ReadOne(0);
  EXPECT_EQ(pair.descs[0]->Wait(Mode::kRead), WaitResult::kReady);
}

TEST(NetpollTest, ManyPingPongsLoseNoWakeUp) {
  constexpr int kPairs = 50, kRounds = 300;
  std::vector<std::unique_ptr<Pair>> pairs;
  Channel<int> done(kPairs * 2);
  for (int i = 0; i < kPairs; ++i) {
    pairs.push_back(std::make_unique<Pair>());
    for (int end : {0, 1}) {
      Go([&, pair = pairs.back().get(), end] {
        for (int r = 0; r < kRounds; ++r) {
          if (end == 0) pair->WriteOne(0, 'a');
          EXPECT_EQ(pair->ReadOne(end), end == 0 ? 'b' : 'a');
          if (end == 1) pair->WriteOne(1, 'b');
        }
        done.Send(1);
      });
    }
  }
  for (int i = 0; i < kPairs * 2; ++i) done.Recv();
  EXPECT_EQ(PollDesc::Waiters(), 0);
}

TEST(NetpollTest, ADeadlineEndsTheWaitAndIsNeverEarly) {
  Pair pair;
  pair.UseUpEdges(0);
  for (const int64_t wait : {kMs / 2, 5 * kMs}) {
    const int64_t deadline = sched::NowNanos() + wait;
    pair.descs[0]->SetDeadline(Mode::kRead, deadline);
    EXPECT_EQ(pair.descs[0]->Wait(Mode::kRead), WaitResult::kTimedOut);
    EXPECT_GE(sched::NowNanos(), deadline);
    EXPECT_EQ(pair.descs[0]->Check(Mode::kRead), WaitResult::kTimedOut) << "it stays";
    EXPECT_EQ(pair.descs[0]->Check(Mode::kWrite), WaitResult::kReady) << "of reading alone";
  }
  // Put off, it is forgotten, and bytes are read again.
  pair.descs[0]->SetDeadline(Mode::kRead, kNoDeadline);
  pair.WriteOne(1, 'x');
  EXPECT_EQ(pair.ReadOne(0), 'x');
}

TEST(NetpollTest, ADeadlineThatHasPassedWakesAParkedGoroutineAtOnce) {
  Pair pair;
  pair.UseUpEdges(0);
  Channel<WaitResult> result;
  Go([&] { result.Send(pair.descs[0]->Wait(Mode::kRead)); });
  while (PollDesc::Waiters() == 0) sched::Yield();
  pair.descs[0]->SetDeadline(Mode::kRead, 1);
  EXPECT_EQ(result.Recv(), WaitResult::kTimedOut);
}

TEST(NetpollTest, ADeadlineMovedWhileAGoroutineWaitsIsHeeded) {
  Pair pair;
  pair.UseUpEdges(0);
  const struct {
    const char* what;
    int64_t first, then;
  } kCases[] = {
      {"sooner", 3'600'000 * kMs, 2 * kMs},
      {"later", 2 * kMs, 8 * kMs},
      {"never, then soon", kNoDeadline - (int64_t{1} << 62), 2 * kMs},
  };
  for (const auto& c : kCases) {
    // No SCOPED_TRACE on a goroutine that parks: GoogleTest keeps it by thread.
    pair.descs[0]->SetDeadline(Mode::kRead, sched::NowNanos() + c.first);
    Channel<WaitResult> result;
    Go([&] { result.Send(pair.descs[0]->Wait(Mode::kRead)); });
    while (PollDesc::Waiters() == 0) sched::Yield();
    const int64_t deadline = sched::NowNanos() + c.then;
    pair.descs[0]->SetDeadline(Mode::kRead, deadline);
    EXPECT_EQ(result.Recv(), WaitResult::kTimedOut) << c.what;
    if (c.then > c.first) {
      // It may have expired before it was moved; then it was told so rightly.
      continue;
    }
    EXPECT_GE(sched::NowNanos(), deadline);
    pair.descs[0]->SetDeadline(Mode::kRead, kNoDeadline);
  }
}

TEST(NetpollTest, ADeadlinePutOffAgainAndAgainDoesNotEndTheWait) {
  Pair pair;
  pair.UseUpEdges(0);
  Channel<char> got;
  pair.descs[0]->SetDeadline(Mode::kRead, sched::NowNanos() + 500 * kMs);
  Go([&] { got.Send(pair.ReadOne(0)); });
  for (int i = 0; i < 10000; ++i) {
    pair.descs[0]->SetDeadline(Mode::kRead, sched::NowNanos() + 500 * kMs);
    if (i % 100 == 0) sched::Yield();
  }
  pair.WriteOne(1, 'x');
  EXPECT_EQ(got.Recv(), 'x');
}

TEST(NetpollTest, DeadlinesSetFromTwoGoroutinesAtOnceEndInOneOfThem) {
  Pair pair;
  pair.UseUpEdges(0);
  for (int round = 0; round < 50; ++round) {
    Channel<bool> done(2);
    for (int side : {0, 1}) {
      Go([&, side] {
        for (int i = 0; i < 20; ++i) {
          pair.descs[0]->SetDeadline(Mode::kRead,
                                     sched::NowNanos() + (side == 0 ? kMs / 5 : kMs / 3));
          sched::Yield();
        }
        done.Send(true);
      });
    }
    done.Recv();
    done.Recv();
    // Whatever the order: a deadline is in force, and the timer agrees with it.
    EXPECT_EQ(pair.descs[0]->Wait(Mode::kRead), WaitResult::kTimedOut);
  }
}

TEST(NetpollTest, EvictWakesReaderAndWriterForGood) {
  Pair pair;
  pair.UseUpEdges(0);
  char full[4096] = {};
  Channel<WaitResult> results(2);
  Go([&] { results.Send(pair.descs[0]->Wait(Mode::kRead)); });
  Go([&] {
    WaitResult r = WaitResult::kReady;
    while (r == WaitResult::kReady) {
      while (write(pair.fds[0], full, sizeof(full)) > 0) {
      }
      r = pair.descs[0]->Wait(Mode::kWrite);
    }
    results.Send(r);
  });
  while (PollDesc::Waiters() < 2) sched::Yield();
  pair.descs[0]->Evict();
  pair.evicted[0] = true;
  EXPECT_EQ(results.Recv(), WaitResult::kClosed);
  EXPECT_EQ(results.Recv(), WaitResult::kClosed);
  EXPECT_EQ(pair.descs[0]->Wait(Mode::kRead), WaitResult::kClosed);
  pair.descs[0]->SetDeadline(Mode::kRead, sched::NowNanos() + kMs);
  EXPECT_EQ(pair.descs[0]->Wait(Mode::kRead), WaitResult::kClosed) << "no deadline undoes it";
}

TEST(NetpollTest, EvictAndAnEdgeAndADeadlineMayRace) {
  for (int round = 0; round < 300; ++round) {
    Pair pair;
    Channel<bool> done(3);
    Go([&] {
      WaitResult r;
      do {
        r = pair.descs[0]->Wait(Mode::kRead);
      } while (r == WaitResult::kReady);
      done.Send(true);
    });
    Go([&] {
      pair.WriteOne(1, 'x');
      pair.descs[0]->SetDeadline(Mode::kRead, sched::NowNanos() + round % 7 * 10'000);
      done.Send(true);
    });
    Go([&] {
      pair.descs[0]->Evict();
      pair.evicted[0] = true;
      done.Send(true);
    });
    for (int i = 0; i < 3; ++i) done.Recv();
  }
  EXPECT_EQ(PollDesc::Waiters(), 0);
}

}  // namespace
}  // namespace plimsoll::netpoll
