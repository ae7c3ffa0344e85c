// The composition root: the one place that sees every engine room, and joins them.

#include "plimsoll/runtime/runtime.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/heap.h"
#include "plimsoll/alloc/process_malloc.h"
#include "plimsoll/container/init/standard_descriptors.h"
#include "plimsoll/container/limits_report.h"
#include "plimsoll/container/limits_watcher.h"
#include "plimsoll/container/pressure.h"
#include "plimsoll/runtime/capabilities.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc_world.h"
#include "plimsoll/runtime/netpoll/netpoll.h"
#include "plimsoll/runtime/sched/blocking_call.h"
#include "plimsoll/runtime/sched/crash.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/procs.h"
#include "plimsoll/runtime/sched/schedtrace.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stack_use.h"
#include "plimsoll/runtime/uncaught.h"

namespace plimsoll {
namespace {

// Found once, before the first goroutine; never destroyed, since goroutines outlive exit handlers.
const container::Limits* start_limits = nullptr;

// What PLIMSOLL_LOG asks for.
bool ReportWanted() {
  const char* log = getenv("PLIMSOLL_LOG");
  if (log == nullptr || *log == '\0' || std::string_view(log) == "text") return true;
  if (std::string_view(log) == "off") return false;
  base::RawLog("plimsoll: PLIMSOLL_LOG=", base::Quoted{log},
               " is none of text, off; taken as text");
  return true;
}

// What GOTRACEBACK asks for: Go's variable, since manifests and habits know it.
sched::TracebackLevel TracebackLevelWanted() {
  sched::TracebackLevel level = sched::TracebackLevel::kSingle;
  const char* wanted = getenv("GOTRACEBACK");
  if (wanted != nullptr && !sched::ParseTracebackLevel(wanted, &level)) {
    base::RawLog("plimsoll: GOTRACEBACK=", base::Quoted{wanted},
                 " is none of none, single, all, system, crash; taken as single");
  }
  return level;
}

// PLIMSOLL_DEBUG=preempt=off: whether a goroutine that computes for long is made to give its P
// away.
bool PreemptWanted(const base::DebugText& debug) {
  constexpr std::string_view kWords[] = {"on", "off"};
  return debug.Choice("preempt", kWords) == 0;
}

// PLIMSOLL_DEBUG=migrate=always: whether every park ends on another thread than it began on.
bool MigrateAlwaysWanted(const base::DebugText& debug) {
  constexpr std::string_view kWords[] = {"default", "always"};
  return debug.Choice("migrate", kWords) == 1;
}

// PLIMSOLL_DEBUG=stacktrim=off: whether memory of parked goroutines' stacks goes back.
bool StackTrimWanted(const base::DebugText& debug) {
  constexpr std::string_view kWords[] = {"on", "off"};
  return debug.Choice("stacktrim", kWords) == 0;
}

// PLIMSOLL_PREEMPT_SIGNAL=N: by which signal; 0: the usual one.
int PreemptSignalWanted() {
  const char* text = getenv("PLIMSOLL_PREEMPT_SIGNAL");
  if (text == nullptr || *text == '\0') return 0;
  const std::string_view value = text;
  int signal = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), signal);
  const bool number = error == std::errc() && end == value.data() + value.size();
  // A fault's signal would be taken for one of ours, and the first two real-time ones are libc's.
  constexpr int kNotThese[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                               SIGTRAP, SIGABRT, SIGQUIT, 32,     33};
  if (number && signal >= 1 && signal <= 64 &&
      std::find(std::begin(kNotThese), std::end(kNotThese), signal) == std::end(kNotThese)) {
    return signal;
  }
  base::RawLog("plimsoll: PLIMSOLL_PREEMPT_SIGNAL=", base::Quoted{value},
               " is no signal that can be taken for this; SIGURG is");
  return 0;
}

// PLIMSOLL_DEBUG=schedtrace=MS: how often the scheduler tells of itself, up to a day; 0: never.
int64_t SchedTraceWanted(const base::DebugText& debug) {
  return static_cast<int64_t>(debug.Number("schedtrace", 86'400'000, 0));
}

// What PLIMSOLL_POLLER asks for.
netpoll::Engine WantedEngine() {
  const char* text = getenv("PLIMSOLL_POLLER");
  const std::optional<netpoll::Engine> engine = netpoll::ParseEngine(text);
  if (!engine.has_value()) {
    base::RawLog("plimsoll: PLIMSOLL_POLLER=", base::Quoted{text},
                 " is none of epoll, io_uring, auto; taken as epoll");
  }
  return engine.value_or(netpoll::Engine::kEpoll);
}

