// box_probe: what a program in a container learns from //container, one JSON object a line.
//
//   box_probe pressure THREADS POLLS    spins on THREADS threads, and polls Pressure each 500 ms
//   box_probe watch SECONDS             follows the limits; a line for each change, with its time
//   box_probe events MIB                fills memory until memory.events tells, or MIB are reached
//   box_probe tasks                     starts threads until the kernel refuses one
//   box_probe own-children ORPHANS      as PID 1: reaps orphans and still has its own children
//   box_probe exit CODE
//   box_probe end SIGNAL                as PID 1 with our dispositions: sends itself SIGNAL
//   box_probe serve                     says "ready" and waits; SIGTERM: exits with 42
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "plimsoll/container/init/child.h"
#include "plimsoll/container/init/dispositions.h"
#include "plimsoll/container/init/reaper.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_watcher.h"
#include "plimsoll/container/pressure.h"

namespace plimsoll::container {
namespace {

// CLOCK_BOOTTIME in milliseconds: whoever started us can read the same clock.
long long NowMs() {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1'000'000;
}

void Pause(long ms) {
  const timespec pause{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&pause, nullptr);
}

double Quota(const Limits& limits) {
  if (!limits.cpu.quota) return -1;
  const Fraction& quota = limits.cpu.quota->value;
  return static_cast<double>(quota.num) / static_cast<double>(quota.den);
}

int RunPressure(int threads, int polls) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> spinners;
  spinners.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    spinners.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
      }
    });
  }
  Pressure pressure(PlacesOf(Detect()));
  pressure.Poll();
  for (int i = 0; i < polls; ++i) {
    Pause(500);
    const PressureReading r = pressure.Poll();
    const CpuStat throttling = r.throttling.value_or(CpuStat{});
    const std::string level =
        r.throttling ? pressure.places().cpu_levels[r.worst_level] : std::string();
    printf(
        "{\"verdict\": \"%s\", \"wall\": %.3f, \"cpus_used\": %.3f, \"idle\": %.3f, "
        "\"run_delay\": %.3f, \"periods\": %llu, \"throttled\": %llu, \"throttled_ms\": %.1f, "
        "\"level\": \"%s\", \"cpu_full_ms\": %.1f}\n",
        std::string(ToString(r.verdict)).c_str(), r.wall_s, r.cpus_used, r.idle_cpus.value_or(-1),
        r.run_delay, static_cast<unsigned long long>(throttling.nr_periods),
        static_cast<unsigned long long>(throttling.nr_throttled),
        static_cast<double>(throttling.throttled_ns) / 1e6, level.c_str(),
        r.cpu ? static_cast<double>(r.cpu->full_ns) / 1e6 : -1);
    fflush(stdout);
  }
  stop.store(true, std::memory_order_relaxed);
  for (std::thread& spinner : spinners) spinner.join();
  for (const Diagnostic& diagnostic : pressure.diagnostics()) {
    fprintf(stderr, "%s\n", diagnostic.text.c_str());
  }
  return 0;
}

int RunWatch(int seconds) {
  // How late the kernel ran us at worst: on a starved machine that is not the watcher's doing.
  constexpr long kPauseMs = 50;
  long long late_ms = 0;
  LimitsWatcher::Options options;
  options.on_change = [&](const Limits& before, const Limits& after) {
    printf(
        "{\"at_ms\": %lld, \"quota_before\": %g, \"quota\": %g, \"procs\": %d, "
        "\"late_ms\": %lld}\n",
        NowMs(), Quota(before), Quota(after), after.procs.value, late_ms);
    fflush(stdout);
  };
  LimitsWatcher watcher(std::move(options));
  printf("{\"ready\": true, \"quota\": %g}\n", Quota(watcher.limits()));
  fflush(stdout);
  const long long end = NowMs() + seconds * 1000LL;
  for (long long now = NowMs(); now < end;) {
    watcher.Poll();
    const long long before_pause = NowMs();
    Pause(kPauseMs);
    now = NowMs();
    late_ms = std::max(late_ms, now - before_pause - kPauseMs);
  }
  return 0;
}

