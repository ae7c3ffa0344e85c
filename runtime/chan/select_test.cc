#include "plimsoll/runtime/chan/select.h"

#include <atomic>
#include <cmath>
#include <list>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_peek.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll {
namespace {

using internal::ChannelPeek;

TEST(SelectTest, TakesTheOneCaseThatIsReadyAndReturnsItsIndex) {
  Channel<int> a(1);
  Channel<std::string> b(1);
  b.Send("from b");
  std::optional<std::string> got;
  EXPECT_EQ(Select(OnRecv(a), OnRecv(b, [&](std::optional<std::string> v) { got = v; })), 1);
  EXPECT_EQ(got, "from b");
  EXPECT_EQ(Select(OnSend(a, 5), OnRecv(b)), 0);
  EXPECT_EQ(a.Recv(), 5);
}

TEST(SelectTest, TakesDefaultOnlyWhenNoneIsReady) {
  Channel<int> ch(1);
  Channel<int> nil = nullptr;
  EXPECT_EQ(Select(OnRecv(ch), OnSend(nil, 1), OnRecv(nil), Default()), 3);
  ch.Send(1);
  EXPECT_EQ(Select(OnSend(ch, 2), OnRecv(nil), Default()), 2);
  EXPECT_EQ(Select(Default(), OnRecv(ch)), 1);
  bool ran = false;
  EXPECT_EQ(Select(Default([&] { ran = true; })), 0);
  EXPECT_TRUE(ran);
}

TEST(SelectTest, ParksUntilASenderComesAndLeavesNothingQueued) {
  Channel<int> a;
  Channel<int> b;
  Channel<int> c;
  Go([=] {
    ChannelPeek::AwaitReceivers(b, 1);
    b.Send(7);
  });
  int got = 0;
  EXPECT_EQ(Select(OnRecv(a), OnRecv(b, [&](std::optional<int> v) { got = *v; }), OnSend(c, 1)), 1);
  EXPECT_EQ(got, 7);
  EXPECT_EQ(ChannelPeek::Receivers(a), 0u);
  EXPECT_EQ(ChannelPeek::Receivers(b), 0u);
  EXPECT_EQ(ChannelPeek::Senders(c), 0u);
}

TEST(SelectTest, ParksUntilAReceiverComes) {
  Channel<std::list<int>> a;
  Channel<int> b;
  Channel<size_t> size(1);
  Go([=] {
    ChannelPeek::AwaitSenders(a, 1);
    size.Send(a.Recv()->size());
  });
  bool sent = false;
  EXPECT_EQ(Select(OnSend(a, std::list<int>{1, 2, 3}, [&] { sent = true; }), OnRecv(b)), 0);
  EXPECT_TRUE(sent);
  EXPECT_EQ(size.Recv(), 3u);
}

TEST(SelectTest, ACloseWakesAParkedReceiveWithTheEnd) {
  Channel<int> a;
  Channel<int> b;
  Go([=] {
    ChannelPeek::AwaitReceivers(a, 1);
    a.Close();
  });
  bool ended = false;
  EXPECT_EQ(Select(OnRecv(b), OnRecv(a, [&](std::optional<int> v) { ended = !v; })), 1);
  EXPECT_TRUE(ended);
}

TEST(SelectTest, ACloseMakesAParkedSendPanicWithTheCallersLine) {
  Channel<int> a;
  Channel<int> b;
  Go([=] {
    ChannelPeek::AwaitSenders(a, 1);
    a.Close();
  });
  unsigned line = 0;
  try {
    line = __LINE__ + 1;
    Select(OnSend(a, 1), OnRecv(b));
    FAIL() << "no panic";
  } catch (const Panic& panic) {
    EXPECT_STREQ(panic.what(), "send on closed channel");
    EXPECT_EQ(panic.where().line(), line);
  }
  EXPECT_EQ(ChannelPeek::Receivers(b), 0u);
}

TEST(SelectTest, ASendToAClosedChannelPanicsDespiteDefault) {
  Channel<int> closed;
  closed.Close();
  EXPECT_THROW(Select(OnSend(closed, 1), Default()), Panic);
}

TEST(SelectTest, AReceiveFromAClosedChannelIsAlwaysReady) {
  Channel<int> closed;
  closed.Close();
  EXPECT_EQ(Select(OnRecv(closed), Default()), 0);
}

TEST(SelectTest, OfTwoReadyCasesEachIsTakenHalfTheTime) {
  // 4.89 standard deviations: one run in a million is refused.
  constexpr int kTrials = 10'000;
  Channel<int> a(1);
  Channel<int> b(1);
  a.Close();
  b.Close();
  int first = 0;
  for (int i = 0; i < kTrials; ++i) first += Select(OnRecv(a), OnRecv(b)) == 0;
  EXPECT_LE(std::abs(first / double{kTrials} - 0.5), 4.89 / (2 * std::sqrt(kTrials))) << first;
}

TEST(SelectTest, OfManyReadyCasesEachIsTakenAsOften) {
  constexpr int kCases = 8;
  constexpr int kTrials = 16'000;
  std::vector<Case> cases;
  for (int i = 0; i < kCases; ++i) {
    Channel<int> closed;
    closed.Close();
    cases.push_back(OnRecv(closed));
  }
  cases.push_back(OnRecv(Channel<int>(nullptr)));
  int taken[kCases + 1] = {};
  for (int i = 0; i < kTrials; ++i) ++taken[Select(cases)];
  const double sigma = std::sqrt(kTrials * (1.0 / kCases) * (1 - 1.0 / kCases));
  for (int i = 0; i < kCases; ++i) EXPECT_LE(std::abs(taken[i] - kTrials / kCases), 5 * sigma) << i;
  EXPECT_EQ(taken[kCases], 0);
}

TEST(SelectTest, EachExpressionIsEvaluatedOnceAndInOrderWithinBraces) {
  std::string order;
  Channel<int> a(1);
  Channel<int> b(1);
  const auto mark = [&](const char* what, auto value) {
    order += what;
    return value;
  };
  Select(InOrder{OnRecv(mark("a", a)), OnSend(mark("b", b), mark("1", 1)),
                 OnSend(mark("c", Channel<int>(nullptr)), mark("2", 2))});
  // Within one OnSend the two arguments come in either order; the cases do not.
  EXPECT_TRUE(order == "ab1c2" || order == "a1b2c") << order;
}

TEST(SelectTest, TheSameChannelMayAppearTwice) {
  Channel<int> a(1);
  a.Send(1);
  int got = 0;
  const auto take = [&](std::optional<int> v) { got = *v; };
  EXPECT_LE(Select(OnRecv(a, take), OnRecv(a, take)), 1);
  EXPECT_EQ(got, 1);
  Channel<int> b;
  Go([=] {
    ChannelPeek::AwaitReceivers(b, 2);
    b.Send(2);
  });
  Select(OnRecv(b, take), OnRecv(b, take), OnRecv(a));
  EXPECT_EQ(got, 2);
  EXPECT_EQ(ChannelPeek::Receivers(b), 0u);
}

TEST(SelectTest, ASelectDoesNotMeetItself) {
  Channel<int> ch;
  EXPECT_EQ(Select(OnRecv(ch), OnSend(ch, 1), Timeout(absl::Milliseconds(1))), 2);
  EXPECT_EQ(ChannelPeek::Receivers(ch), 0u);
  EXPECT_EQ(ChannelPeek::Senders(ch), 0u);
}

TEST(SelectTest, TheShortestTimeoutEndsTheWait) {
  Channel<int> never;
  bool timed_out = false;
  EXPECT_EQ(Select(OnRecv(never), Timeout(absl::Hours(1)),
                   Timeout(absl::Milliseconds(1), [&] { timed_out = true; })),
            2);
  EXPECT_TRUE(timed_out);
  EXPECT_EQ(ChannelPeek::Receivers(never), 0u);
  EXPECT_EQ(Select(Timeout(absl::ZeroDuration()), OnRecv(never)), 0);
}

TEST(SelectTest, AReadyCaseComesBeforeATimeoutOfZero) {
  Channel<int> ready(1);
  ready.Send(1);
  EXPECT_EQ(Select(Timeout(absl::ZeroDuration()), OnRecv(ready)), 1);
}

TEST(SelectTest, ACaseMayBeSelectedAgainWithItsValue) {
  Channel<std::list<int>> ch(1);
  auto send = OnSend(ch, std::list<int>{1, 2});
  ch.Send({});
  EXPECT_EQ(Select(send, Default()), 1);  // full: the value is kept
  (void)ch.Recv();
  EXPECT_EQ(Select(send, Default()), 0);
  EXPECT_EQ(ch.Recv()->size(), 2u);
  send.Refill({7});
  EXPECT_EQ(Select(send, Default()), 0);
  EXPECT_EQ(ch.Recv()->front(), 7);
}

TEST(SelectTest, AListMadeAtRunTimeMayHaveAnyNumberOfCases) {
  for (int n : {1, 2, 8, 9, 100}) {
    std::vector<Channel<int>> channels(static_cast<size_t>(n));
    std::vector<Case> cases;
    int got = -1;
    for (auto& ch : channels) cases.push_back(OnRecv(ch, [&](std::optional<int> v) { got = *v; }));
    Go([ch = channels.back()] { ch.Send(42); });
    EXPECT_EQ(Select(cases), n - 1);
    EXPECT_EQ(got, 42);
    cases.push_back(Default());
    EXPECT_EQ(Select(cases), n);
  }
}

TEST(SelectTest, TwoSelectsOnSwappedChannelsDoNotDeadlock) {
  constexpr int kRounds = 5000;
  Channel<int> a;
  Channel<int> b;
  Channel<int> stop;
  Channel<bool> reached(4);
  Channel<int64_t> balances(4);
  // Each sends on either and receives on either, with the two named in opposite order. It goes on
  // after its rounds, as partner of those who have not had theirs.
  const auto worker = [=](Channel<int> x, Channel<int> y) {
    int64_t balance = 0;
    bool go_on = true;
    for (int i = 0; go_on; ++i) {
      const auto take = [&](std::optional<int> v) { balance -= *v; };
      Select(OnSend(x, 1, [&] { ++balance; }), OnSend(y, 1, [&] { ++balance; }), OnRecv(x, take),
             OnRecv(y, take), OnRecv(stop, [&] { go_on = false; }));
      if (i == kRounds) reached.Send(true);
    }
    balances.Send(balance);
  };
  for (int i = 0; i < 2; ++i) {
    Go([=] { worker(a, b); });
    Go([=] { worker(b, a); });
  }
  for (int i = 0; i < 4; ++i) EXPECT_EQ(reached.Recv(), true);
  stop.Close();
  int64_t total = 0;
  for (int i = 0; i < 4; ++i) total += *balances.Recv();
  EXPECT_EQ(total, 0);  // as many were received as sent
}

TEST(SelectTest, WorksFromAThreadOfOnesOwn) {
  Channel<int> to_thread;
  Channel<int> from_thread;
  Channel<int> stop;
  std::thread thread([=] {
    for (bool go_on = true; go_on;) {
      Select(OnRecv(to_thread, [&](std::optional<int> v) { from_thread.Send(*v * 2); }),
             OnRecv(stop, [&] { go_on = false; }));
    }
  });
  for (int i = 0; i < 200; ++i) {
    to_thread.Send(i);
    ASSERT_EQ(from_thread.Recv(), 2 * i);
  }
  stop.Close();
  thread.join();
}

TEST(SelectTest, AListOfAThousandLocksEachChannelOnceInOneOrder) {
  // Two goroutines select over the same channels in opposite orders, each channel twice: were the
  // locks taken in the order of the list, or one of them twice, they would stop each other for
  // good.
  constexpr int kChannels = 500;
  std::vector<Channel<int>> channels;
  for (int i = 0; i < kChannels; ++i) channels.emplace_back(0);
  std::atomic<int> got{0};
  Channel<bool> done(2);
  for (const bool forwards : {true, false}) {
    Go([&, forwards] {
      for (int n = 0; n < 50; ++n) {
        std::vector<Case> cases;
        for (int twice = 0; twice < 2; ++twice) {
          for (int i = 0; i < kChannels; ++i) {
            const auto& c = channels[static_cast<size_t>(forwards ? i : kChannels - 1 - i)];
            cases.emplace_back(OnRecv(c, [&](std::optional<int> v) { got.fetch_add(*v); }));
          }
        }
        Select(cases);
      }
      done.Send(true);
    });
  }
  for (int n = 0; n < 100; ++n) channels[static_cast<size_t>(n * 37 % kChannels)].Send(1);
  done.Recv();
  done.Recv();
  EXPECT_EQ(got.load(), 100);
}

// Throws when it is moved out of, once it is told to.
struct ThrowsWhenMoved {
  std::string text;
  bool* now;
  ThrowsWhenMoved(std::string t, bool* n) : text(std::move(t)), now(n) {}
  ThrowsWhenMoved(ThrowsWhenMoved&& other) : text(), now(other.now) {
    if (*now) throw std::runtime_error("a move");
    text = std::move(other.text);
  }
  ThrowsWhenMoved& operator=(ThrowsWhenMoved&& other) {
    text = std::move(other.text);
    now = other.now;
    return *this;
  }
};

TEST(SelectTest, WhereAValuesMoveThrowsTheCasesBeforeItKeepTheirs) {
  bool now = false;
  Channel<std::string> strings(1);
  Channel<ThrowsWhenMoved> throwing(1);
  auto first = OnSend(strings, std::string(100, 'x'));
  auto second = OnSend(throwing, ThrowsWhenMoved("y", &now));
  now = true;
  EXPECT_THROW(Select(first, second), std::runtime_error);
  now = false;
  EXPECT_EQ(Select(first, Default()), 0);
  EXPECT_EQ(strings.Recv(), std::string(100, 'x'));

  std::vector<Case> cases;
  cases.emplace_back(OnSend(strings, std::string(100, 'z')));
  cases.emplace_back(OnSend(throwing, ThrowsWhenMoved("y", &now)));
  now = true;
  EXPECT_THROW(Select(cases), std::runtime_error);
  now = false;
  EXPECT_EQ(Select(std::span(cases).first(1)), 0);
  EXPECT_EQ(strings.Recv(), std::string(100, 'z'));
}

}  // namespace
}  // namespace plimsoll
