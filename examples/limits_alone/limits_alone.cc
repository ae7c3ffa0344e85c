// The limits without the runtime: what a container leaves this process, and at which level that is
// written.
//
//   limits_alone          here
//   limits_alone ROOT     in a container whose /proc and /sys were copied below ROOT, from a
//   machine
//                         of 8 CPUs and 16 GiB
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_report.h"

namespace container = plimsoll::container;

int main(int argc, char** argv) {
  container::DetectOptions options;
  if (argc > 1) {
    options.root = argv[1];
    // What no file tells is given too; else it would be this machine's.
    options.affinity = 8;
    options.mem_total = uint64_t{16} << 30;
    options.page_size = 4096;
    options.environment = [](const char*) { return std::nullopt; };
  }
  const container::Limits limits = container::Detect(options);

  // To read.
  for (const std::string& line : container::Report(limits)) std::puts(line.c_str());
  for (const std::string& line : container::ReportTree(limits)) std::puts(line.c_str());

  // To size something by.
  std::printf("so: %d threads", limits.procs.value);
  if (limits.heap_90pct.has_value()) {
    std::printf(", a heap of %llu MiB", static_cast<unsigned long long>(*limits.heap_90pct >> 20));
  }
  std::printf("\n");
  return 0;
}
