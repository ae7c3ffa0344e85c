// InitOptions are what plimsoll-init was asked to do, parsed from its command line.
//
//   absl::StatusOr<InitOptions> options = ParseInitOptions({"-g", "--", "/app", "--port=80"});
//
// The letters are tini's, so that an image can change from one to the other: -g -s -v -w -p SIG -e
// CODE. Errors:  kInvalidArgument, with the word that is wrong.
#ifndef PLIMSOLL_CONTAINER_INIT_INIT_OPTIONS_H_
#define PLIMSOLL_CONTAINER_INIT_INIT_OPTIONS_H_

#include <bitset>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace plimsoll::container {

struct InitOptions {
  enum class Act { kRun, kHelp, kVersion };
  Act act = Act::kRun;
  std::vector<std::string> argv;   // the program to run, and its arguments
  bool whole_group = false;        // -g: signals go to the program's process group
  bool subreaper = false;          // -s: adopt orphans although we are not PID 1
  bool verbose = false;            // -v: say what is done
  bool warn_on_reap = false;       // -w: name each orphan that is reaped
  int parent_death_signal = 0;     // -p: the signal to get when our parent dies
  std::bitset<256> success_codes;  // -e: exit codes that count as 0
};

absl::StatusOr<InitOptions> ParseInitOptions(std::span<const std::string_view> args);

// What --help prints.
std::string_view InitHelp();

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_INIT_INIT_OPTIONS_H_
