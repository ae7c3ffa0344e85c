#include "plimsoll/runtime/context/context.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/chan/select.h"
#include "plimsoll/runtime/context/context_ops.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/panic/panic.h"
#include "plimsoll/runtime/time/sleep.h"

namespace plimsoll {
namespace {

constexpr ContextKey<int> kNumber("number");
constexpr ContextKey<int> kOther("other");
constexpr ContextKey<std::string> kText("text");

bool IsDone(const Context& ctx) { return ctx.Done().TryRecv().status == RecvStatus::kClosed; }

TEST(ContextTest, TheRootIsNeverDone) {
  for (const Context& root :
       {Background(), TODO(), WithoutCancel(Background()), WithValue(Background(), kNumber, 1)}) {
    EXPECT_TRUE(root.Done() == nullptr);
    EXPECT_TRUE(root.Err().ok());
    EXPECT_TRUE(root.Cause().ok());
    EXPECT_EQ(root.Deadline(), std::nullopt);
  }
}

TEST(ContextTest, CancelEndsAllBelowBeforeItReturnsAndNothingAbove) {
  auto [top, cancel_top] = WithCancel(Background());
  auto [middle, cancel_middle] = WithCancel(top);
  const Context value = WithValue(middle, kNumber, 1);
  auto [bottom, cancel_bottom] = WithCancel(value);
  auto [sibling, cancel_sibling] = WithCancel(top);
  const auto never_asked = WithCancel(bottom);
  EXPECT_FALSE(IsDone(bottom));
  cancel_middle();
  for (const Context& ctx : {middle, value, bottom, never_asked.ctx}) {
    EXPECT_TRUE(IsDone(ctx));
    EXPECT_EQ(ctx.Err().code(), absl::StatusCode::kCancelled);
    EXPECT_EQ(ctx.Err().message(), "context canceled");
    EXPECT_EQ(ctx.Cause(), ctx.Err());
  }
  EXPECT_FALSE(IsDone(top));
  EXPECT_TRUE(sibling.Err().ok());
  cancel_middle();  // a second time: nothing
  cancel_top();
  EXPECT_TRUE(IsDone(sibling));
}

TEST(ContextTest, AChildOfACancelledContextIsCancelledFromTheStart) {
  auto [ctx, cancel] = WithCancelCause(Background());
  cancel(absl::InternalError("why"));
  auto child = WithCancel(ctx);
  EXPECT_TRUE(IsDone(child.ctx));
  EXPECT_EQ(child.ctx.Cause().message(), "why");
}

TEST(ContextTest, TheFirstCauseWinsAndGoesDown) {
  auto [top, cancel_top] = WithCancelCause(Background());
  auto [child, cancel_child] = WithCancelCause(top);
  cancel_child(absl::InternalError("child's"));
  cancel_top(absl::InternalError("top's"));
  cancel_top(absl::InternalError("too late"));
  EXPECT_EQ(top.Cause().message(), "top's");
  EXPECT_EQ(child.Cause().message(), "child's");
  EXPECT_EQ(child.Err().message(), "context canceled");
  auto [plain, cancel_plain] = WithCancelCause(Background());
  cancel_plain(absl::OkStatus());
  EXPECT_EQ(plain.Cause(), plain.Err());
}

TEST(ContextTest, ATimeoutEndsItWithGosText) {
  auto [ctx, cancel] = WithTimeout(Background(), absl::Milliseconds(2));
  EXPECT_TRUE(ctx.Deadline().has_value());
  ctx.Done().Recv();
  EXPECT_EQ(ctx.Err().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ctx.Err().message(), "context deadline exceeded");
  EXPECT_EQ(ctx.Cause(), ctx.Err());
  cancel();
  EXPECT_EQ(ctx.Err().message(), "context deadline exceeded");
}

TEST(ContextTest, ADeadlineThatHasPassedCancelsAtOnce) {
  auto [ctx, cancel] = WithDeadline(Background(), absl::Now() - absl::Seconds(1));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ctx.Err()));
  EXPECT_TRUE(IsDone(ctx));
  auto caused = WithTimeoutCause(Background(), absl::ZeroDuration(), absl::InternalError("slow"));
  EXPECT_EQ(caused.ctx.Cause().message(), "slow");
  EXPECT_TRUE(absl::IsDeadlineExceeded(caused.ctx.Err()));
}

