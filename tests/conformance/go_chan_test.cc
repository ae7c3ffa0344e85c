// What Go's test/chan programs and runtime/chan_test.go assert of channels and select, in tests of
// our own. go_tests.md tells which of theirs is which of ours.

#include <array>
#include <atomic>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/channel_peek.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

using internal::ChannelPeek;

// What a handle lets one write (perm.go's compile errors).
template <typename H>
concept CanSend = requires(H h, int v) { h.Send(v); };
template <typename H>
concept CanRecv = requires(H h) { h.Recv(); };
template <typename H>
concept CanClose = requires(H h) { h.Close(); };

TEST(GoChanTest, AHandleToOneEndHasNothingOfTheOther) {
  static_assert(CanSend<Channel<int>> && CanRecv<Channel<int>> && CanClose<Channel<int>>);
  static_assert(CanSend<SendChannel<int>> && CanClose<SendChannel<int>>);
  static_assert(!CanRecv<SendChannel<int>>);
  static_assert(CanRecv<RecvChannel<int>>);
  static_assert(!CanSend<RecvChannel<int>> && !CanClose<RecvChannel<int>>);
  static_assert(!std::convertible_to<RecvChannel<int>, SendChannel<int>>);
  static_assert(!std::convertible_to<SendChannel<int>, RecvChannel<int>>);
  static_assert(!std::convertible_to<RecvChannel<int>, Channel<int>>);
  static_assert(!std::convertible_to<SendChannel<int>, Channel<int>>);
  static_assert(!std::convertible_to<Channel<int>, Channel<long>>);
  const Channel<int> both(1);
  const SendChannel<int> in = both;
  const RecvChannel<int> out = both;
  in.Send(4);
  EXPECT_EQ(out.Recv(), 4);
}

// fifo.go, both halves.
TEST(GoChanTest, ABufferedChannelIsFirstInFirstOut) {
  constexpr int kN = 10;
  const Channel<int> ch(kN);
  for (int i = 0; i < kN; ++i) ch.Send(i);
  for (int i = 0; i < kN; ++i) EXPECT_EQ(ch.Recv(), i);
}

TEST(GoChanTest, AnUnbufferedChannelServesItsReceiversInTheOrderOfAChain) {
  constexpr int kN = 10;
  const Channel<int> ch;
  const Channel<int> out(kN);
  Channel<int> before;
  const Channel<int> start = before;
  for (int i = 0; i < kN; ++i) {
    const Channel<int> after;
    Go([=] {
      (void)before.Recv();
      out.Send(*ch.Recv());
      after.Send(1);
    });
    before = after;
  }
  start.Send(0);
  for (int i = 0; i < kN; ++i) {
    ch.Send(i);
    EXPECT_EQ(out.Recv(), i);
  }
  EXPECT_EQ(before.Recv(), 1);
}

// goroutines.go.
TEST(GoChanTest, AChainOfTenThousandGoroutinesAddsUp) {
#if defined(__SANITIZE_THREAD__)
  constexpr int kN = 500;  // TSan holds 8,128 threads or fibers, and slows with their number
#else
  constexpr int kN = 10'000;
#endif
  const Channel<int> leftmost;
  Channel<int> left = leftmost;
  for (int i = 0; i < kN; ++i) {
    const Channel<int> right;
    Go([=] { left.Send(*right.Recv() + 1); });
    left = right;
  }
  Go([left] { left.Send(0); });
  EXPECT_EQ(leftmost.Recv(), kN);
}

