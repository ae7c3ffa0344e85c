// Says in plain lines what limits were found, at which cgroup level, and what was ignored.
//
//   cgroup v2, own directory /sys/fs/cgroup/app
//   quota 1.5 CPUs at /sys/fs/cgroup (cpu.max, period 100 ms), 1 level above our own
//   P = 2 (quota 1.5 CPUs rounded up, at least 2; affinity mask of 8 CPUs)
//   memory limit 128 MiB at /sys/fs/cgroup (memory.max), 1 level above our own
//   ignored [bad-value] /sys/fs/cgroup/app/cpu.max: quota "lots" is not a positive number ...
#ifndef PLIMSOLL_CONTAINER_LIMITS_REPORT_H_
#define PLIMSOLL_CONTAINER_LIMITS_REPORT_H_

#include <string>
#include <vector>

#include "plimsoll/container/limits.h"

namespace plimsoll::container {

// One line each, without a newline at its end, fit for a log.
std::vector<std::string> Report(const Limits& limits);

// Of these lines those about what in the environment was not understood.
std::vector<std::string> ReportEnvironment(const Limits& limits);

// The levels as an indented tree, own directory innermost, the tightest of each kind marked "*".
std::vector<std::string> ReportTree(const Limits& limits);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_LIMITS_REPORT_H_
