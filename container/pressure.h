// Pressure measures how much the kernel holds this process back: throttling, stalls, memory events.
//
//   Pressure pressure(PlacesOf(limits));
//   for (;;) {
//     const PressureReading reading = pressure.Poll();       // as often as you like; 1 s is good
//     if (reading.verdict == PressureVerdict::kThrottled) RunFewerPs(reading.worst_level);
//   }
//
// Sources:  cpu.stat of every level that we can see, since each counts only its own throttling;
//           cpu.pressure, memory.pressure and memory.events of our own level; schedstat of our
//           threads; /proc/stat. Nothing needs privilege; all work on a read-only mount.
// Steady:   a Poll allocates nothing: descriptors stay open and are read with pread(2), one call
// each. Missing:  what a kernel does not have (PSI on v1, bandwidth control at the root) is absent
//           from the reading and no error. What exists and cannot be read or understood is in
//           diagnostics().
// Moving:   a process that moves to another cgroup keeps reading the old one: make a new Pressure
//           when LimitsWatcher reports a change.
// Threads:  one at a time, except event_fd(), that any thread may poll.
#ifndef PLIMSOLL_CONTAINER_PRESSURE_H_
#define PLIMSOLL_CONTAINER_PRESSURE_H_

#include <sched.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/pressure_formats.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/pressure_verdict.h"
#include "plimsoll/container/run_delay.h"

namespace plimsoll::container {

// Where to look. Made from Limits, or by hand in a test.
struct PressurePlaces {
  std::vector<std::string> cpu_levels = {};    // own directory first, as far up as can be seen
  std::optional<std::string> cpu_dir = {};     // own, if it can be named
  std::optional<std::string> memory_dir = {};  // own, if it can be named
  CgroupVersion memory_version = CgroupVersion::kNone;
  std::optional<double> quota = {};  // the tightest that can be seen, in CPUs

  bool operator==(const PressurePlaces&) const = default;
};

PressurePlaces PlacesOf(const Limits& limits);

// One interval: from the Poll before to this one. The first has only totals.
struct PressureReading {
  int64_t at_ns = 0;     // monotonic
  double wall_s = 0;     // 0: the first
  double cpus_used = 0;  // by this process
  double run_delay = 0;  // threads that waited for a CPU, on average; 0 when it cannot be known
  int threads = 0;
  std::optional<double> idle_cpus = {};  // of those in our affinity mask

  // Of the visible level whose nr_throttled rose most; else of our own. Absent: no level has
  // counters.
  std::optional<CpuStat> throttling = {};  // rise in this interval
  std::optional<CpuStat> throttling_total = {};
  size_t worst_level = 0;  // index in cpu_levels

  std::optional<Psi> cpu = {};  // rise in this interval
  std::optional<Psi> memory = {};
  std::optional<MemoryEvents> events = {};  // rise in this interval
  std::optional<MemoryEvents> events_total = {};
  PressureVerdict verdict = PressureVerdict::kUnknown;
};

struct PressureOptions {
  Files* files = nullptr;  // null: the real ones; event_fd() needs those. Must outlive this
  std::string task_dir = "/proc/self/task";
  std::optional<cpu_set_t> cpus = {};     // absent: our affinity mask, read at each Poll
  std::function<int64_t()> now_ns = {};   // null: CLOCK_MONOTONIC
  std::function<int64_t()> used_ns = {};  // null: CLOCK_PROCESS_CPUTIME_ID
};

class Pressure {
 public:
  explicit Pressure(PressurePlaces places, PressureOptions options = {});
  ~Pressure();
  Pressure(const Pressure&) = delete;
  Pressure& operator=(const Pressure&) = delete;

  PressureReading Poll();

  // Readable when memory.events changed (memory.high was passed, memory.max hit, somebody was
  // killed), without waiting for the next Poll; -1 where that cannot be had: v1 needs write access
  // for it. Clear with TakeEvent.
  int event_fd() const { return event_fd_; }
  // True when there was something to clear.
  bool TakeEvent();

  const PressurePlaces& places() const { return places_; }
  // Each file is complained of once.
  std::vector<Diagnostic> diagnostics() { return diagnostics_; }

 private:
  struct Source {
    std::string path = {};
    int handle = -1;
    bool complained = false;
  };

  Source Open(std::string path);
  std::optional<std::string_view> Read(Source& source);
  void Complain(Source& source, std::string_view seen, std::string_view why);
  void WatchEvents();
  void ReadThrottling(PressureReading& reading);
  std::optional<Psi> ReadPsi(Source& source, std::optional<Psi>& last);
  void ReadMemoryEvents(PressureReading& reading);
  void ReadIdle(PressureReading& reading);

  const PressurePlaces places_;
  const PressureOptions options_;
  SystemFiles own_files_;
  Files& files_;
  RunDelay threads_;
  std::vector<char> buffer_;  // for every file: /proc/stat is the largest

  std::vector<Source> cpu_stat_;
  std::vector<std::optional<CpuStat>> last_cpu_stat_;
  Source cpu_pressure_, memory_pressure_, memory_events_, oom_control_, proc_stat_;
  std::optional<Psi> last_cpu_, last_memory_;
  std::optional<MemoryEvents> last_events_;
  std::optional<uint64_t> last_idle_ticks_;
  int64_t last_ns_ = 0;
  int64_t last_used_ns_ = 0;
  bool first_ = true;
  int event_fd_ = -1;
  std::vector<Diagnostic> diagnostics_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_PRESSURE_H_