// doubleselect.go: one select must not send on two of its channels.
TEST(GoChanTest, ASelectOfFourSendsNeverSendsTwice) {
  constexpr int kN = 20'000;
  const std::array<Channel<int>, 4> c;
  const Channel<int> done;
  Go([=] {
    for (int i = 0; i < kN; ++i) {
      Select(OnSend(c[0], i), OnSend(c[1], i), OnSend(c[2], i), OnSend(c[3], i));
    }
    for (const Channel<int>& ch : c) ch.Close();
  });
  const Channel<int> merged;
  for (const Channel<int>& ch : c) {
    Go([=] {
      for (int v : ch) merged.Send(v);
      done.Send(1);
    });
  }
  Go([=] {
    for (int i = 0; i < 4; ++i) (void)done.Recv();
    merged.Close();
  });
  std::vector<bool> seen(kN);
  int count = 0;
  for (int v : merged) {
    ASSERT_FALSE(seen[static_cast<size_t>(v)]) << v << " came twice";
    seen[static_cast<size_t>(v)] = true;
    ++count;
  }
  EXPECT_EQ(count, kN);
}

struct Big {
  std::array<int64_t, 12> a;
  bool operator==(const Big&) const = default;
};

// nonblock.go, over several types and with and without a buffer.
template <typename T>
void NonBlocking(const T& value, size_t capacity) {
  const Channel<T> ch(capacity);
  EXPECT_EQ(ch.TryRecv().status, RecvStatus::kEmpty);
  EXPECT_EQ(Select(OnRecv(ch), Default()), 1);
  if (capacity == 0) {
    T v = value;
    EXPECT_FALSE(ch.TrySend(v)) << "nobody receives";
    EXPECT_EQ(Select(OnSend(ch, value), Default()), 1);
    // A receiver that waits makes a send go; a sender that waits makes a receive go.
    const Channel<T> got(1);
    Go([=] { got.Send(*ch.Recv()); });
    ChannelPeek::AwaitReceivers(ch, 1);
    EXPECT_TRUE(ch.TrySend(v));
    EXPECT_EQ(got.Recv(), value);
    Go([=] { ch.Send(value); });
    ChannelPeek::AwaitSenders(ch, 1);
  } else {
    T v = value;
    EXPECT_TRUE(ch.TrySend(v));
    v = value;
    EXPECT_FALSE(ch.TrySend(v)) << "full";
    EXPECT_EQ(v, value) << "a refused value stays";
  }
  TryRecvResult<T> r = ch.TryRecv();
  EXPECT_EQ(r.status, RecvStatus::kValue);
  EXPECT_EQ(r.value, value);
  EXPECT_EQ(ch.TryRecv().status, RecvStatus::kEmpty);
}

TEST(GoChanTest, NonBlockingOperationsTellWhetherTheyWent) {
  for (const size_t capacity : {0u, 1u}) {
    NonBlocking<int32_t>(123, capacity);
    NonBlocking<bool>(true, capacity);
    NonBlocking<int64_t>(9876543210, capacity);
    NonBlocking<std::string>("hello, a string longer than its own buffer", capacity);
    NonBlocking<Big>(Big{{1, 2, 3}}, capacity);
  }
}

// select.go: cases turned off by nil, values shifted out of two counters.
TEST(GoChanTest, ASelectWithNilChannelsTakesTheOthersOnly) {
  uint32_t counter = 0;
  uint32_t shift = 0;
  const auto value = [&] { return 1u << shift++; };
  const auto send = [&](Channel<uint32_t> a, Channel<uint32_t> b) {
    for (int i = 0; a != nullptr || b != nullptr; ++i) {
      const uint32_t v = value();
      Select(OnSend(a, v, [&] { a = nullptr; }), OnSend(b, v, [&] { b = nullptr; }));
      counter += 1;
      ASSERT_LT(i, 2) << "a nil case was taken";
    }
  };
  const Channel<uint32_t> a(1), b(1);
  send(a, b);
  EXPECT_EQ(*a.Recv() | *b.Recv(), 3u);
  send(a, nullptr);
  EXPECT_EQ(a.Recv(), 4u);
  send(b, nullptr);
  EXPECT_EQ(b.Recv(), 8u);
  EXPECT_EQ(counter, 4u);
}

