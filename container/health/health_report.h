// A HealthReport is the answer to one question about health, as a value, as text and as JSON.
//
//   GET /readyz            200  "ok\n"
//   GET /readyz?verbose    200  "[+]started ok\n[+]not-draining ok\n[+]db ok\nready check passed\n"
//   GET /readyz            503  "[+]started ok\n[-]db failed: refused\nready check failed\n"
//
// The text is that of the Kubernetes API server's own endpoints, so people and scripts know it.
// Input:  reasons may hold any bytes; text and JSON stay one line an entry and valid UTF-8.
#ifndef PLIMSOLL_CONTAINER_HEALTH_HEALTH_REPORT_H_
#define PLIMSOLL_CONTAINER_HEALTH_HEALTH_REPORT_H_

#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/health/probe.h"

namespace plimsoll::container {

// The three questions that Kubernetes asks.
enum class Aspect { kStartup, kLive, kReady };
inline constexpr int kAspects = 3;
std::string_view AspectName(Aspect aspect);  // "startup", "live", "ready"

// Where the process is in its life.
enum class Phase { kStarting, kRunning, kDraining };
std::string_view PhaseName(Phase phase);  // "starting", "running", "draining"

struct HealthReport {
  Aspect aspect;
  Phase phase;
  std::vector<ProbeResult> results;

  bool ok() const;
  // 200 or 503.
  int HttpStatus() const { return ok() ? 200 : 503; }
  // "ok\n" when all is well and `verbose` is not asked for; else one line an entry and a last line.
  std::string Text(bool verbose) const;
  // {"aspect":"ready","ok":false,"phase":"running","probes":[{"name":"db","ok":false,
  //  "code":"UNAVAILABLE","why":"refused"}]} without blanks, and a newline.
  std::string Json() const;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_HEALTH_HEALTH_REPORT_H_
