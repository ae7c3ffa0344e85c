// gc_pauses MIB GOROUTINES SECONDS [CPU_STAT]: how long do the collector's pauses last beside a
// large heap and many goroutines? Prints a line for each pause, oldest first; gc_pauses.py draws
// them. GOMAXPROCS says on how many Ps.
//
//   start 12.3 456.7 0.0 455.1 1.2
//
// which pause of its cycle, and in us: the time to stop, the time stopped, and of the latter what
// the cgroup was throttled, what the thread that stopped the world was on a CPU, and what it was
// runnable and on none. The last is the kernel's run delay, and holds the throttling too. Without
// CPU_STAT, the file of the cgroup's counters, nothing was throttled.
//
// The kernel adds to throttled_time (v2: throttled_usec) when a throttled CPU may run again, before
// any thread does: who reads it before a pause and after sees all that lay in between. It is a sum
// over the CPUs, so of two it may tell more than the time that passed; no more is counted than the
// run delay, since a throttled thread is runnable.
//
// MIB are live, in chains of eight 64-byte nodes, while a mutator for each P replaces random
// chains. Each goroutine waits for a channel, and its stack alone holds a chain of its own.

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "plimsoll/runtime/chan/channel.h"
#include "plimsoll/runtime/gc/collector.h"
#include "plimsoll/runtime/gc/make.h"
#include "plimsoll/runtime/gc/ptr.h"
#include "plimsoll/runtime/gc/root.h"
#include "plimsoll/runtime/go.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/runtime/sched/scheduler.h"
#include "plimsoll/runtime/sched/stop_world.h"
#include "plimsoll/runtime/sched/trace.h"
#include "plimsoll/runtime/sync/wait_group.h"
#include "plimsoll/tools/bench/gc_chains.h"

namespace {

using namespace plimsoll;
using bench::Chain;
using bench::Node;

// The first number behind `name` in `text`; -1: there is none.
int64_t NumberAfter(const char* text, const char* name) {
  const char* at = std::strstr(text, name);
  return at == nullptr ? -1 : std::strtoll(at + std::strlen(name), nullptr, 10);
}

// Reads the clocks where the world has just been stopped, and where it is about to start: as a
// tracer may, by system calls alone. The reading itself lies outside of what is measured.
class Pauses {
 public:
  explicit Pauses(const char* cpu_stat)
      : cpu_stat_(cpu_stat == nullptr ? -1 : open(cpu_stat, O_RDONLY | O_CLOEXEC)) {}
  ~Pauses() {
    if (cpu_stat_ >= 0) close(cpu_stat_);
  }
  Pauses(const Pauses&) = delete;
  Pauses& operator=(const Pauses&) = delete;

  bool ok() const { return cpu_stat_ >= 0 && ThrottledNs() >= 0; }

  // Two stops do not overlap, and stop_world orders one before the other. Both events come from the
  // same thread.
  void Trace(const sched::TraceEvent& event) noexcept {
    if (event.stop != sched::StopReason::kGcStart && event.stop != sched::StopReason::kGcEnd &&
        event.stop != sched::StopReason::kGcCycle) {
      return;
    }
    if (event.kind == sched::TraceKind::kStop) {
      stopping_us_ = event.count;
      before_ = Read();
      before_.when_ns = Now(CLOCK_MONOTONIC);
    } else if (event.kind == sched::TraceKind::kStart && count_ < kMost) {
      const Clocks after = Read();
      const int64_t delay_ns = after.delay_ns - before_.delay_ns;
      each_[count_++] = {event.stop,
                         stopping_us_,
                         after.when_ns - before_.when_ns,
                         std::min(after.throttled_ns - before_.throttled_ns, delay_ns),
                         after.cpu_ns - before_.cpu_ns,
                         delay_ns};
    }
  }
  void Print() const {
    for (size_t i = 0; i < count_; ++i) {
      const Stop& s = each_[i];
      std::printf("%s %lld %.1f %.1f %.1f %.1f\n",
                  s.why == sched::StopReason::kGcStart ? "start"
                  : s.why == sched::StopReason::kGcEnd ? "end"
                                                       : "whole",
                  static_cast<long long>(s.stopping_us), static_cast<double>(s.stopped_ns) / 1e3,
                  static_cast<double>(s.throttled_ns) / 1e3, static_cast<double>(s.cpu_ns) / 1e3,
                  static_cast<double>(s.delay_ns) / 1e3);
    }
  }

 private:
  struct Stop {
    sched::StopReason why;
    int64_t stopping_us, stopped_ns, throttled_ns, cpu_ns, delay_ns;
  };
  struct Clocks {
    int64_t when_ns = 0, throttled_ns = 0, cpu_ns = 0, delay_ns = 0;
  };
  static constexpr size_t kMost = 100'000;

  static int64_t Now(clockid_t clock) {
    timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1'000'000'000 + t.tv_nsec;
  }

