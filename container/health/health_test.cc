#include "plimsoll/container/health/health.h"

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

std::function<absl::Status()> Always(absl::Status status) {
  return [status] { return status; };
}

TEST(HealthTest, IsNeitherStartedNorReadyButAliveWhenBorn) {
  Health health;
  EXPECT_EQ(health.phase(), Phase::kStarting);
  EXPECT_FALSE(health.Check(Aspect::kStartup).ok());
  EXPECT_TRUE(health.Check(Aspect::kLive).ok());
  EXPECT_EQ(health.Check(Aspect::kReady).Text(false),
            "[-]started failed: MarkStarted() has not been called\n"
            "[+]not-draining ok\n"
            "ready check failed\n");
}

TEST(HealthTest, IsStartedAndReadyOnceMarked) {
  Health health;
  health.MarkStarted();
  health.MarkStarted();  // idempotent
  EXPECT_EQ(health.phase(), Phase::kRunning);
  EXPECT_TRUE(health.Check(Aspect::kStartup).ok());
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
}

TEST(HealthTest, StartupStaysPassedOnceItHasPassed) {
  Health health;
  bool warm = false;
  ASSERT_TRUE(
      health
          .AddProbe(Aspect::kStartup, "warm",
                    [&] { return warm ? absl::OkStatus() : absl::UnavailableError("cold"); })
          .ok());
  health.MarkStarted();
  EXPECT_FALSE(health.Check(Aspect::kStartup).ok());
  EXPECT_FALSE(health.Check(Aspect::kReady).ok()) << "ready asks startup where nobody else does";
  warm = true;
  EXPECT_TRUE(health.Check(Aspect::kStartup).ok());
  warm = false;
  EXPECT_TRUE(health.Check(Aspect::kStartup).ok());
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
}

TEST(HealthTest, ReadinessAloneCompletesStartupToo) {
  Health health;
  int asked = 0;
  ASSERT_TRUE(health
                  .AddProbe(Aspect::kStartup, "once",
                            [&] {
                              ++asked;
                              return absl::OkStatus();
                            })
                  .ok());
  health.MarkStarted();
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
  EXPECT_EQ(asked, 1);
}

TEST(HealthTest, EachAspectFailsByItsOwnProbesAlone) {
  const struct {
    Aspect failing;
    bool startup, live, ready;
  } kCases[] = {
      {Aspect::kStartup, false, true, false},
      {Aspect::kLive, true, false, true},
      {Aspect::kReady, true, true, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(AspectName(c.failing));
    Health health;
    health.MarkStarted();
    ASSERT_TRUE(health.AddProbe(c.failing, "p", Always(absl::UnavailableError("no"))).ok());
    EXPECT_EQ(health.Check(Aspect::kStartup).ok(), c.startup);
    EXPECT_EQ(health.Check(Aspect::kLive).ok(), c.live);
    EXPECT_EQ(health.Check(Aspect::kReady).ok(), c.ready);
  }
}

TEST(HealthTest, IsNotReadyWhileAGateIsClosed) {
  Health health;
  health.MarkStarted();
  absl::StatusOr<ReadinessGate> gate = health.AddGate("cache", "warming up");
  ASSERT_TRUE(gate.ok());
  EXPECT_EQ(health.Check(Aspect::kReady).Text(false),
            "[+]started ok\n[+]not-draining ok\n[-]cache failed: warming up\nready check failed\n");
  EXPECT_TRUE(health.Check(Aspect::kStartup).ok());
  EXPECT_TRUE(health.Check(Aspect::kLive).ok());
  gate->Open();
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
  gate->Close("rebuilding");
  EXPECT_FALSE(health.Check(Aspect::kReady).ok());
}

TEST(HealthTest, ForgetsAGateWhoseHandleIsGoneAndFreesItsName) {
  Health health;
  health.MarkStarted();
  {
    absl::StatusOr<ReadinessGate> gate = health.AddGate("cache", "warming up");
  }
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
  EXPECT_TRUE(health.AddGate("cache", "again").ok());
}

TEST(HealthTest, GateMayOutliveItsHealth) {
  std::optional<Health> health(std::in_place);
  absl::StatusOr<ReadinessGate> gate = health->AddGate("cache", "warming up");
  ASSERT_TRUE(gate.ok());
  health.reset();
  gate->Open();
  EXPECT_TRUE(gate->is_open());
}

TEST(HealthTest, DrainingFailsReadinessAtOnceAndLeavesLivenessAlone) {
  Health health;
  health.MarkStarted();
  EXPECT_TRUE(health.StartDraining("SIGTERM"));
  EXPECT_FALSE(health.StartDraining("second"));
  EXPECT_EQ(health.phase(), Phase::kDraining);
  EXPECT_EQ(health.Check(Aspect::kReady).Text(false),
            "[+]started ok\n[-]not-draining failed: draining: SIGTERM\nready check failed\n");
  EXPECT_TRUE(health.Check(Aspect::kLive).ok());
  EXPECT_TRUE(health.Check(Aspect::kStartup).ok());
}

TEST(HealthTest, MayDrainBeforeItHasStarted) {
  Health health;
  EXPECT_TRUE(health.StartDraining("SIGTERM"));
  health.MarkStarted();
  EXPECT_EQ(health.phase(), Phase::kDraining);
  EXPECT_FALSE(health.Check(Aspect::kReady).ok());
}

TEST(HealthTest, DrainThatBeginsDuringAReportIsInThatReport) {
  Health health;
  health.MarkStarted();
  ASSERT_TRUE(health
                  .AddProbe(Aspect::kReady, "slow",
                            [&] {
                              health.StartDraining("SIGTERM");
                              return absl::OkStatus();
                            })
                  .ok());
  const HealthReport report = health.Check(Aspect::kReady);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.phase, Phase::kDraining);
}

