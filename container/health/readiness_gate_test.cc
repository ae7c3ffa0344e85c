#include "plimsoll/container/health/readiness_gate.h"

#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

TEST(ReadinessGateTest, IsClosedUntilOpenedAndSaysWhy) {
  auto state = std::make_shared<GateState>("warming up");
  const ReadinessGate gate(state);
  EXPECT_FALSE(gate.is_open());
  EXPECT_EQ(state->Check(), absl::UnavailableError("warming up"));
  gate.Open();
  EXPECT_TRUE(gate.is_open());
  gate.Close("rebuilding");
  EXPECT_EQ(state->Check(), absl::UnavailableError("rebuilding"));
}

TEST(ReadinessGateTest, StopsCountingWhenItsHandleGoesAway) {
  auto state = std::make_shared<GateState>("closed");
  {
    const ReadinessGate gate(state);
  }
  EXPECT_TRUE(state->abandoned());
  EXPECT_TRUE(state->Check().ok());
}

TEST(ReadinessGateTest, MovesItsVetoWithTheHandle) {
  auto state = std::make_shared<GateState>("closed");
  ReadinessGate first(state);
  {
    const ReadinessGate second = std::move(first);
    EXPECT_FALSE(state->abandoned());
    EXPECT_FALSE(second.is_open());
  }
  EXPECT_TRUE(state->abandoned());
}

TEST(ReadinessGateTest, AssignmentAbandonsTheGateThatItReplaces) {
  auto a = std::make_shared<GateState>("a");
  auto b = std::make_shared<GateState>("b");
  ReadinessGate gate(a);
  gate = ReadinessGate(b);
  EXPECT_TRUE(a->abandoned());
  EXPECT_FALSE(b->abandoned());
}

TEST(ReadinessGateTest, HandleThatWasMovedFromDoesNothing) {
  auto state = std::make_shared<GateState>("closed");
  ReadinessGate from(state);
  const ReadinessGate to = std::move(from);
  from.Open();  // NOLINT(bugprone-use-after-move): the header promises this
  EXPECT_FALSE(to.is_open());
  EXPECT_FALSE(from.is_open());
}

TEST(ReadinessGateTest, PublishesWhatPrecedesOpen) {
  auto state = std::make_shared<GateState>("closed");
  const ReadinessGate gate(state);
  int payload = 0;  // plain: TSan reports a gate that does not order
  std::thread opener([&] {
    payload = 42;
    gate.Open();
  });
  while (!state->Check().ok()) std::this_thread::yield();
  EXPECT_EQ(payload, 42);
  opener.join();
}

}  // namespace
}  // namespace plimsoll::container
