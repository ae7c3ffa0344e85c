#include "plimsoll/container/pressure.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {
namespace {

// /proc/stat of 250 CPUs; of a larger machine the CPUs beyond are not looked at.
constexpr size_t kBuffer = 32 * 1024;

int64_t ClockNs(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Counters only rise; one that fell belongs to a group that was made anew.
uint64_t Rise(uint64_t before, uint64_t after) { return after >= before ? after - before : after; }

std::string Join(const std::string& dir, std::string_view name) {
  return dir.ends_with('/') ? dir + std::string(name) : Concat(dir, "/", name);
}

}  // namespace

PressurePlaces PlacesOf(const Limits& limits) {
  PressurePlaces places;
  places.cpu_dir = limits.cpu.dir;
  places.memory_dir = limits.memory.dir;
  places.memory_version = limits.memory.version;
  if (limits.cpu.quota) {
    const Fraction& quota = limits.cpu.quota->value;
    places.quota = static_cast<double>(quota.num) / static_cast<double>(quota.den);
  }
  for (const Tree& tree : limits.trees) {
    const std::string names = Concat(",", tree.controllers, ",");
    if (names.find(",cpu,") == std::string::npos) continue;
    for (const Level& level : tree.levels) places.cpu_levels.push_back(level.dir);
    break;
  }
  return places;
}

Pressure::Pressure(PressurePlaces places, PressureOptions options)
    : places_(std::move(places)),
      options_(std::move(options)),
      files_(options_.files != nullptr ? *options_.files : own_files_),
      threads_(options_.task_dir),
      buffer_(kBuffer),
      last_cpu_stat_(places_.cpu_levels.size()) {
  for (const std::string& level : places_.cpu_levels) {
    cpu_stat_.push_back(Open(Join(level, "cpu.stat")));
  }
  if (places_.cpu_dir) cpu_pressure_ = Open(Join(*places_.cpu_dir, "cpu.pressure"));
  if (places_.memory_dir) {
    memory_pressure_ = Open(Join(*places_.memory_dir, "memory.pressure"));
    const bool v1 = places_.memory_version == CgroupVersion::kV1;
    memory_events_ = Open(Join(*places_.memory_dir, v1 ? "memory.failcnt" : "memory.events"));
    if (v1) oom_control_ = Open(Join(*places_.memory_dir, "memory.oom_control"));
    if (!v1) WatchEvents();
  }
  proc_stat_ = Open("/proc/stat");
}

Pressure::~Pressure() {
  for (const Source* source :
       {&cpu_pressure_, &memory_pressure_, &memory_events_, &oom_control_, &proc_stat_}) {
    if (source->handle >= 0) files_.Close(source->handle);
  }
  for (const Source& source : cpu_stat_) {
    if (source.handle >= 0) files_.Close(source.handle);
  }
  if (event_fd_ >= 0) close(event_fd_);
}

Pressure::Source Pressure::Open(std::string path) {
  Source source;
  source.path = std::move(path);
  source.handle = files_.Open(source.path.c_str());
  // A kernel without PSI, or the root of the tree, has no such file, and that is no fault.
  if (source.handle < 0 && source.handle != -ENOENT && source.handle != -ENOTDIR) {
    Complain(source, {}, Concat("cannot be opened: ", strerror(-source.handle)));
  }
  return source;
}

void Pressure::Complain(Source& source, std::string_view seen, std::string_view why) {
  if (source.complained) return;
  source.complained = true;
  DiagnosticList list;
  list.Add("bad-value", source.path, {}, seen, why);
  for (Diagnostic& diagnostic : list.Take()) diagnostics_.push_back(std::move(diagnostic));
}

std::optional<std::string_view> Pressure::Read(Source& source) {
  if (source.handle < 0) return std::nullopt;
  const int64_t length = files_.ReadAt(source.handle, buffer_.data(), buffer_.size(), 0);
  if (length >= 0) return std::string_view(buffer_.data(), static_cast<size_t>(length));
  // PSI that is compiled in and switched off answers EOPNOTSUPP: as good as missing.
  if (length != -EOPNOTSUPP) {
    Complain(source, {}, Concat("cannot be read: ", strerror(static_cast<int>(-length))));
  }
  return std::nullopt;
}

void Pressure::WatchEvents() {
  if (memory_events_.handle < 0 || options_.files != nullptr) return;
  event_fd_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  // By the descriptor, so that it is the very file that Poll reads, below whatever root.
  const std::string by_handle = Concat("/proc/self/fd/", memory_events_.handle);
  if (event_fd_ >= 0 && inotify_add_watch(event_fd_, by_handle.c_str(), IN_MODIFY) >= 0) return;
  Complain(memory_events_, {},
           Concat("cannot be watched: ", strerror(errno), "; Poll still reads it"));
  memory_events_.complained = false;  // another matter than its contents
  if (event_fd_ >= 0) close(event_fd_);
  event_fd_ = -1;
}

bool Pressure::TakeEvent() {
  bool any = false;
  alignas(inotify_event) char events[1024];
  while (event_fd_ >= 0 && read(event_fd_, events, sizeof events) > 0) any = true;
  return any;
}

void Pressure::ReadThrottling(PressureReading& reading) {
  for (size_t level = 0; level < cpu_stat_.size(); ++level) {
    const std::optional<std::string_view> text = Read(cpu_stat_[level]);
    if (!text) continue;
    const std::optional<CpuStat> now = ParseCpuStat(*text);
    if (!now) {
      // Without the controller the file has only usage; anything else we should know of.
      if (!FlatKeyed(*text, "usage_usec")) {
        Complain(cpu_stat_[level], *text, "is not cpu.stat as the kernel writes it");
      }
      continue;
    }
    CpuStat rise;
    if (const std::optional<CpuStat>& last = last_cpu_stat_[level]) {
      rise = {Rise(last->nr_periods, now->nr_periods), Rise(last->nr_throttled, now->nr_throttled),
              Rise(last->throttled_ns, now->throttled_ns)};
    }
    last_cpu_stat_[level] = now;
    if (!reading.throttling || rise.nr_throttled > reading.throttling->nr_throttled) {
      reading.throttling = rise;
      reading.throttling_total = now;
      reading.worst_level = level;
    }
  }
}

std::optional<Psi> Pressure::ReadPsi(Source& source, std::optional<Psi>& last) {
  const std::optional<std::string_view> text = Read(source);
  if (!text) return std::nullopt;
  const std::optional<Psi> now = ParsePsi(*text);
  if (!now) {
    Complain(source, *text, "is not a pressure file as the kernel writes it");
    return std::nullopt;
  }
  Psi rise;
  if (last) rise = {Rise(last->some_ns, now->some_ns), Rise(last->full_ns, now->full_ns)};
  last = now;
  return rise;
}

void Pressure::ReadMemoryEvents(PressureReading& reading) {
  const std::optional<std::string_view> text = Read(memory_events_);
  if (!text) return;
  std::optional<MemoryEvents> now;
  if (places_.memory_version == CgroupVersion::kV1) {
    std::string_view number = *text;
    if (number.ends_with('\n')) {
      number.remove_suffix(1);
      MemoryEvents events;
      if (ParseDigits(number, &events.max)) now = events;
    }
  } else {
    now = ParseMemoryEvents(*text);
  }
  if (!now) {
    Complain(memory_events_, *text, "is not as the kernel writes it");
    return;
  }
  // From here on `text` is gone: one buffer serves all files.
  if (const std::optional<std::string_view> control = Read(oom_control_)) {
    now->oom_kill = FlatKeyed(*control, "oom_kill").value_or(0);
  }
  MemoryEvents rise;
  if (last_events_) {
    rise = {Rise(last_events_->high, now->high), Rise(last_events_->max, now->max),
            Rise(last_events_->oom, now->oom), Rise(last_events_->oom_kill, now->oom_kill)};
  }
  last_events_ = now;
  reading.events = rise;
  reading.events_total = now;
}

void Pressure::ReadIdle(PressureReading& reading) {
  const std::optional<std::string_view> text = Read(proc_stat_);
  cpu_set_t cpus;
  if (options_.cpus) {
    cpus = *options_.cpus;
  } else if (sched_getaffinity(0, sizeof cpus, &cpus) != 0) {
    return;
  }
  const std::optional<uint64_t> ticks = text ? ParseIdleTicks(*text, cpus) : std::nullopt;
  // iowait is known to go back at times (proc(5)): that interval has no answer.
  if (ticks && last_idle_ticks_ && *ticks >= *last_idle_ticks_ && reading.wall_s > 0) {
    static const double per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
    reading.idle_cpus =
        static_cast<double>(*ticks - *last_idle_ticks_) / per_second / reading.wall_s;
  }
  last_idle_ticks_ = ticks;
}

PressureReading Pressure::Poll() {
  PressureReading reading;
  reading.at_ns = options_.now_ns ? options_.now_ns() : ClockNs(CLOCK_MONOTONIC);
  const int64_t used_ns = options_.used_ns ? options_.used_ns() : ClockNs(CLOCK_PROCESS_CPUTIME_ID);
  if (!first_) reading.wall_s = static_cast<double>(reading.at_ns - last_ns_) / 1e9;
  const auto per_wall = [&](double ns) {
    return reading.wall_s > 0 ? ns / 1e9 / reading.wall_s : 0;
  };

  const RunDelay::Step step = threads_.Poll(reading.at_ns);
  ReadIdle(reading);
  ReadThrottling(reading);
  reading.cpu = ReadPsi(cpu_pressure_, last_cpu_);
  reading.memory = ReadPsi(memory_pressure_, last_memory_);
  ReadMemoryEvents(reading);

  reading.cpus_used = per_wall(static_cast<double>(used_ns - last_used_ns_));
  reading.run_delay = per_wall(static_cast<double>(step.wait_ns));
  reading.threads = step.threads;
  PressureFacts facts;
  facts.wall_s = reading.wall_s;
  facts.throttled_visibly = reading.throttling && reading.throttling->nr_throttled > 0;
  facts.have_threads = step.available;
  facts.saturated_threads = step.saturated;
  facts.saturated_run = per_wall(static_cast<double>(step.saturated_run_ns));
  facts.run_delay = reading.run_delay;
  facts.used = reading.cpus_used;
  cpu_set_t cpus;
  if (options_.cpus) {
    facts.cpus = CPU_COUNT(&*options_.cpus);
  } else if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
    facts.cpus = CPU_COUNT(&cpus);
  }
  facts.quota = places_.quota;
  facts.idle = reading.idle_cpus;
  reading.verdict = first_ ? PressureVerdict::kUnknown : JudgePressure(facts);

  last_ns_ = reading.at_ns;
  last_used_ns_ = used_ns;
  first_ = false;
  return reading;
}

}  // namespace plimsoll::container
