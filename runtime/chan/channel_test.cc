#include "plimsoll/runtime/chan/channel.h"

#include <array>
#include <atomic>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel_peek.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sched/park.h"

// No SCOPED_TRACE in tests of goroutines: GoogleTest keeps it per thread, and a goroutine may wake
// on another one.
namespace plimsoll {
namespace {

using internal::ChannelPeek;

// The text of the panic that `f` throws, and "none" when it returns.
template <typename F>
std::string PanicText(F f) {
  try {
    f();
  } catch (const Panic& panic) {
    return panic.what();
  }
  return "none";
}

TEST(ChannelTest, HandsOverBufferedValuesInOrderThenTheEnd) {
  Channel<int> ch(3);
  for (int i = 1; i <= 3; ++i) ch.Send(i);
  EXPECT_EQ(ch.Len(), 3u);
  EXPECT_EQ(ch.Cap(), 3u);
  ch.Close();
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(ch.Recv(), i);
  EXPECT_EQ(ch.Recv(), std::nullopt);
  EXPECT_EQ(ch.Recv(), std::nullopt);
  EXPECT_EQ(ch.Len(), 0u);
  EXPECT_EQ(ch.Cap(), 3u);
}

TEST(ChannelTest, TheRingWrapsAroundAtEveryCapacity) {
  for (size_t capacity : {1, 2, 3, 7}) {
    Channel<size_t> ch(capacity);
    size_t sent = 0;
    size_t received = 0;
    for (int round = 0; round < 20; ++round) {
      const size_t burst = 1 + round % capacity;
      for (size_t i = 0; i < burst; ++i) ch.Send(sent++);
      for (size_t i = 0; i < burst; ++i) ASSERT_EQ(ch.Recv(), received++) << capacity;
    }
  }
}

TEST(ChannelTest, AnUnbufferedSendEndsOnlyWhenItsValueWasReceived) {
  Channel<int> ch;
  std::atomic<bool> sent{false};
  Channel<bool> done(1);
  Go([&] {
    ch.Send(7);
    sent.store(true);
    done.Send(true);
  });
  ChannelPeek::AwaitSenders(ch, 1);
  EXPECT_FALSE(sent.load());
  EXPECT_EQ(ch.Recv(), 7);
  EXPECT_EQ(done.Recv(), true);
  EXPECT_TRUE(sent.load());
}

TEST(ChannelTest, AParkedReceiverGetsTheValueWithoutTheBuffer) {
  Channel<int> ch(1);
  Channel<int> out(1);
  Go([=] { out.Send(*ch.Recv()); });
  ChannelPeek::AwaitReceivers(ch, 1);
  ch.Send(1);
  EXPECT_EQ(ch.Len(), 0u);  // whether or not the receiver has run
  EXPECT_EQ(out.Recv(), 1);
}

TEST(ChannelTest, WaitersAreServedInTheOrderTheyCame) {
  constexpr int kWaiters = 10;
  {
    Channel<int> ch;
    for (int i = 0; i < kWaiters; ++i) {
      Go([=] { ch.Send(i); });
      ChannelPeek::AwaitSenders(ch, i + 1);
    }
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(ch.Recv(), i);
  }
  {
    Channel<int> ch;
    std::vector<Channel<int>> got;
    for (int i = 0; i < kWaiters; ++i) {
      got.push_back(Channel<int>(1));
      Go([ch, mine = got.back()] { mine.Send(*ch.Recv()); });
      ChannelPeek::AwaitReceivers(ch, i + 1);
    }
    for (int i = 0; i < kWaiters; ++i) ch.Send(i);
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[i].Recv(), i);
  }
}

TEST(ChannelTest, AParkedSendersValueGoesToTheEndOfTheBuffer) {
  Channel<int> ch(2);
  ch.Send(1);
  ch.Send(2);
  Go([=] { ch.Send(3); });
  ChannelPeek::AwaitSenders(ch, 1);
  EXPECT_EQ(ch.Recv(), 1);
  EXPECT_EQ(ch.Len(), 2u);
  EXPECT_EQ(ch.Recv(), 2);
  EXPECT_EQ(ch.Recv(), 3);
}

TEST(ChannelTest, CloseWakesEveryParkedReceiver) {
  Channel<int> ch;
  Channel<bool> got_value(100);
  for (int i = 0; i < 100; ++i) Go([=] { got_value.Send(ch.Recv().has_value()); });
  ChannelPeek::AwaitReceivers(ch, 100);
  ch.Close();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(got_value.Recv(), false);
}

TEST(ChannelTest, CloseMakesEveryParkedSenderPanic) {
  Channel<std::string> ch;
  Channel<std::string> panics(100);
  for (int i = 0; i < 100; ++i) {
    Go([=] { panics.Send(PanicText([&] { ch.Send("never seen"); })); });
  }
  ChannelPeek::AwaitSenders(ch, 100);
  ch.Close();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(panics.Recv(), "send on closed channel");
}

TEST(ChannelTest, MisusePanicsWithGosTextAndTheCallersLine) {
  Channel<int> closed(1);
  closed.Close();
  int value = 5;
  EXPECT_EQ(PanicText([&] { closed.Send(1); }), "send on closed channel");
  EXPECT_EQ(PanicText([&] { (void)closed.TrySend(value); }), "send on closed channel");
  EXPECT_EQ(PanicText([&] { closed.Close(); }), "close of closed channel");
  EXPECT_EQ(PanicText([&] { Channel<int>(nullptr).Close(); }), "close of nil channel");
  EXPECT_EQ(PanicText([&] { Channel<int> c(-1); }), "makechan: size out of range");
  EXPECT_EQ(PanicText([&] { Channel<int> c(size_t{1} << 60); }), "makechan: size out of range");
  EXPECT_EQ(PanicText([&] { Channel<std::monostate> c(-1); }), "makechan: size out of range");
  try {
    closed.Close();
    FAIL() << "no panic";
  } catch (const Panic& panic) {
    EXPECT_EQ(panic.where().line(), static_cast<unsigned>(__LINE__ - 3));
    EXPECT_NE(std::string(panic.where().file_name()).find("channel_test.cc"), std::string::npos);
  }
}

TEST(ChannelTest, TheNilChannelIsEmptyAndNeverReady) {
  Channel<int> nil = nullptr;
  EXPECT_TRUE(nil == nullptr);
  EXPECT_EQ(nil.Len(), 0u);
  EXPECT_EQ(nil.Cap(), 0u);
  int value = 1;
  EXPECT_FALSE(nil.TrySend(value));
  EXPECT_EQ(nil.TryRecv().status, RecvStatus::kEmpty);
  EXPECT_FALSE(nil.TrySendFor(value, absl::Microseconds(50)));
  EXPECT_EQ(nil.TryRecvFor(absl::Microseconds(50)).status, RecvStatus::kEmpty);
}

TEST(ChannelTest, TryRecvTellsEmptyFromClosed) {
  Channel<int> ch(1);
  EXPECT_EQ(ch.TryRecv().status, RecvStatus::kEmpty);
  ch.Send(4);
  ch.Close();
  const TryRecvResult<int> got = ch.TryRecv();
  EXPECT_EQ(got.status, RecvStatus::kValue);
  EXPECT_EQ(got.value, 4);
  EXPECT_EQ(ch.TryRecv().status, RecvStatus::kClosed);
}

TEST(ChannelTest, ARefusedTrySendLeavesItsValue) {
  Channel<std::unique_ptr<int>> ch(1);
  Channel<std::list<int>> boxed;
  auto one = std::make_unique<int>(1);
  auto two = std::make_unique<int>(2);
  std::list<int> list = {1, 2, 3};
  EXPECT_TRUE(ch.TrySend(one));
  EXPECT_EQ(one, nullptr);
  EXPECT_FALSE(ch.TrySend(two));
  ASSERT_NE(two, nullptr);
  EXPECT_EQ(*two, 2);
  EXPECT_FALSE(boxed.TrySend(list));
  EXPECT_EQ(list.size(), 3u);
}

TEST(ChannelTest, ATimedOperationEndsAtItsDeadlineAndLeavesNothingQueued) {
  Channel<int> ch;
  int value = 3;
  EXPECT_EQ(ch.TryRecvFor(absl::Milliseconds(2)).status, RecvStatus::kEmpty);
  EXPECT_EQ(ChannelPeek::Receivers(ch), 0u);
  EXPECT_FALSE(ch.TrySendFor(value, absl::Milliseconds(2)));
  EXPECT_EQ(ChannelPeek::Senders(ch), 0u);
  EXPECT_EQ(value, 3);
  EXPECT_FALSE(ch.TrySendFor(value, absl::ZeroDuration()));
}

TEST(ChannelTest, ATimedReceiveTakesAValueThatComesInTime) {
  Channel<int> ch;
  Go([=] { ch.Send(9); });
  EXPECT_EQ(ch.TryRecvFor(absl::InfiniteDuration()).value, 9);
}

TEST(ChannelTest, RangeForEndsAfterCloseAndDrain) {
  Channel<int> ch(2);
  Go([=] {
    for (int i = 0; i < 5; ++i) ch.Send(i);
    ch.Close();
  });
  std::vector<int> got;
  for (int value : ch) got.push_back(value);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4}));
}