// select3.go: what blocks and what does not, row by row.
TEST(GoChanTest, EveryKindOfChannelBlocksOrNotAsGosDoes) {
  const Channel<int> nil(nullptr);
  const auto would_block = [](auto&& op) { return Select(std::move(op), Default()) == 1; };
  EXPECT_TRUE(would_block(OnSend(nil, 7)));
  EXPECT_TRUE(would_block(OnRecv(nil)));

  const Channel<int> closed;
  closed.Close();
  EXPECT_FALSE(would_block(OnRecv(closed)));
  EXPECT_THROW(would_block(OnSend(closed, 7)), Panic);

  const Channel<int> unbuffered;
  EXPECT_TRUE(would_block(OnRecv(unbuffered)));
  EXPECT_TRUE(would_block(OnSend(unbuffered, 7)));

  const Channel<int> buffered(10);
  EXPECT_TRUE(would_block(OnRecv(buffered)));
  EXPECT_FALSE(would_block(OnSend(buffered, 7)));
  for (int i = 1; i < 10; ++i) buffered.Send(i);
  EXPECT_TRUE(would_block(OnSend(buffered, 7)));
  EXPECT_FALSE(would_block(OnRecv(buffered)));
  buffered.Close();
  for (int i = 1; i < 10; ++i) EXPECT_EQ(buffered.Recv(), i) << "closed, not drained";
  EXPECT_FALSE(would_block(OnRecv(buffered)));
  EXPECT_EQ(buffered.Recv(), std::nullopt);
}

// select4.go: only the case that is taken has its effect.
TEST(GoChanTest, OnlyTheHandlerOfTheCaseTakenRuns) {
  const Channel<int> full(1);
  full.Send(42);
  const Channel<int> nil(nullptr);
  int got = 0;
  bool other = false;
  Select(OnRecv(full, [&](std::optional<int> v) { got = *v; }), OnRecv(nil, [&] { other = true; }));
  EXPECT_EQ(got, 42);
  EXPECT_FALSE(other);
}

// select5.go: every channel and value expression once, from left to right, whatever is chosen.
TEST(GoChanTest, ExpressionsAreEvaluatedOnceInOrderWhicheverCaseIsReady) {
  for (int ready = 0; ready < 3; ++ready) {
    std::string trace;
    const std::array<Channel<int>, 3> ch{Channel<int>(1), Channel<int>(1), Channel<int>(1)};
    for (int i = 0; i < 3; ++i) {
      // 0 and 2 are sends: full unless ready. 1 is a receive: empty unless ready.
      if ((i == 1) == (ready == i)) ch[static_cast<size_t>(i)].Send(0);
    }
    const auto channel = [&](size_t i) {
      trace += static_cast<char>('a' + i);
      return ch[i];
    };
    const auto value = [&](int v) {
      trace += static_cast<char>('0' + v);
      return v;
    };
    // The two arguments of one OnSend are a call's: the compiler orders those.
    const int taken = Select(
        InOrder{OnSend(channel(0), value(0)), OnRecv(channel(1)), OnSend(channel(2), value(2))});
    EXPECT_EQ(taken, ready);
    EXPECT_TRUE(trace == "a0bc2" || trace == "0abc2" || trace == "a0b2c" || trace == "0ab2c")
        << trace;
  }
}

// select6.go: a select that lost takes itself out of the middle of a queue.
TEST(GoChanTest, ASelectThatLostLeavesTheOthersInTheQueue) {
  const Channel<bool> c1, c2, c3;
  Go([=] { (void)c1.Recv(); });
  ChannelPeek::AwaitReceivers(c1, 1);
  Go([=] {
    if (Select(OnRecv(c1), OnRecv(c2)) == 1) {
      c3.Send(true);
      (void)c1.Recv();
    }
  });
  ChannelPeek::AwaitReceivers(c1, 2);
  Go([=] { c2.Send(true); });
  EXPECT_EQ(c3.Recv(), true);
  c1.Send(true);
  c1.Send(true);  // Go's bug left this one waiting for ever
}