// Which features of the kernel are used, and which poller.
void ReportKernel(const absl::StatusOr<netpoll::Started>& poller) {
  const bool io_uring = poller.ok() && poller->engine == netpoll::Engine::kIoUring;
  for (Capability& c : ProbeCapabilities()) {
    if (io_uring && c.name == "io_uring") {
      c.presence = Presence::kUsed;
      c.why = "asked for by PLIMSOLL_POLLER";
      c.instead = "";
    }
    base::RawLog(ToLine(c));
  }
  if (poller.ok() && !poller->refusal.empty()) {
    base::RawLog("plimsoll: PLIMSOLL_POLLER=io_uring: refused (", poller->refusal,
                 "); epoll is used");
  }
}

// The quota in CPUs, or how many there are.
double Cpus(const container::Limits& limits) {
  if (limits.cpu.quota.has_value()) {
    const container::Fraction& q = limits.cpu.quota->value;
    return static_cast<double>(q.num) / static_cast<double>(q.den);
  }
  return limits.affinity;
}

// What looking for work is measured by: the quota, if there is one. One CPU is like a quota of one.
double SpinQuota(const container::Limits& limits) {
  return limits.cpu.quota.has_value() || limits.affinity <= 1
             ? Cpus(limits)
             : std::numeric_limits<double>::infinity();
}

// What the limits say P is to be, within what the scheduler has.
int ProcsOf(const container::Limits& limits) {
  const int procs = limits.procs.value < 1                  ? 1
                    : limits.procs.value > sched::kMaxProcs ? sched::kMaxProcs
                                                            : limits.procs.value;
  if (procs != limits.procs.value) {
    base::RawLog("plimsoll: P = ", procs, " is used: ", limits.procs.value, " is out of range");
  }
  return procs;
}

// Follows the limits while the service runs; made with the first look at them, never destroyed.
container::LimitsWatcher* watcher = nullptr;
// Until GoMaxProcs(n) was called. (GOMAXPROCS in the environment is what the limits say P is.)
constinit std::atomic<bool> procs_follow_limits{true};

constinit bool told_of_memory = false;  // of this limit; by CallEachSecond's goroutine alone

void FollowMemoryLimit(const container::Limits& limits) {
  SetCollectorMemoryLimit(limits.mem_limit.value.value_or(UINT64_MAX));
}

// A limit that what is live does not fit into, whoever set it: the program goes on as long as the
// kernel lets it, and says once why it is slow, or was killed.
void TellOfMemoryLimit(const container::Limits& limits) {
  const gc::Stats s = gc::GetStats();
  if (told_of_memory || !limits.mem_limit.value.has_value() || s.live_bytes <= s.limit_bytes) {
    return;
  }
  told_of_memory = true;
  base::RawLog("plimsoll: memory: the collected heap has ", s.live_bytes >> 20,
               " MiB live, and the limit leaves it ", s.limit_bytes >> 20,
               " MiB: ", *limits.mem_limit.value >> 20, " MiB, ", limits.mem_limit.reason,
               "; it goes on, and the kernel may slow it down or kill it");
}

// Idle memory of the heap goes back, at the latest ten seconds after a spike. Where the heap is the
// process's malloc a thread of malloc's does it.
void StepHeap() {
  static const bool ours = FindProcessMalloc() != ProcessMallocKind::kPlimsoll;
  if (ours) BlockingCall([] { (void)Heap::Step(sched::NowNanos()); });
}

void FollowCpuQuota(const container::Limits& limits) {
  SetCollectorCpuQuota(limits.cpu.quota.has_value() ? Cpus(limits)
                                                    : std::numeric_limits<double>::infinity());
}

// Where the kernel stopped us within the last second, nobody spins in the next: what is spun is
// taken from the work. With a quota of one CPU or less nobody does anyway.
void FollowThrottling(const container::Limits& limits, bool changed) {
  static container::Pressure* pressure = nullptr;  // by CallEachSecond's goroutine alone
  if (changed) {
    delete pressure;
    pressure = nullptr;
  }
  if (!limits.cpu.quota.has_value() || Cpus(limits) <= 1) {
    sched::HoldSpinning(false);
    return;
  }
  if (pressure == nullptr) pressure = new container::Pressure(container::PlacesOf(limits));
  const container::PressureReading reading = BlockingCall([] { return pressure->Poll(); });
  sched::HoldSpinning(reading.throttling.has_value() && reading.throttling->nr_throttled > 0);
}

