#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/go_env.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_report.h"
#include "plimsoll/tools/plimsoll/commands.h"
#include "plimsoll/tools/plimsoll/flags.h"

namespace plimsoll::tools {
namespace {

using container::Concat;
using container::Limits;

constexpr char kCommand[] = "plimsoll exec";

constexpr char kHelp[] =
    R"(plimsoll exec: run a program that is told the container's limits in its environment.

  plimsoll exec [flags] [--] COMMAND [ARGUMENT...]

Sets, unless the environment already has it (an empty variable counts as none, as for Go):
  GOMAXPROCS          P                          Go: threads that run Go code at once
  OMP_NUM_THREADS     P                          OpenMP: threads of a parallel region
  MALLOC_ARENA_MAX    P                          glibc: malloc arenas (its default is 8 per host CPU)
  GOMEMLIMIT          9/10 of the memory limit   Go: soft limit of the heap; not set without a limit

P is the cgroup's and the affinity mask's: a GOMAXPROCS in the environment stays what it is and is
not copied into the others. A GOMAXPROCS or GOMEMLIMIT that Go could not read is replaced, or taken
away where no limit was found. What was seen and not used is told on stderr, one line each.

  --print             print the variables that would be set, run nothing
  --report            print the limits found to stderr first
  --overwrite         set them even where the environment has them

Exit status: the command's; 125 we failed or wrong usage, 126 it cannot be run, 127 it is not found.

)";

struct Variable {
  const char* name;
  std::string value;  // empty: there is nothing to say
};

std::vector<Variable> Variables(const Limits& limits) {
  const std::string procs = Concat(limits.procs.value);
  std::string heap;
  // Below memory.high too: from there on the kernel slows the process down to reclaim.
  if (const auto tightest = limits.memory.Tightest(); tightest.has_value()) {
    const uint64_t bytes = tightest->value;
    heap = Concat(bytes / 10 * 9 + bytes % 10 * 9 / 10);
  }
  return {{"GOMAXPROCS", procs},
          {"OMP_NUM_THREADS", procs},
          {"MALLOC_ARENA_MAX", procs},
          {"GOMEMLIMIT", heap}};
}

// What `text` is worth to whoever reads the variable `name`: "" if it is of use, else why not.
std::string WhyUseless(std::string_view name, std::string_view text) {
  if (text.empty()) return "is empty";
  absl::Status status;
  if (name == "GOMAXPROCS") status = container::ParseGoMaxProcs(text).status();
  if (name == "GOMEMLIMIT") status = container::ParseGoMemLimit(text).status();
  return std::string(status.message());
}

// Puts `variable` into the environment that the command will have, unless one of use is there.
// False: that failed, and was told.
bool Apply(const Variable& variable, bool overwrite, bool print) {
  const char* const present = getenv(variable.name);
  const std::string useless = present == nullptr ? "" : WhyUseless(variable.name, present);
  if (present != nullptr && useless.empty() && !overwrite) return true;
  if (present != nullptr && !useless.empty() && *present != '\0') {
    fprintf(stderr, "%s: [environment] %s: %s; %s\n", kCommand, variable.name, useless.c_str(),
            variable.value.empty() ? "taken away" : "replaced");
  }
  if (variable.value.empty()) {
    // With --overwrite too: a limit that somebody set is better than none.
    if (present != nullptr && !useless.empty()) unsetenv(variable.name);
    return true;
  }
  if (print) printf("%s=%s\n", variable.name, variable.value.c_str());
  if (setenv(variable.name, variable.value.c_str(), 1) == 0) return true;
  fprintf(stderr, "%s: %s: %s\n", kCommand, variable.name, strerror(errno));
  return false;
}

}  // namespace

int ExecCommand(std::span<const std::string> words) {
  container::DetectOptions options;
  bool print = false, report = false, overwrite = false;
  FlagReader flags(words);
  while (flags.Next()) {
    if (flags.Is("--help") || flags.Is("-h")) {
      printf("%s%s", kHelp, kDetectFlagsHelp);
      return FlushOutput(kCommand) ? 0 : 125;
    }
    if (flags.Is("--print")) {
      flags.NoValue();
      print = true;
    } else if (flags.Is("--report")) {
      flags.NoValue();
      report = true;
    } else if (flags.Is("--overwrite")) {
      flags.NoValue();
      overwrite = true;
    } else if (!ReadDetectFlag(flags, options)) {
      flags.Unknown();
    }
  }
  std::string error = flags.error();
  if (error.empty() && flags.rest().empty() && !print) error = "no command given";
  if (!error.empty()) {
    fprintf(stderr, "%s: %s; see plimsoll exec --help\n", kCommand, error.c_str());
    return 125;
  }
  error = CheckDetectOptions(options);
  if (!error.empty()) {
    fprintf(stderr, "%s: %s\n", kCommand, error.c_str());
    return 125;
  }
  // The variables are what we are asked for, so they are no source.
  options.environment = [](const char*) { return std::nullopt; };
  const Limits limits = Detect(options);
  if (report) {
    for (const std::string& line : Report(limits)) fprintf(stderr, "%s\n", line.c_str());
  } else {
    for (const container::Diagnostic& diagnostic : limits.diagnostics) {
      // Whether libcgroup was of use is nothing to the program that is run.
      if (diagnostic.code == "library") continue;
      fprintf(stderr, "%s: [%s] %s\n", kCommand, diagnostic.code.c_str(), diagnostic.text.c_str());
    }
  }
  for (const Variable& variable : Variables(limits)) {
    if (!Apply(variable, overwrite, print)) return 125;
  }
  if (print) return FlushOutput(kCommand) ? 0 : 125;

  std::vector<char*> arguments;
  for (const std::string& word : flags.rest()) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int cause = errno;
  fprintf(stderr, "%s: %s: %s\n", kCommand, container::Shown(flags.rest()[0]).c_str(),
          strerror(cause));
  return cause == ENOENT ? 127 : 126;
}

}  // namespace plimsoll::tools
