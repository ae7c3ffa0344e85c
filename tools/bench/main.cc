// plimsoll_bench BENCH N [P]: one bench, one line, as the peers' programs in other languages.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/numbers.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/runtime/runtime.h"
#include "plimsoll/tools/bench/bench.h"

namespace {

using plimsoll::base::Quoted;
using plimsoll::bench::Args;
using plimsoll::bench::Bench;

constexpr std::span<const Bench> (*kSuites[])() = {
    plimsoll::bench::SchedBenches, plimsoll::bench::ChanBenches, plimsoll::bench::SyncBenches,
    plimsoll::bench::TimeBenches,  plimsoll::bench::HeapBenches, plimsoll::bench::GcBenches,
    plimsoll::bench::NetBenches,
};

void Help(std::FILE* to) {
  std::fputs(
      "plimsoll_bench BENCH N [P]   runs one bench with N operations on P Ps (default 1)\n"
      "\n"
      "It prints one line: bench, operations, seconds, ns an operation, and key=value figures\n"
      "of the bench's own. A name it does not know is answered with \"NAME n/a\".\n"
      "\n",
      to);
  for (const auto& suite : kSuites) {
    for (const Bench& b : suite()) {
      std::fprintf(to, "  %-16.*s %.*s\n", static_cast<int>(b.name.size()), b.name.data(),
                   static_cast<int>(b.what.size()), b.what.data());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
    Help(stdout);
    return 0;
  }
  if (argc < 3 || argc > 4) {
    Help(stderr);
    return 64;
  }
  Args args{.name = argv[1], .n = 0, .procs = 1};
  if (!absl::SimpleAtoi(argv[2], &args.n) || args.n < 1) {
    plimsoll::base::RawLog("plimsoll_bench: N ", Quoted{argv[2]}, " is not a positive number");
    return 64;
  }
  if (argc == 4 && (!absl::SimpleAtoi(argv[3], &args.procs) || args.procs < 1)) {
    plimsoll::base::RawLog("plimsoll_bench: P ", Quoted{argv[3]}, " is not a positive number");
    return 64;
  }
  for (const auto& suite : kSuites) {
    for (const Bench& b : suite()) {
      if (b.name != args.name) continue;
      setenv("GOMAXPROCS", std::to_string(args.procs).c_str(), 1);
      setenv("PLIMSOLL_LOG", "off", 0);
      return plimsoll::Main(argc, argv, [&] {
        b.run(args);
        return 0;
      });
    }
  }
  std::printf("%s n/a\n", argv[1]);
  return 0;
}
