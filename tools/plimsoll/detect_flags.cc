#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/procs_rule.h"
#include "plimsoll/tools/plimsoll/commands.h"
#include "plimsoll/tools/plimsoll/flags.h"

namespace plimsoll::tools {

using container::Concat;

const char kDetectFlagsHelp[] =
    R"(How the limits are found:
  --root DIR          read /proc and /sys below DIR instead of /
  --affinity N        as if the affinity mask had N CPUs
  --mem-total BYTES   as if the machine had so much memory
  --page-size BYTES   as if pages had this size (cgroup v1's "no limit" depends on it);
                      a power of two of at least 4096
  --no-libcgroup      use our own reader alone; it finds the same

How the quota becomes P:
  --rounding WORD     ceil (default, as Go), floor (as automaxprocs) or nearest
  --min N             at least N where there is a quota (default 2, as Go); the affinity mask
                      and --max hold against it
  --max N             at most N
  --reserve MILLICPU  leave so many thousandths of a CPU to others in the container
)";

bool ReadDetectFlag(FlagReader& flags, container::DetectOptions& options) {
  constexpr uint64_t kMaxInt = INT32_MAX;
  if (flags.Is("--root")) {
    options.root = flags.Value();
    if (options.root.empty()) flags.Bad(options.root, "is no directory");
  } else if (flags.Is("--affinity")) {
    options.affinity = static_cast<int>(flags.Number(1, kMaxInt));
  } else if (flags.Is("--mem-total")) {
    options.mem_total = flags.Number(1, UINT64_MAX);
  } else if (flags.Is("--page-size")) {
    options.page_size = flags.PowerOfTwo(4096, uint64_t{1} << 30);
  } else if (flags.Is("--no-libcgroup")) {
    flags.NoValue();
    options.use_libcgroup = false;
  } else if (flags.Is("--min")) {
    options.rule.min = static_cast<int>(flags.Number(1, kMaxInt));
  } else if (flags.Is("--max")) {
    options.rule.max = static_cast<int>(flags.Number(1, kMaxInt));
  } else if (flags.Is("--reserve")) {
    options.rule.reserve_millicpus = static_cast<int64_t>(flags.Number(0, kMaxInt));
  } else if (flags.Is("--rounding")) {
    const std::string word = flags.Value();
    if (word == "ceil") {
      options.rule.rounding = container::Rounding::kCeil;
    } else if (word == "floor") {
      options.rule.rounding = container::Rounding::kFloor;
    } else if (word == "nearest") {
      options.rule.rounding = container::Rounding::kNearest;
    } else {
      flags.Bad(word, "is not ceil, floor or nearest");
    }
  } else {
    return false;
  }
  return true;
}

std::string CheckDetectOptions(const container::DetectOptions& options) {
  struct stat status = {};
  const char* const root = options.root.c_str();
  if (stat(root, &status) != 0) {
    return Concat("--root ", container::Shown(options.root), ": ", strerror(errno));
  }
  if (!S_ISDIR(status.st_mode)) {
    return Concat("--root ", container::Shown(options.root), ": not a directory");
  }
  return {};
}

bool FlushOutput(const char* command) {
  errno = 0;
  const bool failed = fflush(stdout) != 0;
  if (!failed && ferror(stdout) == 0) return true;
  fprintf(stderr, "%s: standard output: %s\n", command,
          failed && errno != 0 ? strerror(errno) : "what was printed is lost");
  return false;
}

}  // namespace plimsoll::tools