// select7.go: each way to receive meets each way to send.
TEST(GoChanTest, EveryWayToReceiveMeetsEveryWayToSend) {
  using Recv = std::optional<int> (*)(const Channel<int>&);
  using Send = void (*)(const Channel<int>&, int);
  const Recv receives[] = {
      [](const Channel<int>& c) { return c.Recv(); },
      [](const Channel<int>& c) {
        std::optional<int> got;
        Select(OnRecv(c, [&](std::optional<int> v) { got = v; }));
        return got;
      },
      [](const Channel<int>& c) {
        const Channel<int> never;
        std::optional<int> got;
        Select(OnRecv(never), OnRecv(c, [&](std::optional<int> v) { got = v; }));
        return got;
      },
      [](const Channel<int>& c) { return c.TryRecvFor(absl::InfiniteDuration()).value; },
      [](const Channel<int>& c) {
        std::optional<int> got;
        std::vector<Case> cases;
        cases.emplace_back(OnRecv(c, [&](std::optional<int> v) { got = v; }));
        Select(cases);
        return got;
      },
  };
  const Send sends[] = {
      [](const Channel<int>& c, int v) { c.Send(v); },
      [](const Channel<int>& c, int v) { Select(OnSend(c, v)); },
      [](const Channel<int>& c, int v) {
        const Channel<int> never;
        Select(OnSend(never, 0), OnSend(c, v));
      },
      [](const Channel<int>& c, int v) { EXPECT_TRUE(c.TrySendFor(v, absl::InfiniteDuration())); },
  };
  for (const Recv recv : receives) {
    for (const Send send : sends) {
      for (const bool receiver_first : {true, false}) {
        const Channel<int> ch;
        const Channel<std::optional<int>> got(1);
        if (receiver_first) {
          Go([=] { got.Send(recv(ch)); });
          ChannelPeek::AwaitReceivers(ch, 1);
          send(ch, 8);
          EXPECT_EQ(*got.Recv(), 8);
        } else {
          Go([=] { send(ch, 8); });
          ChannelPeek::AwaitSenders(ch, 1);
          EXPECT_EQ(recv(ch), 8);
        }
      }
    }
  }
}

// sieve1.go and sieve2.go.
TEST(GoChanTest, AChainOfFiltersFindsThePrimes) {
  const Channel<int> primes;
  Go([primes] {
    Channel<int> ch;
    Go([ch] {
      for (int i = 2;; ++i) ch.Send(i);
    });
    for (;;) {
      const int prime = *ch.Recv();
      primes.Send(prime);
      const Channel<int> out;
      Go([in = ch, out, prime] {
        for (;;) {
          const int i = *in.Recv();
          if (i % prime != 0) out.Send(i);
        }
      });
      ch = out;
    }
  });
  const int expected[] = {2,  3,  5,  7,  11, 13, 17, 19, 23, 29,
                          31, 37, 41, 43, 47, 53, 59, 61, 67, 71};
  for (const int prime : expected) EXPECT_EQ(primes.Recv(), prime);
}

// powser1.go asks of channels that a reader's demand pulls values through a graph: the sum of two
// series, term by term, with a splitter between.
TEST(GoChanTest, DemandPullsValuesThroughAGraph) {
  const auto series = [](auto term) {
    const Channel<int64_t> out;
    Go([=] {
      for (int64_t i = 0;; ++i) out.Send(term(i));
    });
    return out;
  };
  const Channel<int64_t> ones = series([](int64_t) { return 1; });
  const Channel<int64_t> squares = series([](int64_t i) { return i * i; });
  const Channel<int64_t> sum, left, right;
  Go([=] {
    for (;;) sum.Send(*ones.Recv() + *squares.Recv());
  });
  Go([=] {  // the splitter: whoever asks first, both get every term
    for (;;) {
      const int64_t v = *sum.Recv();
      if (Select(OnSend(left, v), OnSend(right, v)) == 0) {
        right.Send(v);
      } else {
        left.Send(v);
      }
    }
  });
  for (int64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(left.Recv(), 1 + i * i);
    EXPECT_EQ(right.Recv(), 1 + i * i);
  }
}