TEST(ContextTest, AnEarlierDeadlineOfTheParentStands) {
  auto [parent, cancel_parent] = WithTimeout(Background(), absl::Hours(1));
  auto [later, cancel_later] = WithTimeout(parent, absl::Hours(2));
  auto [sooner, cancel_sooner] = WithTimeout(parent, absl::Minutes(1));
  EXPECT_EQ(later.Deadline(), parent.Deadline());
  EXPECT_LT(*sooner.Deadline(), *parent.Deadline());
  EXPECT_EQ(WithValue(sooner, kNumber, 1).Deadline(), sooner.Deadline());
  cancel_sooner();
  cancel_later();
  cancel_parent();
}

TEST(ContextTest, ACancelledTimeoutTellsCanceled) {
  auto [ctx, cancel] = WithTimeoutCause(Background(), absl::Hours(1), absl::InternalError("slow"));
  cancel();
  EXPECT_EQ(ctx.Err().message(), "context canceled");
  EXPECT_EQ(ctx.Cause(), ctx.Err());
}

TEST(ContextTest, ValuesAreFoundUpTheTreeByKeyAndNotByName) {
  const Context a = WithValue(Background(), kNumber, 1);
  const Context b = WithValue(a, kText, std::string("text"));
  const Context c = WithValue(b, kNumber, 2);
  EXPECT_EQ(*a.Value(kNumber), 1);
  EXPECT_EQ(*b.Value(kNumber), 1);
  EXPECT_EQ(*c.Value(kNumber), 2);
  EXPECT_EQ(*c.Value(kText), "text");
  EXPECT_EQ(c.Value(kOther), nullptr);
  EXPECT_EQ(a.Value(kText), nullptr);
}

TEST(ContextTest, WithoutCancelKeepsTheValuesAlone) {
  auto [ctx, cancel] = WithTimeout(WithValue(Background(), kNumber, 7), absl::Hours(1));
  const Context free = WithoutCancel(ctx);
  auto [child, cancel_child] = WithCancel(free);
  cancel();
  EXPECT_EQ(*free.Value(kNumber), 7);
  EXPECT_TRUE(free.Err().ok());
  EXPECT_TRUE(free.Done() == nullptr);
  EXPECT_EQ(free.Deadline(), std::nullopt);
  EXPECT_TRUE(child.Err().ok());
  cancel_child();
}

TEST(ContextTest, ANilParentPanics) {
  const Context nil;
  for (auto make : {+[](const Context& c) { (void)WithCancel(c); },
                    +[](const Context& c) { (void)WithTimeout(c, absl::Seconds(1)); },
                    +[](const Context& c) { (void)WithValue(c, kNumber, 1); },
                    +[](const Context& c) { (void)WithoutCancel(c); }}) {
    try {
      make(nil);
      FAIL() << "no panic";
    } catch (const Panic& panic) {
      EXPECT_STREQ(panic.what(), "cannot create context from nil parent");
    }
  }
}

TEST(ContextTest, AfterFuncRunsOnceOnItsOwnGoroutine) {
  auto [ctx, cancel] = WithCancel(Background());
  Channel<int> ran(2);
  StopFunc stop = AfterFunc(ctx, [=] {
    Sleep(absl::Milliseconds(1));
    ran.Send(1);
  });
  EXPECT_EQ(ran.TryRecv().status, RecvStatus::kEmpty);
  cancel();  // does not wait for it
  EXPECT_EQ(ran.Recv(), 1);
  EXPECT_FALSE(stop());
  cancel();
  EXPECT_EQ(ran.TryRecvFor(absl::Milliseconds(2)).status, RecvStatus::kEmpty);
  AfterFunc(ctx, [=] { ran.Send(2); });  // it is cancelled already
  EXPECT_EQ(ran.Recv(), 2);
}

TEST(ContextTest, StopKeepsAnAfterFuncFromRunningAndFreesIt) {
  auto [ctx, cancel] = WithCancel(Background());
  auto held = std::make_shared<int>(1);
  std::weak_ptr<int> watch = held;
  {
    StopFunc stop = AfterFunc(ctx, [held = std::move(held)] { ADD_FAILURE() << *held; });
    EXPECT_FALSE(watch.expired());
    EXPECT_TRUE(stop());
    EXPECT_FALSE(stop());
  }
  EXPECT_TRUE(watch.expired());
  cancel();
}

