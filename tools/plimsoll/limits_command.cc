#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/json_writer.h"
#include "plimsoll/container/limits.h"
#include "plimsoll/container/limits_json.h"
#include "plimsoll/container/limits_report.h"
#include "plimsoll/container/limits_watcher.h"
#include "plimsoll/tools/plimsoll/commands.h"
#include "plimsoll/tools/plimsoll/flags.h"
#include "plimsoll/tools/plimsoll/peers.h"

namespace plimsoll::tools {
namespace {

using container::Concat;
using container::DetectOptions;
using container::Limits;

constexpr char kCommand[] = "plimsoll limits";

constexpr char kHelp[] =
    R"(plimsoll limits: how many CPUs, how much memory and how many tasks this process may use.

  plimsoll limits [--json] [--watch] [flags]

Prints what was found and at which cgroup level, then the levels as a tree with the tightest limit
of each kind marked *, then what Go and automaxprocs would choose here. What was seen and not used
is told in lines that begin with "ignored". A name that could be taken for more than a name is
printed in quotes, with escapes.

  --json              one JSON object instead; keys in container/limits_json.h
  --watch             print again whenever a limit changes, until interrupted

Exit status: 0, 1 the root cannot be read or the output not written, 2 wrong usage.

)";

struct Request {
  DetectOptions detect;
  bool json = false;
  bool watch = false;
};

void PrintPeers(const Peers& peers, const Limits& limits) {
  printf("\nelsewhere\n");
  const auto go = [](const char* name, int procs) {
    if (procs == kGoEnds) {
      printf("  %-24s ends before main: takes the quota for a negative number\n", name);
    } else {
      printf("  %-24s GOMAXPROCS %d\n", name, procs);
    }
  };
  go("Go 1.25.0", peers.go125);
  go("Go 1.26.8", peers.go1268);
  using Kind = AutomaxprocsChoice::Kind;
  switch (peers.automaxprocs_1_6.kind) {
    case Kind::kValue:
      printf("  %-24s GOMAXPROCS %d\n", "automaxprocs 1.6.0", peers.automaxprocs_1_6.value);
      break;
    case Kind::kUnchanged:
      printf("  %-24s leaves what Go chose: sees no quota\n", "automaxprocs 1.6.0");
      break;
    case Kind::kError:
      printf("  %-24s leaves what Go chose: stops at an error\n", "automaxprocs 1.6.0");
      break;
  }
  printf("  %-24s P %d, with automaxprocs's rounding %d\n", "Plimsoll", limits.procs.value,
         limits.procs_floor_min1);
}

// False: it could not be written, and that was told.
bool Print(const Request& request, const Limits& limits) {
  container::SystemFiles files(request.detect.root);
  const Peers peers = AskPeers(files, limits.affinity);
  if (request.json) {
    container::JsonWriter json;
    json.BeginObject();
    container::WriteJson(json, limits);
    json.Key("peers").BeginObject();
    json.Key("go125").Number(peers.go125);  // 0: it ends before main
    json.Key("go1268").Number(peers.go1268);
    json.Key("automaxprocs_1_6");
    if (peers.automaxprocs_1_6.kind == AutomaxprocsChoice::Kind::kValue) {
      json.Number(peers.automaxprocs_1_6.value);
    } else {
      json.String(peers.automaxprocs_1_6.Text());
    }
    json.EndObject();
    json.EndObject();
    printf("%s\n", std::move(json).Take().c_str());
  } else {
    for (const std::string& line : Report(limits)) printf("%s\n", line.c_str());
    if (!limits.trees.empty()) printf("\n");
    for (const std::string& line : ReportTree(limits)) printf("%s\n", line.c_str());
    PrintPeers(peers, limits);
  }
  return FlushOutput(kCommand);
}

// Runs until interrupted, or until nobody reads the output any more. Returns the exit status.
int Watch(const Request& request) {
  bool written = true;
  container::LimitsWatcher watcher(
      {.detect = request.detect, .on_change = [&](const Limits& before, const Limits& after) {
         if (!request.json) {
           printf("\nchanged: P %d -> %d\n", before.procs.value, after.procs.value);
         }
         written = Print(request, after);
       }});
  if (!Print(request, watcher.limits())) return 1;
  std::string told;
  for (;;) {
    // Without events asked for, only a pipe or terminal that is gone wakes us.
    pollfd output{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
    if (poll(&output, 1, static_cast<int>(absl::ToInt64Milliseconds(watcher.interval()))) > 0) {
      fprintf(stderr, "%s: standard output: nobody reads it any more\n", kCommand);
      return 1;
    }
    watcher.Poll();
    if (!written) return 1;
    // Trouble is told when it changes: a limit that is held looks as if nothing happened.
    std::string trouble;
    for (const auto& diagnostic : watcher.trouble()) {
      trouble += Concat(kCommand, ": [", diagnostic.code, "] ", diagnostic.text, "\n");
    }
    if (trouble != told) fputs(trouble.c_str(), stderr);
    told = std::move(trouble);
  }
}

}  // namespace

int LimitsCommand(std::span<const std::string> words) {
  Request request;
  FlagReader flags(words);
  while (flags.Next()) {
    if (flags.Is("--help") || flags.Is("-h")) {
      printf("%s%s", kHelp, kDetectFlagsHelp);
      return FlushOutput(kCommand) ? 0 : 1;
    }
    if (flags.Is("--json")) {
      flags.NoValue();
      request.json = true;
    } else if (flags.Is("--watch")) {
      flags.NoValue();
      request.watch = true;
    } else if (!ReadDetectFlag(flags, request.detect)) {
      flags.Unknown();
    }
  }
  std::string error = flags.error();
  if (error.empty() && !flags.rest().empty()) {
    error = Concat(container::Quote(flags.rest()[0]), " is not a flag");
  }
  if (!error.empty()) {
    fprintf(stderr, "%s: %s; see plimsoll limits --help\n", kCommand, error.c_str());
    return 2;
  }
  error = CheckDetectOptions(request.detect);
  if (!error.empty()) {
    fprintf(stderr, "%s: %s\n", kCommand, error.c_str());
    return 1;
  }
  if (request.watch) return Watch(request);
  return Print(request, Detect(request.detect)) ? 0 : 1;
}

}  // namespace plimsoll::tools