// chan_test.go: TestChan, at every capacity of a few.
TEST(GoChanTest, TheSameHoldsAtEveryCapacity) {
  for (const size_t capacity : {0u, 1u, 2u, 7u, 100u, 200u}) {
    {
      // A receive from an empty channel waits, each kind of it.
      const Channel<int> ch(capacity);
      std::atomic<int> received{0};
      WaitGroup wg;
      wg.Go([&] {
        (void)ch.Recv();
        ++received;
      });
      wg.Go([&] {
        Select(OnRecv(ch));
        ++received;
      });
      ChannelPeek::AwaitReceivers(ch, 2);
      EXPECT_EQ(received.load(), 0);
      EXPECT_EQ(ch.Len(), 0u);
      ch.Send(0);
      ch.Send(0);
      wg.Wait();
    }
    {
      // A send to a full channel waits, and Len tells what is in the buffer.
      const Channel<int> ch(capacity);
      for (size_t i = 0; i < capacity; ++i) {
        EXPECT_EQ(ch.Len(), i);
        ch.Send(static_cast<int>(i));
      }
      EXPECT_EQ(ch.Cap(), capacity);
      std::atomic<bool> sent{false};
      WaitGroup wg;
      wg.Go([&] {
        ch.Send(static_cast<int>(capacity));
        sent = true;
      });
      ChannelPeek::AwaitSenders(ch, 1);
      EXPECT_FALSE(sent.load());
      for (size_t i = 0; i <= capacity; ++i) EXPECT_EQ(ch.Recv(), static_cast<int>(i));
      wg.Wait();
    }
    {
      // A close ends it for all, after what was sent.
      const Channel<int> ch(capacity);
      for (size_t i = 0; i < capacity; ++i) ch.Send(static_cast<int>(i));
      ch.Close();
      for (size_t i = 0; i < capacity; ++i) EXPECT_EQ(ch.Recv(), static_cast<int>(i));
      EXPECT_EQ(ch.Recv(), std::nullopt);
      EXPECT_EQ(ch.TryRecv().status, RecvStatus::kClosed);
    }
    {
      // One sender, one receiver: in order.
      const Channel<int> ch(capacity);
      Go([=] {
        for (int i = 0; i < 100; ++i) ch.Send(i);
      });
      for (int i = 0; i < 100; ++i) ASSERT_EQ(ch.Recv(), i);
    }
    {
      // Four of each: every value as often as it was sent.
      constexpr int kSenders = 4;
      constexpr int kEach = 1000;
      const Channel<int> ch(capacity);
      const Channel<std::vector<int>> results;
      for (int p = 0; p < kSenders; ++p) {
        Go([=] {
          for (int i = 0; i < kEach; ++i) ch.Send(i);
        });
        Go([=] {
          std::vector<int> times(kEach);
          for (int i = 0; i < kEach; ++i) ++times[static_cast<size_t>(*ch.Recv())];
          results.Send(std::move(times));
        });
      }
      std::vector<int> times(kEach);
      for (int p = 0; p < kSenders; ++p) {
        const std::vector<int> part = *results.Recv();
        for (size_t i = 0; i < times.size(); ++i) times[i] += part[i];
      }
      for (size_t i = 0; i < times.size(); ++i) ASSERT_EQ(times[i], kSenders) << i;
    }
  }
}

// chan_test.go: TestNonblockRecvRace. A value in the buffer, then a close: a receive that does not
// wait always finds one of them.
TEST(GoChanTest, ANonBlockingReceiveSeesAValueBehindWhichTheChannelCloses) {
  for (int i = 0; i < 2'000; ++i) {
    const Channel<int> ch(1);
    ch.Send(1);
    WaitGroup wg;
    std::atomic<bool> missed{false};
    wg.Go([&] { missed = ch.TryRecv().status == RecvStatus::kEmpty; });
    ch.Close();
    (void)ch.TryRecv();
    wg.Wait();
    ASSERT_FALSE(missed.load()) << "round " << i;
  }
}

