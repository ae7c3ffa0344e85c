#include "plimsoll/container/health/health.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace plimsoll::container {
namespace {

constexpr std::string_view kStarted = "started";
constexpr std::string_view kNotDraining = "not-draining";

}  // namespace

absl::Status Health::CheckNameIsFree(Aspect aspect, std::string_view name) const {
  if (absl::Status fit = CheckProbeName(name); !fit.ok()) return fit;
  const auto& probes = probes_[static_cast<int>(aspect)];
  const bool taken =
      name == kStarted || name == kNotDraining ||
      std::ranges::any_of(probes, [&](const auto& probe) { return probe->name == name; }) ||
      (aspect == Aspect::kReady && std::ranges::any_of(gates_, [&](const NamedGate& gate) {
         return gate.name == name && !gate.state->abandoned();
       }));
  if (!taken) return absl::OkStatus();
  std::string text = "probe name \"";
  text.append(name).append("\" is taken in the ").append(AspectName(aspect)).append(" check");
  return absl::AlreadyExistsError(text);
}

absl::Status Health::AddProbe(Aspect aspect, std::string name,
                              std::function<absl::Status()> check) {
  std::lock_guard hold(mu_);
  if (absl::Status free = CheckNameIsFree(aspect, name); !free.ok()) return free;
  probes_[static_cast<int>(aspect)].push_back(
      std::make_shared<const Probe>(Probe{std::move(name), std::move(check)}));
  return absl::OkStatus();
}

absl::StatusOr<ReadinessGate> Health::AddGate(std::string name, std::string why) {
  std::lock_guard hold(mu_);
  if (absl::Status free = CheckNameIsFree(Aspect::kReady, name); !free.ok()) return free;
  // Swept here, and not when a handle goes away: a handle may outlive this object.
  std::erase_if(gates_, [](const NamedGate& gate) { return gate.state->abandoned(); });
  auto state = std::make_shared<GateState>(std::move(why));
  gates_.push_back({std::move(name), state});
  return ReadinessGate(std::move(state));
}

void Health::MarkStarted() { marked_started_.store(true, std::memory_order_release); }

bool Health::StartDraining(std::string why) {
  std::lock_guard hold(mu_);
  if (draining_.load(std::memory_order_relaxed)) return false;
  why_draining_ = std::move(why);
  draining_.store(true, std::memory_order_release);
  return true;
}

Phase Health::phase() const {
  if (draining_.load(std::memory_order_acquire)) return Phase::kDraining;
  return marked_started_.load(std::memory_order_acquire) ? Phase::kRunning : Phase::kStarting;
}

HealthReport Health::Check(Aspect aspect) {
  HealthReport report{aspect, phase(), {}};
  switch (aspect) {
    case Aspect::kStartup:
      CheckStartup(report);
      break;
    case Aspect::kLive:
      RunProbes(Aspect::kLive, report);
      break;
    case Aspect::kReady:
      CheckReadiness(report);
      break;
  }
  return report;
}

void Health::CheckStartup(HealthReport& report) {
  absl::Status started;
  if (!marked_started_.load(std::memory_order_acquire)) {
    started = absl::UnavailableError("MarkStarted() has not been called");
  }
  report.results.push_back({std::string(kStarted), started});
  // Having started is history: a startup probe that fails later says nothing about it.
  if (startup_passed_.load(std::memory_order_acquire)) return;
  RunProbes(Aspect::kStartup, report);
  if (report.ok()) startup_passed_.store(true, std::memory_order_release);
}

void Health::CheckReadiness(HealthReport& report) {
  CheckStartup(report);
  {
    std::lock_guard hold(mu_);
    // Gates first, draining last (below): a report must not be ready because it looked at
    // draining_ before StartDraining() and at the rest after.
    for (const NamedGate& gate : gates_) {
      if (!gate.state->abandoned()) report.results.push_back({gate.name, gate.state->Check()});
    }
  }
  RunProbes(Aspect::kReady, report);
  std::lock_guard hold(mu_);
  absl::Status draining;
  if (draining_.load(std::memory_order_relaxed)) {
    draining = absl::UnavailableError(absl::StrCat("draining: ", why_draining_));
    report.phase = Phase::kDraining;  // it may have begun while the probes ran
  }
  report.results.insert(report.results.begin() + 1, {std::string(kNotDraining), draining});
}

void Health::RunProbes(Aspect aspect, HealthReport& report) {
  std::vector<std::shared_ptr<const Probe>> probes;
  {
    std::lock_guard hold(mu_);
    probes = probes_[static_cast<int>(aspect)];
  }
  for (const auto& probe : probes) report.results.push_back(RunProbe(*probe));
}

}  // namespace plimsoll::container