TEST(ChannelTest, OneEndedHandlesNameTheSameChannel) {
  Channel<int> ch(1);
  SendChannel<int> in = ch;
  RecvChannel<int> out = ch;
  in.Send(1);
  EXPECT_EQ(out.Len(), 1u);
  EXPECT_EQ(out.Recv(), 1);
  in.Close();
  EXPECT_EQ(out.Recv(), std::nullopt);
  EXPECT_TRUE(RecvChannel<int>(ch) == out);
}

// Counts its live objects, to see that none is lost or destroyed twice.
struct Counted {
  static inline std::atomic<int> live{0};
  explicit Counted(int v) : value(v) { ++live; }
  Counted(Counted&& o) : value(o.value) { ++live; }
  Counted& operator=(Counted&& o) {
    value = o.value;
    return *this;
  }
  ~Counted() { --live; }
  int value;
};

TEST(ChannelTest, EveryValueIsDestroyedOnce) {
  {
    Channel<Counted> ch(4);
    for (int i = 0; i < 4; ++i) ch.Send(Counted(i));
    EXPECT_EQ(ch.Recv()->value, 0);
    Counted refused(9);
    ch.Send(Counted(4));
    EXPECT_FALSE(ch.TrySend(refused));
    ch.Close();
    EXPECT_EQ(PanicText([&] { ch.Send(Counted(5)); }), "send on closed channel");
  }
  EXPECT_EQ(Counted::live.load(), 0);  // what was left in the buffer too
}

