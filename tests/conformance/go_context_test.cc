// What Go's context_test.go asserts, in tests of our own. go_tests.md tells which of theirs is
// which of ours.

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/sync/wait_group.h"

namespace plimsoll {
namespace {

bool IsDone(const Context& ctx) { return Select(OnDone(ctx), Default()) == 0; }

inline constexpr ContextKey<std::string> kFirst("name");
inline constexpr ContextKey<std::string> kSecond("name");
inline constexpr ContextKey<int> kNumber("number");

TEST(GoContextTest, TheTwoRootsAreNeverDoneAndAreNotEachOther) {
  for (const Context& root : {Background(), TODO()}) {
    EXPECT_TRUE(root.Done() == nullptr);
    EXPECT_TRUE(root.Err().ok());
    EXPECT_EQ(root.Deadline(), std::nullopt);
    EXPECT_FALSE(IsDone(root));
  }
  EXPECT_FALSE(Background() == TODO());
}

// TestWithCancel.
TEST(GoContextTest, DoneIsOneChannelClosedByTheFirstCancel) {
  auto [ctx, cancel] = WithCancel(Background());
  const RecvChannel<std::monostate> done = ctx.Done();
  EXPECT_TRUE(done == ctx.Done()) << "each call gives the same channel";
  EXPECT_FALSE(IsDone(ctx));
  EXPECT_TRUE(ctx.Err().ok());
  cancel();
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(IsDone(ctx));
    EXPECT_EQ(ctx.Err().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ctx.Err().message(), "context canceled");
    cancel();
  }
  EXPECT_EQ(done.Recv(), std::nullopt);
}

// TestParentFinishesChild.
TEST(GoContextTest, AParentsEndIsItsChildrensBeforeCancelReturns) {
  auto [parent, cancel] = WithCancel(Background());
  auto [child, cancel_child] = WithCancel(parent);
  const Context value_child = WithValue(parent, kNumber, 7);
  auto [timer_child, cancel_timer] = WithTimeout(value_child, absl::Hours(1));
  for (const Context& c : {parent, child, value_child, timer_child}) EXPECT_FALSE(IsDone(c));
  cancel();
  for (const Context& c : {parent, child, value_child, timer_child}) {
    EXPECT_TRUE(IsDone(c));
    EXPECT_EQ(c.Err().message(), "context canceled");
  }
  const Context late = WithValue(parent, kNumber, 8);
  EXPECT_TRUE(IsDone(late));
  EXPECT_EQ(late.Err().message(), "context canceled");
}

// TestChildFinishesFirst.
TEST(GoContextTest, AChildsEndIsNotItsParents) {
  auto [cancellable, stop] = WithCancel(Background());
  for (const Context& parent : {Background(), cancellable}) {
    auto [child, cancel] = WithCancel(parent);
    cancel();
    EXPECT_TRUE(IsDone(child));
    EXPECT_FALSE(IsDone(parent));
    EXPECT_TRUE(parent.Err().ok());
  }
}

// TestDeadline, TestTimeout, TestCanceledTimeout, TestDeadlineExceededSupportsTimeout.
TEST(GoContextTest, ADeadlineComesDownTheTreeAndTellsThatItPassed) {
  auto [ctx, cancel] = WithDeadline(Background(), absl::Now() + absl::Milliseconds(5));
  auto [cancellable, cancel2] = WithCancel(ctx);
  auto [later, cancel3] = WithTimeout(cancellable, absl::Hours(1));
  const Context value = WithValue(later, kNumber, 1);
  EXPECT_EQ(value.Deadline(), ctx.Deadline());
  for (const Context& c : {ctx, cancellable, later, value}) {
    Select(OnDone(c));
    EXPECT_EQ(c.Err().code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_EQ(c.Err().message(), "context deadline exceeded");
  }

  auto [past, cancel4] = WithDeadline(Background(), absl::Now() - absl::Seconds(1));
  EXPECT_TRUE(IsDone(past));
  auto [zero, cancel5] = WithTimeout(Background(), absl::ZeroDuration());
  EXPECT_TRUE(IsDone(zero));

  auto [cancelled, cancel6] = WithTimeout(Background(), absl::Hours(1));
  cancel6();
  EXPECT_EQ(cancelled.Err().message(), "context canceled");
}

// TestValues.
TEST(GoContextTest, AValueHidesTheOneAboveAndNoOther) {
  const Context c0 = Background();
  const Context c1 = WithValue(c0, kFirst, std::string("one"));
  const Context c2 = WithValue(c1, kSecond, std::string("two"));
  const Context c3 = WithValue(c2, kNumber, 3);
  const Context c4 = WithValue(c3, kFirst, std::string("anew"));
  EXPECT_EQ(c0.Value(kFirst), nullptr);
  EXPECT_EQ(*c1.Value(kFirst), "one");
  EXPECT_EQ(c1.Value(kSecond), nullptr) << "keys of one name are two keys";
  EXPECT_EQ(*c3.Value(kFirst), "one");
  EXPECT_EQ(*c3.Value(kSecond), "two");
  EXPECT_EQ(*c3.Value(kNumber), 3);
  EXPECT_EQ(*c4.Value(kFirst), "anew");
  EXPECT_EQ(*c4.Value(kSecond), "two");
}

// TestSimultaneousCancels.
TEST(GoContextTest, CancelsOfAThousandFromAllSidesEndThemAll) {
  auto [root, cancel_root] = WithCancel(Background());
  std::vector<CancellableContext> all{{root, cancel_root}};
  for (size_t i = 0; i < 1000; ++i) {
    CancellableContext child = WithCancel(all[i / 2].ctx);  // a tree of two children each
    all.push_back(child);
  }
  WaitGroup wg;
  for (CancellableContext& c : all) wg.Go([&c] { c.cancel(); });
  for (const CancellableContext& c : all) {
    Select(OnDone(c.ctx));
    EXPECT_EQ(c.ctx.Err().message(), "context canceled");
  }
  wg.Wait();
}

// TestInterlockedCancels.
TEST(GoContextTest, ACancelMayWaitForOneBelowThatItCauses) {
  auto [parent, cancel_parent] = WithCancel(Background());
  auto [child, cancel_child] = WithCancel(parent);
  Go([parent = parent, cancel_child = cancel_child] {
    Select(OnDone(parent));
    cancel_child();
  });
  cancel_parent();
  Select(OnDone(child));
}

// TestLayersCancel and TestLayersTimeout.
TEST(GoContextTest, ManyLayersEndTogetherAndKeepTheirValues) {
  for (const bool by_timeout : {false, true}) {
    Context ctx = Background();
    std::vector<CancelFunc> cancels;
    constexpr int kLayers = 200;
    std::optional<CancelFunc> first;
    for (int i = 0; i < kLayers; ++i) {
      switch (i % 3) {
        case 0: {
          CancellableContext c = WithCancel(ctx);
          if (!first) first = c.cancel;
          ctx = c.ctx;
          break;
        }
        case 1:
          ctx = WithValue(ctx, kNumber, i);
          break;
        case 2: {
          CancellableContext c =
              WithTimeout(ctx, by_timeout && i == 2 ? absl::Milliseconds(2) : absl::Hours(1));
          ctx = c.ctx;
          cancels.push_back(c.cancel);
          break;
        }
      }
    }
    EXPECT_EQ(*ctx.Value(kNumber), 199);
    if (!by_timeout) (*first)();
    Select(OnDone(ctx));
    EXPECT_EQ(ctx.Err().message(), by_timeout ? "context deadline exceeded" : "context canceled");
    EXPECT_EQ(*ctx.Value(kNumber), 199) << "values outlive the cancellation";
    for (const CancelFunc& cancel : cancels) cancel();
  }
}

// TestWithCancelCanceledParent.
TEST(GoContextTest, AChildOfOneThatEndedIsBornEnded) {
  auto [parent, cancel] = WithCancel(Background());
  cancel();
  auto [child, cancel_child] = WithCancel(parent);
  EXPECT_TRUE(IsDone(child));
  EXPECT_EQ(child.Err(), parent.Err());
}

// TestInvalidDerivedFail, with the caller's line.
TEST(GoContextTest, EveryKindOfChildOfNilPanicsWithTheCallersLine) {
  const Context nil;
  const auto panics = [](auto&& make, int line) {
    try {
      make();
      ADD_FAILURE() << "no panic for line " << line;
    } catch (const Panic& p) {
      EXPECT_STREQ(p.what(), "cannot create context from nil parent");
      EXPECT_EQ(static_cast<int>(p.where().line()), line);
      EXPECT_NE(std::string(p.where().file_name()).find("go_context_test.cc"), std::string::npos);
    }
  };
  panics([&] { (void)WithCancel(nil); }, __LINE__);
  panics([&] { (void)WithCancelCause(nil); }, __LINE__);
  panics([&] { (void)WithDeadline(nil, absl::Now()); }, __LINE__);
  panics([&] { (void)WithTimeout(nil, absl::Hours(1)); }, __LINE__);
  panics([&] { (void)WithValue(nil, kNumber, 1); }, __LINE__);
  panics([&] { (void)WithoutCancel(nil); }, __LINE__);
}

}  // namespace
}  // namespace plimsoll
