#include "plimsoll/tools/bench/bench.h"

#include <sys/resource.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace plimsoll::bench {

void Report(const Args& args, int64_t ops, double seconds, std::string_view extra) {
  std::printf("%.*s %lld %.4f %.1f %.*s\n", static_cast<int>(args.name.size()), args.name.data(),
              static_cast<long long>(ops), seconds, seconds * 1e9 / static_cast<double>(ops),
              static_cast<int>(extra.size()), extra.data());
  std::fflush(stdout);
}

int64_t StatusBytes(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    int64_t kib = 0;
    const std::vector<std::string> words =
        absl::StrSplit(line.substr(key.size()), absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (!words.empty() && absl::SimpleAtoi(words[0], &kib)) return kib * 1024;
  }
  return 0;
}

double CpuSeconds() {
  rusage use;
  getrusage(RUSAGE_SELF, &use);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(use.ru_utime) + seconds(use.ru_stime);
}

}  // namespace plimsoll::bench