TEST(ChannelTest, BufferedPointersAreFreedWithTheChannel) {
  auto shared = std::make_shared<int>(1);
  std::weak_ptr<int> watch = shared;
  {
    Channel<std::shared_ptr<int>> ch(2);
    ch.Send(std::move(shared));
  }
  EXPECT_TRUE(watch.expired());
}

struct ThrowsWhenMoved {
  int moves_left = 0;
  explicit ThrowsWhenMoved(int moves) : moves_left(moves) {}
  ThrowsWhenMoved(ThrowsWhenMoved&& o) : moves_left(o.moves_left - 1) {
    if (moves_left < 0) throw std::runtime_error("moved once too often");
  }
  ThrowsWhenMoved& operator=(ThrowsWhenMoved&&) = default;
};

TEST(ChannelTest, AMoveThatThrowsInSendSendsNothing) {
  Channel<ThrowsWhenMoved> ch(1);
  EXPECT_THROW(ch.Send(ThrowsWhenMoved(0)), std::runtime_error);
  EXPECT_EQ(ch.Len(), 0u);
  ch.Send(ThrowsWhenMoved(1));  // into the box
  EXPECT_THROW((void)ch.Recv(), std::runtime_error);
  EXPECT_EQ(ch.Len(), 0u);  // that value is lost, the channel is whole
  ch.Send(ThrowsWhenMoved(9));
  EXPECT_TRUE(ch.Recv().has_value());
}