TEST(ContextTest, AMillionChildrenLeaveNothingBehind) {
  auto [parent, cancel_parent] = WithCancel(Background());
  for (int i = 0; i < 1'000'000; ++i) {
    auto child = WithCancel(parent);
    if (i % 2 == 0) child.cancel();  // the others just go
  }
  // Were they still in the list, LeakSanitizer would tell, and this would touch freed memory.
  cancel_parent();
}

TEST(ContextTest, ADeepTreeIsCancelledAndFreedWithoutRecursion) {
  auto [top, cancel] = WithCancel(Background());
  Context deepest = top;
  for (int i = 0; i < 200'000; ++i) deepest = WithCancel(deepest).ctx;
  cancel();
  EXPECT_FALSE(deepest.Err().ok());
}

TEST(ContextTest, CancelsAndBirthsMayRace) {
  for (int round = 0; round < 200; ++round) {
    auto parent = WithCancel(Background());
    Channel<bool> done(3);
    std::atomic<int> hooks{0};
    Go([=] {
      parent.cancel();
      done.Send(true);
    });
    Go([=] {
      for (int i = 0; i < 20; ++i) {
        auto child = WithCancel(parent.ctx);
        if (i % 2 == 0) child.cancel();
      }
      done.Send(true);
    });
    Go([=, &hooks] {
      StopFunc stop = AfterFunc(parent.ctx, [&hooks] { hooks.fetch_add(1); });
      if (stop()) hooks.fetch_add(1);
      done.Send(true);
    });
    for (int i = 0; i < 3; ++i) done.Recv();
    while (hooks.load() != 1) Sleep(absl::Microseconds(50));
    EXPECT_FALSE(WithCancel(parent.ctx).ctx.Err().ok());
  }
}

TEST(ContextOpsTest, WaitsEndWithTheContext) {
  auto [ctx, cancel] = WithCancel(Background());
  Channel<int> ch(1);
  EXPECT_TRUE(Send(ctx, ch, 1).ok());
  EXPECT_EQ(*Recv(ctx, ch), 1);
  EXPECT_TRUE(Sleep(ctx, absl::Milliseconds(1)).ok());
  Go([cancel = cancel] {
    Sleep(absl::Milliseconds(2));
    cancel();
  });
  EXPECT_EQ(Recv(ctx, ch).status().message(), "context canceled");
  EXPECT_EQ(Sleep(ctx, absl::Hours(1)).message(), "context canceled");
  EXPECT_EQ(Send(ctx, ch, 2).message(), "context canceled");  // though there is room
  EXPECT_EQ(ch.Len(), 0u);
}

TEST(ContextTest, WhenCancelReturnsAllBelowIsCancelledThoughAnotherIsAtIt) {
  // One goroutine works through a wide node; its parent's cancel, or a second one of its own, comes
  // meanwhile, finds the node cancelled, and must still not return before all below it is.
  for (const bool by_parent : {true, false}) {
    for (int round = 0; round < 10; ++round) {
      auto parent = WithCancel(Background());
      auto node = WithCancel(parent.ctx);
      std::vector<decltype(parent)> below;
      for (int i = 0; i < 5'000; ++i) below.push_back(WithCancel(node.ctx));
      Channel<bool> done;
      Go([=] {
        node.cancel();
        done.Send(true);
      });
      while (node.ctx.Err().ok()) Yield();
      (by_parent ? parent.cancel : node.cancel)();
      int alive = 0;
      for (auto& b : below) alive += b.ctx.Err().ok() || !IsDone(b.ctx);
      EXPECT_EQ(alive, 0);
      done.Recv();
      node.cancel();  // once more, with nothing left to wait for
    }
  }
}

TEST(ContextTest, AnAfterFuncThatNobodyCanCallLeavesNothingBehind) {
  auto held = std::make_shared<int>(1);
  for (const Context& never : {Background(), WithoutCancel(Background())}) {
    StopFunc stop = AfterFunc(never, [held] {});
    EXPECT_EQ(held.use_count(), 2);
    EXPECT_TRUE(stop());
    EXPECT_FALSE(stop());
    EXPECT_EQ(held.use_count(), 1);
    (void)AfterFunc(never, [held] {});
    EXPECT_EQ(held.use_count(), 1);
  }
}

}  // namespace
}  // namespace plimsoll
