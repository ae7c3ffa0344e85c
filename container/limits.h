// Limits tells how many CPUs, how much memory and how many tasks this process may use, where each
// limit was found, and what was ignored and why.
//
//   const container::Limits limits = container::Detect();
//   StartThreads(limits.procs.value);
//   for (const std::string& line : container::Report(limits)) Log(line);    // limits_report.h
//
// Order:    an explicit value in the options; GOMAXPROCS and GOMEMLIMIT in the environment; the
//           cgroups; the affinity mask. Nonsense in one is reported, and the next one holds.
// Levels:   every visible cgroup from the process's own to the mount point counts; the smallest
//           value rules. cgroup v1, v2 and hybrids of both.
// Failure:  none. What cannot be read or understood is in `diagnostics`, with the file, the field
//           and the text seen; the limits that could be read still hold.
// Cost:     tens of system calls, below a millisecond. Allocates.
// Stack:    up to 64 KiB with libcgroup. Call it on a thread's stack, never on a goroutine's.
// Threads:  any number may call Detect at once.
#ifndef PLIMSOLL_CONTAINER_LIMITS_H_
#define PLIMSOLL_CONTAINER_LIMITS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/limit_walk.h"
#include "plimsoll/container/procs_rule.h"

namespace plimsoll::container {

// Who decided a value, in the order of precedence.
enum class Source { kExplicit, kEnvironment, kCgroup, kAffinity, kNone };

// "explicit", "environment", "cgroup", "affinity", "none".
std::string_view ToString(Source source);

struct ProcsChoice {
  int value = 1;
  Source source = Source::kNone;
  std::string reason = {};  // "quota 1.5 CPUs, rounded up, at least 2"

  bool operator==(const ProcsChoice&) const = default;
};

// The memory that a heap must stay below, before what else the process uses is taken off.
struct MemoryChoice {
  std::optional<uint64_t> value = {};  // bytes; nullopt: no limit
  Source source = Source::kNone;
  std::string reason = {};

  bool operator==(const MemoryChoice&) const = default;
};

struct Limits {
  CpuLimits cpu;
  MemoryLimits memory;
  PidsLimits pids;
  CpusetLimits cpuset;

  int affinity = 1;        // CPUs in the affinity mask; it heeds the cpuset
  uint64_t mem_total = 0;  // bytes of the machine; 0: unknown
  uint64_t page_size = 4096;

  ProcsChoice procs;  // P, by the order above
  MemoryChoice mem_limit;

  // P by the two rules in use elsewhere, from the cgroup and the affinity mask alone.
  int procs_ceil_min2 = 1;   // Go's
  int procs_floor_min1 = 1;  // automaxprocs's
  // Nine tenths of memory.max, the usual guess for a heap; for comparison and for `plimsoll exec`.
  std::optional<uint64_t> heap_90pct = {};

  std::vector<Tree> trees = {};  // every level that was read, for the report
  std::vector<Diagnostic> diagnostics = {};
  bool used_libcgroup = false;

  // Whether the facts and choices are the same. How they were come by, what was read on the way and
  // what was ignored may differ.
  bool SameLimits(const Limits& other) const;
};

struct DetectOptions {
  std::string root = "/";  // read /proc and /sys below this directory

  // Explicit values: they win over the environment and the cgroup.
  std::optional<int> procs = {};
  std::optional<int64_t> mem_limit = {};  // bytes; kNoMemLimit of go_env.h: none

  ProcsRule rule = {};

  // What is asked of the system unless given.
  std::optional<int> affinity = {};
  std::optional<uint64_t> mem_total = {};
  std::optional<uint64_t> page_size = {};

  // Looks a variable up; null asks the process's environment.
  std::function<std::optional<std::string>(const char* name)> environment = {};

  // Reads the files; null reads the real ones below `root`. Must outlive the call.
  Files* files = nullptr;

  // Ask libcgroup for the mount points and first values, our own reader for the rest. nullopt:
  // where the build has it, `root` is "/" and `files` is null. Our own reader alone finds the same.
  std::optional<bool> use_libcgroup = {};
};

Limits Detect(const DetectOptions& options = {});

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_LIMITS_H_
