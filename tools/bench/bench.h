// The bench program's frame: a bench is a name and a function that times itself.
//
//   void Yield(const Args& args) { ...; }
//   constexpr Bench kBenches[] = {{"yield", Yield}};
//
// The function does args.n operations and calls Report once: its line is what the peers' programs
// print, "bench ops seconds ns/op key=value…", so that one driver reads them all.
#ifndef PLIMSOLL_TOOLS_BENCH_BENCH_H_
#define PLIMSOLL_TOOLS_BENCH_BENCH_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::bench {

struct Args {
  std::string_view name;
  int64_t n;  // operations, or the bench's own size; a server's port
  int procs;
};

struct Bench {
  std::string_view name;
  std::string_view what;  // one line for --help
  void (*run)(const Args& args);
};

// Seconds since it was made.
class Stopwatch {
 public:
  double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Prints the result line.
void Report(const Args& args, int64_t ops, double seconds, std::string_view extra = "");

// Bytes of a "VmRSS:"-like line of /proc/self/status; 0 if there is none.
int64_t StatusBytes(std::string_view key);

// CPU seconds that the process has used, user and system.
double CpuSeconds();

// The suites.
std::span<const Bench> SchedBenches();
std::span<const Bench> ChanBenches();
std::span<const Bench> SyncBenches();
std::span<const Bench> TimeBenches();
std::span<const Bench> HeapBenches();
std::span<const Bench> GcBenches();
std::span<const Bench> NetBenches();

}  // namespace plimsoll::bench

#endif  // PLIMSOLL_TOOLS_BENCH_BENCH_H_
