// Walks from this process's cgroup up to the mount point and finds the tightest limit of each kind.
//
//   directory                    cpu.max          memory.max
//   /sys/fs/cgroup/pod7/c1       400000 100000    max            own directory
//   /sys/fs/cgroup/pod7          150000 100000 *  max
//   /sys/fs/cgroup               max 100000       134217728 *    mount point
//
// The kernel enforces every level, so the smallest value rules (*); on a tie the level nearest to
// the process is named. A missing file sets no limit; an unreadable or malformed one is reported
// and the other levels still hold.
#ifndef PLIMSOLL_CONTAINER_CGROUP_LIMIT_WALK_H_
#define PLIMSOLL_CONTAINER_CGROUP_LIMIT_WALK_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/cpu_max.h"
#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/resolver.h"

namespace plimsoll::container {

// A value with the place it was found in.
template <typename T>
struct Found {
  T value{};
  std::string at = {};    // the cgroup's directory
  std::string file = {};  // the file in it, whole path

  bool operator==(const Found&) const = default;
};

struct CpuLimits {
  CgroupVersion version = CgroupVersion::kNone;
  std::optional<std::string> dir = {};           // own directory; nullopt: it cannot be named
  std::optional<Found<Fraction>> quota = {};     // CPUs, in lowest terms
  std::optional<Found<int64_t>> period_us = {};  // of that quota
  std::optional<Found<uint64_t>> burst_us = {};  // own level; never raises P
  std::optional<Found<uint64_t>> weight = {};    // own level; v1: cpu.shares. A share, not a limit

  bool operator==(const CpuLimits&) const = default;
};

struct MemoryLimits {
  CgroupVersion version = CgroupVersion::kNone;
  std::optional<std::string> dir = {};
  std::optional<Found<uint64_t>> max = {};       // bytes; beyond it the kernel kills
  std::optional<Found<uint64_t>> high = {};      // bytes; beyond it the kernel throttles (v2)
  std::optional<Found<uint64_t>> swap_max = {};  // bytes of swap; v1: of memory and swap together

  // The smaller of max and high: what a heap must stay below. nullopt: neither is set.
  std::optional<Found<uint64_t>> Tightest() const;

  bool operator==(const MemoryLimits&) const = default;
};

struct PidsLimits {
  CgroupVersion version = CgroupVersion::kNone;
  std::optional<Found<uint64_t>> max = {};  // tasks: processes and threads

  bool operator==(const PidsLimits&) const = default;
};

struct CpusetLimits {
  CgroupVersion version = CgroupVersion::kNone;
  std::optional<Found<std::string>> cpus = {};  // as the kernel writes it: "0-3,8"

  bool operator==(const CpusetLimits&) const = default;
};

// One file that was read on the way: what the report shows as a tree.
struct Reading {
  std::string name = {};  // "cpu.max"
  std::string text = {};  // its first line, without the newline
  std::string note = {};  // why it does not count; empty: it does
  bool tightest = false;

  bool operator==(const Reading&) const = default;
};

struct Level {
  std::string dir = {};
  std::vector<Reading> readings = {};

  bool operator==(const Level&) const = default;
};

// The levels of one mounted hierarchy, own directory first.
struct Tree {
  CgroupVersion version = CgroupVersion::kNone;
  std::string controllers = {};  // "cpu,memory,pids": what was asked of it
  std::string path = {};         // the process's cgroup
  std::string mount_point = {};
  std::string mount_root = {};
  bool own_directory_known = true;
  std::vector<Level> levels = {};

  bool operator==(const Tree&) const = default;
};

struct WalkResult {
  CpuLimits cpu = {};
  MemoryLimits memory = {};
  PidsLimits pids = {};
  CpusetLimits cpuset = {};
  std::vector<Tree> trees = {};
  // A directory that should be there was not: the process may have been moved meanwhile.
  bool own_directory_vanished = false;
};

struct WalkOptions {
  // A limit of so many bytes or more limits nothing. 0: unknown, every limit counts.
  uint64_t mem_total = 0;
  uint64_t page_size = 4096;
  // Reads the first line of DIR/NAME; ours unless libcgroup is asked to. Arguments: the controller,
  // the hierarchy, the level's index in hierarchy.dirs, the file's name.
  std::function<FileText(std::string_view, const Hierarchy&, size_t, std::string_view)> read = {};
};

// Never fails: what cannot be used is told in `diagnostics`.
WalkResult WalkLimits(Files& files, const std::vector<CgroupLine>& lines,
                      const std::vector<CgroupMount>& mounts, const WalkOptions& options,
                      DiagnosticList& diagnostics);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_LIMIT_WALK_H_
