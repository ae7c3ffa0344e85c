// Health is what this process answers when asked whether it has started, lives, and wants work.
//
//   Health health;
//   (void)health.AddProbe(Aspect::kReady, "db", [&] { return pool.Ping(); });
//   ReadinessGate cache = *health.AddGate("cache", "warming up");
//   health.MarkStarted();                                  // listeners are open
//   HealthReport report = health.Check(Aspect::kReady);    // 503, "[-]cache failed: warming up"
//   health.StartDraining("SIGTERM");                       // not ready from this line on
//
//   aspect     passes when                                              a failure tells Kubernetes
//   to kStartup   MarkStarted() was called, and each startup probe has     wait, then restart
//              passed in one and the same report; after that always
//   kLive      each live probe passes; draining does not matter         restart the container
//   kReady     kStartup passes, it is not draining, each gate is        send it no new work
//              open and each ready probe passes
//
// Sockets:   none. A server asks Check() and sends HttpStatus() with Text() or Json().
// Blocking:  Check runs the probes on the caller, one after another, with no lock held; the rest
//            never blocks, but for a lock held over a few instructions. phase() takes none.
// Threads:   any.
// Ordering:  what precedes MarkStarted() or StartDraining() is visible after a report or a phase()
//            that shows it. Once StartDraining() has returned, no report that starts is ready.
// Liveness:  give it what only a restart would mend, as a Heartbeat; never a dependency, or one
//            slow database restarts every replica.
// Misuse:    a name that is taken in its aspect, or unfit, is a Status.
#ifndef PLIMSOLL_CONTAINER_HEALTH_HEALTH_H_
#define PLIMSOLL_CONTAINER_HEALTH_HEALTH_H_

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/health/health_report.h"
#include "plimsoll/container/health/probe.h"
#include "plimsoll/container/health/readiness_gate.h"

namespace plimsoll::container {

class Health {
 public:
  Health() = default;
  Health(const Health&) = delete;
  Health& operator=(const Health&) = delete;

  // Adds a probe for as long as this object lives. Names "started" and "not-draining" are ours.
  absl::Status AddProbe(Aspect aspect, std::string name, std::function<absl::Status()> check);

  // Adds a gate, closed for `why`, that counts for kReady while its handle lives.
  absl::StatusOr<ReadinessGate> AddGate(std::string name, std::string why);

  // The service is set up. Idempotent; cannot be undone.
  void MarkStarted();

  // True for the call that began it. Cannot be undone; later reasons are dropped.
  bool StartDraining(std::string why);

  // Cheap enough for each request ("Connection: close" while draining).
  Phase phase() const;

  HealthReport Check(Aspect aspect);

 private:
  struct NamedGate {
    std::string name;
    std::shared_ptr<GateState> state;
  };

  absl::Status CheckNameIsFree(Aspect aspect, std::string_view name) const;  // holds mu_
  void CheckStartup(HealthReport& report);
  void CheckReadiness(HealthReport& report);
  void RunProbes(Aspect aspect, HealthReport& report);

  // Each is set once and never cleared. Release in the setters, acquire in phase() and Check().
  std::atomic<bool> marked_started_{false};
  std::atomic<bool> startup_passed_{false};
  std::atomic<bool> draining_{false};

  mutable std::mutex mu_;  // guards what follows; GateState's lock may be taken under it
  std::vector<std::shared_ptr<const Probe>> probes_[kAspects];
  std::vector<NamedGate> gates_;
  std::string why_draining_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_HEALTH_HEALTH_H_