int RunEvents(size_t mib) {
  Pressure pressure(PlacesOf(Detect()));
  pressure.Poll();
  if (pressure.event_fd() < 0) {
    printf("{\"event_fd\": false}\n");
    return 0;
  }
  constexpr size_t kMib = size_t{1} << 20;
  char* memory = static_cast<char*>(
      mmap(nullptr, mib * kMib, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED) return 1;
  size_t touched = 0;
  bool woke = false;
  while (touched < mib * kMib && !woke) {
    for (size_t end = touched + kMib; touched < end; touched += 4096) memory[touched] = 1;
    pollfd waiter{pressure.event_fd(), POLLIN, 0};
    woke = poll(&waiter, 1, 0) == 1;
  }
  const MemoryEvents events = pressure.Poll().events.value_or(MemoryEvents{});
  printf(
      "{\"event_fd\": true, \"woke\": %s, \"at_mib\": %zu, \"high\": %llu, \"oom_kill\": %llu}\n",
      woke ? "true" : "false", touched / kMib, static_cast<unsigned long long>(events.high),
      static_cast<unsigned long long>(events.oom_kill));
  return 0;
}

int RunTasks() {
  const Limits limits = Detect();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 * 1024);
  int started = 0, error = 0;
  while (error == 0 && started < 10'000) {
    pthread_t thread;
    error = pthread_create(
        &thread, &attributes,
        [](void*) -> void* {
          for (;;) pause();
        },
        nullptr);
    started += error == 0;
  }
  printf("{\"pids_max\": %lld, \"threads\": %d, \"error\": \"%s\"}\n",
         limits.pids.max ? static_cast<long long>(limits.pids.max->value) : -1, started + 1,
         strerrorname_np(error));
  fflush(stdout);
  _exit(0);
}

// Our own children end in front of the orphans, and are waited for when all is over.
int RunOwnChildren(int orphans) {
  Reaper reaper({.grace = absl::ZeroDuration()});
  sigset_t sigchld;
  sigemptyset(&sigchld);
  sigaddset(&sigchld, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &sigchld, nullptr);

  std::vector<Child> own;
  for (int i = 0; i < 20; ++i) {
    absl::StatusOr<Child> child =
        Child::Spawn(reaper, {.argv = {"/proc/self/exe", "exit", std::to_string(i)}});
    if (!child.ok()) {
      fprintf(stderr, "%s\n", child.status().ToString().c_str());
      return 1;
    }
    own.push_back(*std::move(child));
  }
  int hold[2];
  if (pipe(hold) != 0) return 1;
  {
    // The parent of the orphans is a child of ours too, and its status nobody wants.
    Reaper::SpawnHold spawn(reaper);
    if (fork() == 0) {
      close(hold[1]);
      for (int i = 0; i < orphans; ++i) {
        if (fork() == 0) {
          char byte;
          (void)!read(hold[0], &byte, 1);
          _exit(0);
        }
      }
      _exit(0);
    }
  }
  close(hold[0]);
  close(hold[1]);
  int reaped = 0;
  bool blind = false;
  const long long end = NowMs() + 30'000;
  while (reaped < orphans + 1 && NowMs() < end) {
    const ReapReport report = reaper.Reap();
    reaped += report.reaped;
    blind |= report.blind;
    const timespec limit = absl::ToTimespec(std::min(report.again_in, absl::Milliseconds(100)));
    if (reaped < orphans + 1) sigtimedwait(&sigchld, nullptr, &limit);
  }
  int waitable = 0;
  for (int i = 0; i < 20; ++i) {
    const absl::StatusOr<ExitStatus> status = own[static_cast<size_t>(i)].Wait();
    waitable += status.ok() && *status == ExitStatus::Exited(i);
  }
  printf("{\"pid\": %d, \"reaped\": %d, \"own_waitable\": %d, \"blind\": %s}\n", getpid(), reaped,
         waitable, blind ? "true" : "false");
  return 0;
}

int RunEnd(const std::string& signal) {
  InstallPid1Dispositions();
  if (signal == "abort") abort();
  kill(getpid(), SignalNumber(signal));
  printf("{\"survived\": \"%s\"}\n", signal.c_str());
  return 77;
}

int RunServe() {
  signal(SIGTERM, [](int) { _exit(42); });
  printf("{\"ready\": true}\n");
  fflush(stdout);
  for (;;) pause();
}

}  // namespace
}  // namespace plimsoll::container

int main(int argc, char** argv) {
  using namespace plimsoll::container;
  const std::string what = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) { return argc > i ? atoi(argv[i]) : 0; };
  if (what == "pressure") return RunPressure(number(2), number(3));
  if (what == "watch") return RunWatch(number(2));
  if (what == "events") return RunEvents(static_cast<size_t>(number(2)));
  if (what == "tasks") return RunTasks();
  if (what == "own-children") return RunOwnChildren(number(2));
  if (what == "exit") return number(2);
  if (what == "end") return RunEnd(argc > 2 ? argv[2] : "");
  if (what == "serve") return RunServe();
  fprintf(stderr, "box_probe: unknown: \"%s\"\n", what.c_str());
  return 2;
}