TEST(HealthTest, RefusesNamesThatAreTakenOrUnfit) {
  Health health;
  ASSERT_TRUE(health.AddProbe(Aspect::kReady, "db", Always(absl::OkStatus())).ok());
  absl::StatusOr<ReadinessGate> gate = health.AddGate("cache", "closed");
  ASSERT_TRUE(gate.ok());
  const struct {
    Aspect aspect;
    std::string name;
    absl::StatusCode code;
  } kCases[] = {
      {Aspect::kReady, "db", absl::StatusCode::kAlreadyExists},
      {Aspect::kReady, "cache", absl::StatusCode::kAlreadyExists},
      {Aspect::kLive, "db", absl::StatusCode::kOk},
      {Aspect::kLive, "cache", absl::StatusCode::kOk},
      {Aspect::kLive, "started", absl::StatusCode::kAlreadyExists},
      {Aspect::kReady, "not-draining", absl::StatusCode::kAlreadyExists},
      {Aspect::kReady, "", absl::StatusCode::kInvalidArgument},
      {Aspect::kReady, "a b", absl::StatusCode::kInvalidArgument},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(health.AddProbe(c.aspect, c.name, Always(absl::OkStatus())).code(), c.code);
  }
  EXPECT_EQ(health.AddGate("db", "closed").status(),
            absl::AlreadyExistsError("probe name \"db\" is taken in the ready check"));
}

TEST(HealthTest, HoldsNoLockWhileAProbeRuns) {
  Health health;
  health.MarkStarted();
  ASSERT_TRUE(
      health
          .AddProbe(Aspect::kReady, "nosy",
                    [&]() -> absl::Status {
                      if (!health.Check(Aspect::kLive).ok()) return absl::UnknownError("?");
                      // A second thread: a lock held here would stop it, and so us.
                      bool added = false;
                      std::thread([&] { added = health.AddGate("inner", "closed").ok(); }).join();
                      return added ? absl::OkStatus() : absl::UnknownError("not added");
                    })
          .ok());
  EXPECT_TRUE(health.Check(Aspect::kReady).ok());
}

TEST(HealthTest, NoReportThatStartsAfterDrainingIsReady) {
  Health health;
  health.MarkStarted();
  std::atomic<bool> drained{false};
  std::atomic<int> ready_after_drain{0};
  std::vector<std::thread> askers;
  for (int t = 0; t < 3; ++t) {
    askers.emplace_back([&, t] {
      for (int i = 0; i < 3000; ++i) {
        const bool was_drained = drained.load(std::memory_order_acquire);
        const HealthReport report = health.Check(Aspect::kReady);
        if (was_drained && (report.ok() || report.phase != Phase::kDraining)) ++ready_after_drain;
        if (absl::StatusOr<ReadinessGate> gate = health.AddGate("g" + std::to_string(t), "closed");
            gate.ok()) {
          gate->Open();
        }
      }
    });
  }
  std::thread drainer([&] {
    for (int i = 0; i < 200; ++i) (void)health.Check(Aspect::kStartup);
    health.StartDraining("SIGTERM");
    drained.store(true, std::memory_order_release);
  });
  for (std::thread& t : askers) t.join();
  drainer.join();
  EXPECT_EQ(ready_after_drain.load(), 0);
  EXPECT_FALSE(health.Check(Aspect::kReady).ok());
}

}  // namespace
}  // namespace plimsoll::container