struct alignas(128) Wide {
  uint64_t words[16];
};

template <typename T>
void PassesThrough(size_t capacity, T value, bool (*is_it)(const T&)) {
  Channel<T> ch(capacity);
  Go([ch, v = std::move(value)]() mutable { ch.Send(std::move(v)); });
  std::optional<T> got = ch.Recv();
  ASSERT_TRUE(got.has_value()) << capacity;
  EXPECT_TRUE(is_it(*got)) << capacity;
}

TEST(ChannelTest, CarriesEveryKindOfMovableType) {
  for (size_t capacity : {0, 1, 5}) {
    PassesThrough<char>(capacity, 'x', [](const char& c) { return c == 'x'; });
    PassesThrough<std::monostate>(capacity, {}, [](const std::monostate&) { return true; });
    PassesThrough<std::string>(capacity, "short",
                               [](const std::string& s) { return s == "short"; });
    PassesThrough<std::list<int>>(capacity, {1, 2}, [](const auto& l) { return l.size() == 2; });
    PassesThrough<std::unique_ptr<int>>(capacity, std::make_unique<int>(3),
                                        [](const auto& p) { return *p == 3; });
    PassesThrough<Wide>(capacity, Wide{{1, 2, 3}}, [](const Wide& w) {
      return w.words[2] == 3 && reinterpret_cast<uintptr_t>(&w) % 128 == 0;
    });
    PassesThrough<std::array<char, 5000>>(capacity, {'a'},
                                          [](const auto& a) { return a[0] == 'a'; });
    PassesThrough<Channel<int>>(capacity, Channel<int>(7),
                                [](const auto& c) { return c.Cap() == 7; });
  }
}

TEST(ChannelTest, OverAlignedSlotsAreAligned) {
  Channel<Wide> ch(3);
  for (uint64_t i = 0; i < 3; ++i) ch.Send(Wide{{i}});
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(ch.Recv()->words[0], i);
}

TEST(ChannelTest, AMillionEmptyValuesTakeNoBuffer) {
  Channel<std::monostate> ch(size_t{1} << 40);
  for (int i = 0; i < 1000; ++i) ch.Send({});
  EXPECT_EQ(ch.Len(), 1000u);
}

TEST(ChannelTest, ManyOnBothSidesLoseAndDoubleNothing) {
  for (size_t capacity : {0, 1, 16}) {
    constexpr int kEach = 2000;
    constexpr int kSides = 4;
    Channel<int> ch(capacity);
    Channel<int64_t> sums(kSides);
    Channel<bool> sent(kSides);
    for (int s = 0; s < kSides; ++s) {
      Go([=] {
        for (int i = 0; i < kEach; ++i) ch.Send(s * kEach + i);
        sent.Send(true);
      });
      Go([=] {
        int64_t sum = 0;
        for (int v : ch) sum += v;
        sums.Send(sum);
      });
    }
    for (int s = 0; s < kSides; ++s) EXPECT_TRUE(sent.Recv());
    ch.Close();
    int64_t total = 0;
    for (int s = 0; s < kSides; ++s) total += *sums.Recv();
    constexpr int64_t kAll = int64_t{kSides} * kEach;
    EXPECT_EQ(total, kAll * (kAll - 1) / 2) << capacity;
  }
}

TEST(ChannelTest, ATrySendThatPanicsLeavesTheValue) {
  Channel<std::string> closed(1);
  closed.Close();
  std::string value(100, 'x');
  EXPECT_THROW((void)closed.TrySend(value), Panic);
  EXPECT_EQ(value, std::string(100, 'x'));
  EXPECT_THROW((void)closed.TrySendFor(value, absl::Milliseconds(1)), Panic);
  EXPECT_EQ(value, std::string(100, 'x'));
}

}  // namespace
}  // namespace plimsoll
