// The files in which the kernel tells how much a group of tasks is held back, parsed in place.
//
//   cpu.stat          "nr_periods 12\nnr_throttled 3\nthrottled_usec 91000\n"   v1: throttled_time,
//   ns cpu.pressure      "some avg10=0.00 ... total=1234\nfull avg10=... total=99\n"  in
//   microseconds memory.events     "low 0\nhigh 3\nmax 0\noom 0\noom_kill 0\n" schedstat "1234 5678
//   9\n"      ns run, ns waited on a run queue, times run /proc/stat        "cpu0 user nice system
//   idle iowait ...\n"                  in ticks of USER_HZ
//
// Memory:  none. A sampler calls these once a second for ever.
// Input:   anything. What is no decimal number, does not fit or is cut off is "not there": false,
//          or nullopt; never a part of a number.
#ifndef PLIMSOLL_CONTAINER_CGROUP_PRESSURE_FORMATS_H_
#define PLIMSOLL_CONTAINER_CGROUP_PRESSURE_FORMATS_H_

#include <sched.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::container {

// The number on the line "KEY NUMBER\n".
std::optional<uint64_t> FlatKeyed(std::string_view text, std::string_view key);

struct CpuStat {
  uint64_t nr_periods = 0;    // periods in which the group ran
  uint64_t nr_throttled = 0;  // of these, those in which it used its quota up
  uint64_t throttled_ns = 0;  // how long, summed over CPUs

  bool operator==(const CpuStat&) const = default;
};

// Nullopt where there is no bandwidth control: then v2's file has other lines only.
std::optional<CpuStat> ParseCpuStat(std::string_view text);

struct Psi {
  uint64_t some_ns = 0;  // time in which at least one task waited
  uint64_t full_ns = 0;  // time in which tasks waited and none got on

  bool operator==(const Psi&) const = default;
};

// A missing "full" line is zero: before Linux 5.13 cpu.pressure has none.
std::optional<Psi> ParsePsi(std::string_view text);

struct MemoryEvents {
  uint64_t high = 0;      // times that memory.high throttled us
  uint64_t max = 0;       // times that memory.max was hit; v1: memory.failcnt
  uint64_t oom = 0;       // times that reclaim could not help
  uint64_t oom_kill = 0;  // tasks killed

  bool operator==(const MemoryEvents&) const = default;
};

std::optional<MemoryEvents> ParseMemoryEvents(std::string_view text);

struct SchedStat {
  uint64_t run_ns = 0;
  uint64_t wait_ns = 0;

  bool operator==(const SchedStat&) const = default;
};

std::optional<SchedStat> ParseSchedStat(std::string_view text);

// Ticks (idle and iowait) of the CPUs in `cpus`, of the whole lines in `text`; nullopt: none is
// there.
std::optional<uint64_t> ParseIdleTicks(std::string_view text, const cpu_set_t& cpus);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_PRESSURE_FORMATS_H_
