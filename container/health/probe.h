// A Probe is one named question about this process, answered by a function.
//
//   Probe db{"db", [&] { return pool.Ping(); }};
//   ProbeResult result = RunProbe(db);      // {"db", UNAVAILABLE: connection refused}
//
// Blocking:  as the function does. No lock is held while it runs: on a goroutine it may park.
// Threads:   the function may be called by several threads at once.
// Throwing:  a std::exception that the function throws is the answer kInternal with its text. Any
//            other exception passes through (the runtime ends goroutines by such).
#ifndef PLIMSOLL_CONTAINER_HEALTH_PROBE_H_
#define PLIMSOLL_CONTAINER_HEALTH_PROBE_H_

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace plimsoll::container {

struct Probe {
  std::string name;
  std::function<absl::Status()> check;
};

struct ProbeResult {
  std::string name;
  absl::Status status;
};

ProbeResult RunProbe(const Probe& probe);

// OK for a name that reads well in a URL, a log line and a metric: 1 to 63 of a-z A-Z 0-9 . _ -
absl::Status CheckProbeName(std::string_view name);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_HEALTH_PROBE_H_
