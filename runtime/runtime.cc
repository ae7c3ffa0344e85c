// The composition root: the one place that sees every engine room, and joins them.

#include "plimsoll/runtime/runtime.h"

#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/process_malloc.h"
#include "plimsoll/container/limits_report.h"
#include "plimsoll/runtime/capabilities.h"
#include "plimsoll/runtime/netpoll/netpoll.h"
#include "plimsoll/runtime/sched/idle_source.h"
#include "plimsoll/runtime/sched/scheduler.h"
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
  base::RawLog("plimsoll: PLIMSOLL_LOG=\"", log, "\" is none of text, off; taken as text");
  return true;
}

// The quota in CPUs, or how many there are.
double Cpus(const container::Limits& limits) {
  if (limits.cpu.quota.has_value()) {
    const container::Fraction& q = limits.cpu.quota->value;
    return static_cast<double>(q.num) / static_cast<double>(q.den);
  }
  return limits.affinity;
}

void OnThreadStart(unsigned m) {
  // Each M allocates from one of ceil(quota) arenas, not from one of four times the host's CPUs.
  (void)BindThreadToArena(m);
}

}  // namespace

namespace internal {

void RunMain(int, char**, const EntryOps& entry, void* closure, const int* exit_code) {
  // On the process's first stack: libcgroup needs tens of KiB.
  start_limits = new container::Limits(container::Detect());
  const container::Limits& limits = *start_limits;
  const bool report = ReportWanted();
  if (report) {
    for (const std::string& line : container::Report(limits)) base::RawLog("plimsoll: ", line);
    for (const Capability& c : ProbeCapabilities()) base::RawLog(ToLine(c));
  }

  ProcessMallocOptions malloc_options{.cpus = Cpus(limits)};
  if (limits.mem_limit.value.has_value()) {
    malloc_options.memory_limit = ByteCount(*limits.mem_limit.value);
  }
  if (absl::Status s = ConfigureProcessMalloc(malloc_options); !s.ok()) {
    base::RawLog("plimsoll: malloc: ", std::string(s.message()));
  }

  // Without a poller goroutines still run; whoever opens a socket is told.
  absl::StatusOr<sched::IdleSource*> poller = netpoll::Start();
  if (poller.ok()) {
    sched::SetIdleSource(*poller);
  } else {
    base::RawLog("plimsoll: no poller: ", std::string(poller.status().message()));
  }

  base::SetFatalHook(sched::DumpGoroutines);
  InstallUncaughtHandler();
  const int procs = limits.procs.value < 1                  ? 1
                    : limits.procs.value > sched::kMaxProcs ? sched::kMaxProcs
                                                            : limits.procs.value;
  if (procs != limits.procs.value) {
    base::RawLog("plimsoll: P = ", procs, " is used: ", limits.procs.value, " is out of range");
  }
  sched::Run({.procs = procs,
              // With one CPU or less, time spent looking for work is taken from the work.
              .may_spin = Cpus(limits) > 1.0,
              .on_thread_start = OnThreadStart},
             entry, closure, exit_code);
}

}  // namespace internal

const container::Limits& StartLimits() {
  PLIMSOLL_CHECK(start_limits != nullptr, "StartLimits needs a running plimsoll::Main");
  return *start_limits;
}

int GoMaxProcs() { return sched::GetStats().procs; }

int64_t NumGoroutine() { return sched::GetStats().goroutines; }

}  // namespace plimsoll