// chan_test.go: TestNonblockSelectRace and TestNonblockSelectRace2. At every moment one of the two
// channels is ready, so Default is never right.
TEST(GoChanTest, ASelectWithDefaultNeverMissesATokenThatMovesOrACloseThatComes) {
  for (int i = 0; i < 5'000; ++i) {
    const Channel<int> c1(1), c2(1);
    c1.Send(1);
    WaitGroup wg;
    std::atomic<bool> missed{false};
    const bool by_close = i % 2 == 0;
    wg.Go([&] { missed = Select(OnRecv(c1), OnRecv(c2), Default()) == 2; });
    if (by_close) {
      c2.Close();
    } else {
      c2.Send(1);
    }
    Select(OnRecv(c1), Default());
    wg.Wait();
    ASSERT_FALSE(missed.load()) << "round " << i << (by_close ? ", close" : ", token");
  }
}

// chan_test.go: TestSelfSelect. Two goroutines, each ready to send to and to receive from the same
// channel, never meet themselves.
TEST(GoChanTest, ASelectThatSendsAndReceivesOnOneChannelMeetsOnlyOthers) {
  for (const size_t capacity : {0u, 10u}) {
    const Channel<int> ch(capacity);
    WaitGroup wg;
    for (int p = 0; p < 2; ++p) {
      wg.Go([&, p] {
        for (int i = 0; i < 1000; ++i) {
          const auto check = [&](std::optional<int> v) {
            if (capacity == 0) {
              EXPECT_NE(v, p) << "it received from itself";
            }
          };
          if (p == 0 || i % 2 == 0) {
            Select(OnSend(ch, p), OnRecv(ch, check));
          } else {
            Select(OnRecv(ch, check), OnSend(ch, p));
          }
        }
      });
    }
    wg.Wait();  // without a buffer each of one's operations is one of the other's
  }
}

// chan_test.go: TestSelectStress. Senders and receivers on four channels, directly and by selects
// over all of them in different orders.
TEST(GoChanTest, SelectsAndPlainOperationsOnTheSameFourChannelsComeOutEven) {
  constexpr int kEach = 2'000;
  const std::array<Channel<int>, 4> c{Channel<int>(0), Channel<int>(0), Channel<int>(2),
                                      Channel<int>(3)};
  WaitGroup wg;
  for (const Channel<int>& ch : c) {
    wg.Go([&ch] {
      for (int i = 0; i < kEach; ++i) ch.Send(0);
    });
    wg.Go([&ch] {
      for (int i = 0; i < kEach; ++i) (void)ch.Recv();
    });
  }
  wg.Go([&] {
    std::array<int, 4> left{kEach, kEach, kEach, kEach};
    std::array<Channel<int>, 4> open = c;
    const auto sent = [&](size_t i) {
      return [&, i] {
        if (--left[i] == 0) open[i] = nullptr;
      };
    };
    for (int i = 0; i < 4 * kEach; ++i) {
      Select(OnSend(open[3], 0, sent(3)), OnSend(open[2], 0, sent(2)), OnSend(open[0], 0, sent(0)),
             OnSend(open[1], 0, sent(1)));
    }
  });
  wg.Go([&] {
    std::array<int, 4> left{kEach, kEach, kEach, kEach};
    std::array<Channel<int>, 4> open = c;
    const auto received = [&](size_t i) {
      return [&, i] {
        if (--left[i] == 0) open[i] = nullptr;
      };
    };
    for (int i = 0; i < 4 * kEach; ++i) {
      Select(OnRecv(open[0], received(0)), OnRecv(open[1], received(1)),
             OnRecv(open[2], received(2)), OnRecv(open[3], received(3)));
    }
  });
  wg.Wait();
  for (const Channel<int>& ch : c) EXPECT_EQ(ch.Len(), 0u);
}

