#include "plimsoll/container/health/health_report.h"

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

HealthReport Ready(std::vector<ProbeResult> results) {
  return {Aspect::kReady, Phase::kRunning, std::move(results)};
}

TEST(HealthReportTest, SaysOkInOneWordUnlessAskedForMore) {
  const HealthReport report = Ready({{"started", absl::OkStatus()}, {"db", absl::OkStatus()}});
  EXPECT_EQ(report.HttpStatus(), 200);
  EXPECT_EQ(report.Text(/*verbose=*/false), "ok\n");
  EXPECT_EQ(report.Text(/*verbose=*/true), "[+]started ok\n[+]db ok\nready check passed\n");
  EXPECT_EQ(report.Json(), R"({"aspect":"ready","ok":true,"phase":"running","probes":[)"
                           R"({"name":"started","ok":true},{"name":"db","ok":true}]})"
                           "\n");
}

TEST(HealthReportTest, NamesWhatFailedAndWhyWithoutBeingAsked) {
  const HealthReport report =
      Ready({{"started", absl::OkStatus()}, {"db", absl::UnavailableError("refused")}});
  EXPECT_EQ(report.HttpStatus(), 503);
  EXPECT_EQ(report.Text(/*verbose=*/false),
            "[+]started ok\n[-]db failed: refused\nready check failed\n");
  EXPECT_EQ(report.Json(), R"({"aspect":"ready","ok":false,"phase":"running","probes":[)"
                           R"({"name":"started","ok":true},)"
                           R"({"name":"db","ok":false,"code":"UNAVAILABLE","why":"refused"}]})"
                           "\n");
}

TEST(HealthReportTest, KeepsOneLineAnEntryWhateverTheReasonHolds) {
  const HealthReport report = Ready({{"db", absl::UnknownError("a\n[+]db ok\n\xff")}});
  EXPECT_EQ(report.Text(false), "[-]db failed: a\\n[+]db ok\\n\\xff\nready check failed\n");
  EXPECT_EQ(report.Json(),
            R"({"aspect":"ready","ok":false,"phase":"running","probes":[)"
            R"({"name":"db","ok":false,"code":"UNKNOWN","why":"a\n[+]db ok\n\ufffd"}]})"
            "\n");
}

TEST(HealthReportTest, PassesWhenThereIsNothingToAsk) {
  const HealthReport report{Aspect::kLive, Phase::kDraining, {}};
  EXPECT_EQ(report.HttpStatus(), 200);
  EXPECT_EQ(report.Text(true), "live check passed\n");
  EXPECT_EQ(report.Json(), R"({"aspect":"live","ok":true,"phase":"draining","probes":[]})"
                           "\n");
}

TEST(HealthReportTest, NamesEachAspectAndPhase) {
  EXPECT_EQ(AspectName(Aspect::kStartup), "startup");
  EXPECT_EQ(AspectName(Aspect::kLive), "live");
  EXPECT_EQ(AspectName(Aspect::kReady), "ready");
  EXPECT_EQ(PhaseName(Phase::kStarting), "starting");
  EXPECT_EQ(PhaseName(Phase::kRunning), "running");
  EXPECT_EQ(PhaseName(Phase::kDraining), "draining");
}

}  // namespace
}  // namespace plimsoll::container
