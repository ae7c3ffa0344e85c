// The commands of `plimsoll`. Each takes the words after its name and returns the exit status.
//
//   0 all well   1 the world failed   2 wrong usage   (exec: 125 to 127, as env(1))
#ifndef PLIMSOLL_TOOLS_PLIMSOLL_COMMANDS_H_
#define PLIMSOLL_TOOLS_PLIMSOLL_COMMANDS_H_

#include <optional>
#include <span>
#include <string>

#include "plimsoll/container/limits.h"
#include "plimsoll/tools/plimsoll/flags.h"

namespace plimsoll::tools {

int LimitsCommand(std::span<const std::string> words);
int ExecCommand(std::span<const std::string> words);

// The flags that say how limits are found, which both commands have. False: `flags` is at another.
bool ReadDetectFlag(FlagReader& flags, container::DetectOptions& options);

// Their part of --help.
extern const char kDetectFlagsHelp[];

// Why `options` cannot be used, though each flag was well written; "" if they can.
std::string CheckDetectOptions(const container::DetectOptions& options);

// Whether all that was printed reached its file, which a full disk or a closed pipe prevents. If
// not, says so for `command`.
bool FlushOutput(const char* command);

}  // namespace plimsoll::tools

#endif  // PLIMSOLL_TOOLS_PLIMSOLL_COMMANDS_H_
