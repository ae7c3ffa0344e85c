// JudgePressure says whether somebody withholds CPU time from this process, and who.
//
//   verdict        what it means                                    what helps
//   kUnknown       nothing to go by: no time passed, no counters
//   kFree          whoever wanted a CPU got one
//   kThrottled     a quota that we can see was used up              fewer Ps, pacing, a higher
//   quota kHiddenQuota   a quota that we cannot see holds us back: an     the same; ask who set it:
//   a pod
//                  ancestor outside of our namespace or mount       or node level above ours
//   kContended     others use our CPUs                              CPU requests, another node
//
// How a hidden quota shows itself: threads that wanted a CPU all the time (they ran or waited on a
// run queue) got less than the CPUs, the affinity mask and the visible quota allow, and our CPUs
// stood idle meanwhile. Had the CPUs been busy, neighbours would be to blame. Bursts are no
// evidence: a hundred threads that queue for 100 ms in a second wait for each other.
#ifndef PLIMSOLL_CONTAINER_PRESSURE_VERDICT_H_
#define PLIMSOLL_CONTAINER_PRESSURE_VERDICT_H_

#include <optional>
#include <string_view>

namespace plimsoll::container {

enum class PressureVerdict { kUnknown, kFree, kThrottled, kHiddenQuota, kContended };

// "unknown", "free", "throttled", "hidden-quota", "contended".
std::string_view ToString(PressureVerdict verdict);

// What happened in one interval; all in CPUs, that is CPU seconds a second.
struct PressureFacts {
  double wall_s = 0;
  bool throttled_visibly = false;    // nr_throttled rose at a level that we can see
  bool have_threads = false;         // the three below were measured
  int saturated_threads = 0;         // wanted a CPU all the time
  double saturated_run = 0;          // what these got together
  double run_delay = 0;              // threads that waited, on average
  double used = 0;                   // by all of the process
  double cpus = 1;                   // in the affinity mask
  std::optional<double> quota = {};  // the tightest that we can see
  std::optional<double> idle = {};   // of the CPUs in the mask
};

PressureVerdict JudgePressure(const PressureFacts& facts);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_PRESSURE_VERDICT_H_
