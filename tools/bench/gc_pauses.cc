// gc_pauses MIB GOROUTINES SECONDS [CPU_STAT]: how long do the collector's pauses last beside a
// large heap and many goroutines? Prints "stopping_us stopped_us" for each pause, oldest first, at
// most 1,024; gc_pauses.py draws them. GOMAXPROCS says on how many Ps.
//
// CPU_STAT is the file of a cgroup with a quota: then of all pauses, with "throttled_us" as a third
// number: by how much the cgroup's throttled time grew while the world stood still. Of cgroup v1 it
// is the sum over the CPUs, of v2 too; on one CPU it is time.
//
// MIB are live, in chains of eight 64-byte nodes, while a mutator for each P replaces random
// chains. Each goroutine waits for a channel, and its stack alone holds a chain of its own.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
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

// Reads a cgroup's throttled time where the world has just been stopped, and where it is about to
// start: as a tracer may, by system calls alone.
class Throttling {
 public:
  explicit Throttling(const char* path) : file_(open(path, O_RDONLY | O_CLOEXEC)) {}
  ~Throttling() { close(file_); }
  Throttling(const Throttling&) = delete;
  Throttling& operator=(const Throttling&) = delete;

  bool ok() const { return file_ >= 0 && ThrottledNs() >= 0; }

  // Two stops do not overlap, and stop_world orders one before the other.
  void Trace(const sched::TraceEvent& event) noexcept {
    if (event.stop != sched::StopReason::kGcStart && event.stop != sched::StopReason::kGcEnd &&
        event.stop != sched::StopReason::kGcCycle) {
      return;
    }
    if (event.kind == sched::TraceKind::kStop) {
      stopping_us_ = event.count;
      before_ns_ = ThrottledNs();
      stopped_at_ns_ = event.when_ns;
    } else if (event.kind == sched::TraceKind::kStart && count_ < kMost) {
      each_[count_++] = {stopping_us_, event.when_ns - stopped_at_ns_, ThrottledNs() - before_ns_};
    }
  }
  void Print() const {
    for (size_t i = 0; i < count_; ++i) {
      std::printf("%lld %.1f %.1f\n", static_cast<long long>(each_[i].stopping_us),
                  static_cast<double>(each_[i].stopped_ns) / 1e3,
                  static_cast<double>(each_[i].throttled_ns) / 1e3);
    }
  }

 private:
  struct Stop {
    int64_t stopping_us, stopped_ns, throttled_ns;
  };
  static constexpr size_t kMost = 100'000;

  // "throttled_time NS" or, in v2, "throttled_usec US"; -1: neither.
  int64_t ThrottledNs() const {
    char text[512];
    const ssize_t n = pread(file_, text, sizeof text - 1, 0);
    if (n <= 0) return -1;
    text[n] = '\0';
    long long value;
    if (const char* at = std::strstr(text, "throttled_time ")) {
      return std::sscanf(at, "throttled_time %lld", &value) == 1 ? value : -1;
    }
    const char* at = std::strstr(text, "throttled_usec ");
    return at != nullptr && std::sscanf(at, "throttled_usec %lld", &value) == 1 ? value * 1000 : -1;
  }

  const int file_;
  size_t count_ = 0;
  int64_t stopping_us_ = 0, stopped_at_ns_ = 0, before_ns_ = 0;
  std::vector<Stop> each_{kMost};
};

int Run(int64_t mib, int64_t goroutines, int64_t seconds, const char* cpu_stat) {
  std::optional<Throttling> throttling;
  if (cpu_stat != nullptr && !throttling.emplace(cpu_stat).ok()) {
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
  if (throttling.has_value() && !sched::StartTracing(*throttling)) return 1;
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
  if (throttling.has_value()) sched::StopTracing();
  const gc::Stats after = gc::GetStats();
  std::vector<gc::Pause> pauses(1024);
  pauses.resize(gc::RecentPauses(pauses.data(), pauses.size()));
  // The first cycles were before the measurement; their pauses are the last of the list.
  const size_t measured =
      static_cast<size_t>((after.cycles - before.cycles) * 2 + (after.restarts - before.restarts));
  if (pauses.size() > measured) pauses.resize(measured);
  if (throttling.has_value()) {
    throttling->Print();
    pauses.clear();
  }
  for (size_t i = pauses.size(); i-- > 0;) {
    std::printf("%.1f %.1f\n", static_cast<double>(pauses[i].stopping_ns) / 1e3,
                static_cast<double>(pauses[i].stopped_ns) / 1e3);
  }
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
