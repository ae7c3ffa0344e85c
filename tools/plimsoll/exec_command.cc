#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_report.h"
#include "plimsoll/tools/plimsoll/commands.h"
#include "plimsoll/tools/plimsoll/flags.h"

namespace plimsoll::tools {
namespace {

using container::Concat;
using container::Limits;

constexpr char kHelp[] =
    R"(plimsoll exec: run a program that is told the container's limits in its environment.

  plimsoll exec [flags] [--] COMMAND [ARGUMENT...]

Sets, unless the environment already has it (an empty variable counts as set):
  GOMAXPROCS          P                          Go: threads that run Go code at once
  OMP_NUM_THREADS     P                          OpenMP: threads of a parallel region
  MALLOC_ARENA_MAX    P                          glibc: malloc arenas (its default is 8 per host CPU)
  GOMEMLIMIT          9/10 of the memory limit   Go: soft limit of the heap; not set without a limit

  --print             print the variables that would be set, run nothing
  --report            print the limits found to stderr first
  --overwrite         set them even where the environment has them

Exit status: the command's; 125 wrong usage, 126 it cannot be run, 127 it is not found.

)";

struct Variable {
  const char* name;
  std::string value;
};

std::vector<Variable> Variables(const Limits& limits) {
  const std::string procs = Concat(limits.procs.value);
  std::vector<Variable> variables = {
      {"GOMAXPROCS", procs}, {"OMP_NUM_THREADS", procs}, {"MALLOC_ARENA_MAX", procs}};
  // Below memory.high too: from there on the kernel slows the process down to reclaim.
  if (const auto tightest = limits.memory.Tightest(); tightest.has_value()) {
    const uint64_t bytes = tightest->value;
    variables.push_back({"GOMEMLIMIT", Concat(bytes / 10 * 9 + bytes % 10 * 9 / 10)});
  }
  return variables;
}

}  // namespace

int ExecCommand(std::span<const std::string> words) {
  container::DetectOptions options;
  bool print = false, report = false, overwrite = false;
  FlagReader flags(words);
  while (flags.Next()) {
    if (flags.Is("--help") || flags.Is("-h")) {
      printf("%s%s", kHelp, kDetectFlagsHelp);
      return 0;
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
    fprintf(stderr, "plimsoll exec: %s; see plimsoll exec --help\n", error.c_str());
    return 125;
  }
  // With --overwrite the variables are what we are asked for, so they are no source.
  if (overwrite) options.environment = [](const char*) { return std::nullopt; };
  const Limits limits = Detect(options);
  if (report) {
    for (const std::string& line : Report(limits)) fprintf(stderr, "%s\n", line.c_str());
  }
  for (const Variable& variable : Variables(limits)) {
    if (!overwrite && getenv(variable.name) != nullptr) continue;
    if (print) printf("%s=%s\n", variable.name, variable.value.c_str());
    if (setenv(variable.name, variable.value.c_str(), 1) != 0) {
      fprintf(stderr, "plimsoll exec: %s: %s\n", variable.name, strerror(errno));
      return 125;
    }
  }
  if (print) return 0;

  std::vector<char*> arguments;
  for (const std::string& word : flags.rest()) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  const int cause = errno;
  fprintf(stderr, "plimsoll exec: %s: %s\n", arguments[0], strerror(cause));
  return cause == ENOENT ? 127 : 126;
}

}  // namespace plimsoll::tools