void FollowLimits() {
  const std::optional<uint64_t> memory_before = watcher->limits().mem_limit.value;
  // Reads files of cgroups.
  const bool changed = BlockingCall([] { return watcher->Poll(); });
  const container::Limits& limits = watcher->limits();
  FollowThrottling(limits, changed);
  if (!changed) return;
  if (limits.mem_limit.value != memory_before) told_of_memory = false;
  FollowMemoryLimit(limits);
  FollowCpuQuota(limits);
  // The quota counts whoever says what P is.
  if (!procs_follow_limits.load(std::memory_order_relaxed)) {
    sched::SetProcs({.spin_quota = SpinQuota(limits)});
    return;
  }
  const int procs = ProcsOf(limits);
  const int before = sched::SetProcs({.procs = procs, .spin_quota = SpinQuota(limits)});
  if (before != procs && ReportWanted()) {
    base::RawLog("plimsoll: P = ", procs, ", was ", before, ": ", limits.procs.reason);
  }
}

// Each part is for a process that works: an idle one is not woken.
void EachSecond() {
  FollowLimits();
  if (watcher->limits().mem_limit.value.has_value()) gc::MeasureLimit();
  TellOfMemoryLimit(watcher->limits());
  StepHeap();
  (void)gc::CollectIfOld(gc::kPeriodNs);
}

void OnThreadStart(unsigned m) {
  // Each M allocates from one of ceil(quota) arenas, not from one of four times the host's CPUs.
  (void)BindThreadToArena(m);
}

}  // namespace

namespace internal {

void RunMain(int, char**, const EntryOps& entry, void* closure, const int* exit_code) {
  // Before a socket is made: it would be one of them.
  container::TakeStandardDescriptors();
  // On the process's first stack: libcgroup needs tens of KiB.
  watcher = new container::LimitsWatcher({});
  start_limits = new container::Limits(watcher->limits());
  const container::Limits& limits = *start_limits;
  const bool report = ReportWanted();
  // What the environment holds and nobody understands is told whoever reads it, as of GOGC.
  for (const std::string& line :
       report ? container::Report(limits) : container::ReportEnvironment(limits)) {
    base::RawLog("plimsoll: ", line);
  }

  ProcessMallocOptions malloc_options{.cpus = Cpus(limits)};
  if (limits.mem_limit.value.has_value()) {
    malloc_options.memory_limit = ByteCount(*limits.mem_limit.value);
  }
  if (absl::Status s = ConfigureProcessMalloc(malloc_options); !s.ok()) {
    base::RawLog("plimsoll: malloc: ", std::string(s.message()));
  }

  // Without a poller goroutines still run; whoever opens a socket is told.
  const absl::StatusOr<netpoll::Started> poller = netpoll::Start(WantedEngine());
  if (poller.ok()) {
    sched::SetIdleSource(poller->source);
  } else {
    base::RawLog("plimsoll: no poller: ", std::string(poller.status().message()));
  }
  if (report) ReportKernel(poller);

  FollowMemoryLimit(limits);
  FollowCpuQuota(limits);
  const auto debug = base::DebugText::FromEnvironment();
  debug.TellUnknown();
  StartCollector(CollectorOptions(getenv("GOGC"), debug));

  sched::InstallCrashHandlers(TracebackLevelWanted());
  if (const int64_t ms = SchedTraceWanted(debug); ms > 0) sched::SetSchedTrace(ms);
  InstallUncaughtHandler();
  const sched::RunOptions defaults;
  if (debug.Flag("stackreport")) sched::KeepStackLedger();
  sched::Run({.procs = ProcsOf(limits),
              .spin_quota = SpinQuota(limits),
              .preempt = PreemptWanted(debug),
              .migrate_always = MigrateAlwaysWanted(debug),
              .preempt_signal = PreemptSignalWanted(),
              .trim_parked_ns = StackTrimWanted(debug) ? defaults.trim_parked_ns : 0,
              .before_main = [] { sched::CallEachSecond(EachSecond); },
              .on_thread_start = OnThreadStart},
             entry, closure, exit_code);
}

}  // namespace internal

const container::Limits& StartLimits() {
  PLIMSOLL_CHECK(start_limits != nullptr, "StartLimits needs a running plimsoll::Main");
  return *start_limits;
}

int GoMaxProcs(int n) {
  if (n < 1) return GoMaxProcs();
  procs_follow_limits.store(false, std::memory_order_relaxed);
  return sched::SetProcs({.procs = n});
}

int GoMaxProcs() { return sched::GetStats().procs; }

int64_t NumGoroutine() { return sched::GetStats().goroutines; }

}  // namespace plimsoll