  // All at one time: where the thread was off its CPU meanwhile, and that is mostly where it was
  // throttled on its way out of one of these calls, once more.
  Clocks Read() const {
    constexpr int64_t kAtOnceNs = 300'000;
    for (;;) {
      const Clocks c = ReadOnce();
      if (Now(CLOCK_MONOTONIC) - c.when_ns < kAtOnceNs) return c;
    }
  }

  Clocks ReadOnce() const {
    Clocks c;
    c.when_ns = Now(CLOCK_MONOTONIC);
    c.cpu_ns = Now(CLOCK_THREAD_CPUTIME_ID);
    c.throttled_ns = cpu_stat_ >= 0 ? ThrottledNs() : 0;
    // "ran_ns delayed_ns slices", of a kernel with CONFIG_SCHED_INFO
    if (const int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC); fd >= 0) {
      char text[128] = {};
      if (read(fd, text, sizeof text - 1) > 0) c.delay_ns = NumberAfter(text, " ");
      close(fd);
    }
    return c;
  }

  // "throttled_time NS" or, in v2, "throttled_usec US"; -1: neither.
  int64_t ThrottledNs() const {
    char text[512];
    const ssize_t n = pread(cpu_stat_, text, sizeof text - 1, 0);
    if (n <= 0) return -1;
    text[n] = '\0';
    if (const int64_t ns = NumberAfter(text, "throttled_time "); ns >= 0) return ns;
    const int64_t us = NumberAfter(text, "throttled_usec ");
    return us < 0 ? -1 : us * 1000;
  }

  const int cpu_stat_;
  size_t count_ = 0;
  int64_t stopping_us_ = 0;
  Clocks before_;
  std::vector<Stop> each_{kMost};
};

int Run(int64_t mib, int64_t goroutines, int64_t seconds, const char* cpu_stat) {
  Pauses pauses(cpu_stat);
  if (cpu_stat != nullptr && !pauses.ok()) {
    std::fprintf(stderr, "gc_pauses: %s does not tell the throttled time\n", cpu_stat);
    return 1;
  }
  const int64_t slots = (mib << 20) / bench::kChainBytes;
  gc::Root<gc::Ptr<Node>> root = gc::make_array<gc::Ptr<Node>>(static_cast<size_t>(slots));
  for (int64_t i = 0; i < slots; ++i) root.get()[i] = Chain();
  Channel<int> end;
  std::atomic<int64_t> waiting{0}, whole{0};
  WaitGroup done;
  for (int64_t i = 0; i < goroutines; ++i) {
    done.Add(1);
    Go([&] {
      Node* mine = Chain();
      uint64_t number = 0;
      for (Node* n = mine; n != nullptr; n = n->next) n->numbers[0] = number++;
      waiting.fetch_add(1);
      (void)end.Recv();
      uint64_t sum = 0;
      for (const Node* n = mine; n != nullptr; n = n->next) sum += n->numbers[0];
      whole.fetch_add(sum == 28);
      done.Done();
    });
  }
  while (waiting.load() < goroutines) Yield();
  gc::Collect();
  const gc::Stats before = gc::GetStats();
  if (!sched::StartTracing(pauses)) return 1;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  WaitGroup mutators;
  const int procs = sched::GetStats().procs;
  for (int p = 0; p < procs; ++p) {
    mutators.Add(1);
    Go([&, p] {
      uint64_t r = static_cast<uint64_t>(p) * 7919 + 12345;
      while (std::chrono::steady_clock::now() < until) {
        for (int i = 0; i < 100; ++i) {
          root.get()[bench::NextChain(r) % static_cast<uint64_t>(slots)] = Chain();
        }
      }
      mutators.Done();
    });
  }
  mutators.Wait();
  sched::StopTracing();
  const gc::Stats after = gc::GetStats();
  pauses.Print();
  std::fprintf(stderr, "%d P, %lld MiB live, %lld goroutines, %llu cycles in %lld s\n", procs,
               static_cast<long long>(after.live_bytes >> 20), static_cast<long long>(goroutines),
               static_cast<unsigned long long>(after.cycles - before.cycles),
               static_cast<long long>(seconds));
  end.Close();
  done.Wait();
  if (whole.load() == goroutines) return 0;
  std::fprintf(stderr, "gc_pauses: of %lld goroutines %lld found their chain whole\n",
               static_cast<long long>(goroutines), static_cast<long long>(whole.load()));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  int64_t numbers[3] = {};
  bool good = argc == 4 || argc == 5;
  for (int i = 0; good && i < 3; ++i) {
    char* end;
    numbers[i] = std::strtoll(argv[i + 1], &end, 10);
    good = *end == '\0' && end != argv[i + 1] && numbers[i] > (i == 1 ? -1 : 0) &&
           numbers[i] < 1'000'000'000;
  }
  if (!good) {
    std::fputs("gc_pauses MIB GOROUTINES SECONDS [CPU_STAT]\n", stderr);
    return 64;
  }
  setenv("PLIMSOLL_LOG", "off", 0);
  return Main(argc, argv, [&] {
    return Run(numbers[0], numbers[1], numbers[2], argc == 5 ? argv[4] : nullptr);
  });
}