// chan_test.go: TestSelectFairness. A goroutine that always sends on one channel does not drown the
// other: over 10,000 trials each has half, within 4.89 standard deviations (one false alarm in a
// million runs).
TEST(GoChanTest, OfTwoChannelsThatAreAlwaysReadyEachIsTakenHalfTheTime) {
  constexpr int kTrials = 10'000;
  const Channel<int8_t> a(kTrials + 1), b(kTrials + 1);
  for (int i = 0; i < kTrials + 1; ++i) {
    a.Send(0);
    b.Send(1);
  }
  int first = 0;
  for (int i = 0; i < kTrials; ++i) first += Select(OnRecv(a), OnRecv(b)) == 0;
  const double r = static_cast<double>(first) / kTrials;
  EXPECT_LE(std::abs(r - 0.5), 4.89 / (2 * std::sqrt(kTrials))) << first << " of " << kTrials;
}

// chan_test.go: TestChanSendInterface. Many selects that send the same kind of value through an
// interface, with a default that is never right where there is room.
TEST(GoChanTest, ValuesBehindAnInterfaceCross) {
  struct Shape {
    virtual ~Shape() = default;
    virtual int Sides() const = 0;
  };
  struct Triangle final : Shape {
    int Sides() const override { return 3; }
  };
  const Channel<std::unique_ptr<Shape>> ch(1);
  ch.Send(std::make_unique<Triangle>());
  EXPECT_EQ(Select(OnSend(ch, std::make_unique<Triangle>()), Default()), 1);
  EXPECT_EQ((*ch.Recv())->Sides(), 3);
  EXPECT_EQ(Select(OnSend(ch, std::make_unique<Triangle>()), Default()), 0);
}

// chan_test.go: TestPseudoRandomSend. Two sends of different values to one channel: both are drawn,
// neither in a run without end.
TEST(GoChanTest, TwoSendsToOneChannelAreBothDrawn) {
  constexpr int kN = 100;
  for (const size_t capacity : {0u, static_cast<unsigned>(kN)}) {
    const Channel<int> ch(capacity);
    std::vector<int> got(kN);
    const Channel<bool> all;
    Go([&, ch, all] {
      for (int& v : got) v = *ch.Recv();
      all.Close();
    });
    for (int i = 0; i < kN; ++i) Select(OnSend(ch, 0), OnSend(ch, 1));
    (void)all.Recv();
    int zeros = 0;
    for (const int v : got) zeros += v == 0;
    // Below 10 of 100: once in 10^17 runs.
    EXPECT_GT(zeros, 10);
    EXPECT_LT(zeros, 90);
  }
}

// chan_test.go: TestMultiConsumer.
TEST(GoChanTest, ManyConsumersPassOnEveryValueOnce) {
  constexpr int kConsumers = 23;
  constexpr int kFeed = 10'007;
  static constexpr int kPrimes[] = {2, 3, 7, 11, 13};
  const Channel<int> q(kConsumers * 3), r(kConsumers * 3);
  WaitGroup consumers;
  for (int i = 0; i < kConsumers; ++i) {
    consumers.Go([=] {
      for (int v : q) {
        if (v % 23 == 0) Yield();
        r.Send(v);
      }
    });
  }
  int64_t expected = 0;
  for (int i = 0; i < kFeed; ++i) expected += kPrimes[i % 5];
  Go([&consumers, q, r] {
    for (int i = 0; i < kFeed; ++i) q.Send(kPrimes[i % 5]);
    q.Close();
    consumers.Wait();
    r.Close();
  });
  int64_t sum = 0;
  int count = 0;
  for (int v : r) {
    sum += v;
    ++count;
  }
  EXPECT_EQ(count, kFeed);
  EXPECT_EQ(sum, expected);
}

// chan_test.go: TestSelectDuplicateChannel.
TEST(GoChanTest, AChannelThatAParkedSelectNamesTwiceWakesItOnce) {
  const Channel<int> c, d, e;
  Go([=] {
    // Waits first: its place is in front of the one below.
    Select(OnRecv(c), OnRecv(c), OnRecv(d));
    e.Send(9);
  });
  ChannelPeek::AwaitReceivers(c, 2);
  Go([=] { (void)c.Recv(); });
  ChannelPeek::AwaitReceivers(c, 3);
  d.Send(7);
  EXPECT_EQ(e.Recv(), 9);
  c.Send(8);
}

}  // namespace
}  // namespace plimsoll
