// plimsoll: the command. Dispatches to the commands of commands.h.
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/tools/plimsoll/commands.h"

namespace {

constexpr char kHelp[] =
    R"(plimsoll: tells what a container allows, and runs programs by it.

  plimsoll limits [--json] [--watch] [--root DIR]    what was found, level by level
  plimsoll exec [--] COMMAND...                      run COMMAND with GOMAXPROCS, GOMEMLIMIT ... set
  plimsoll COMMAND --help                            more about one of them
)";

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (words.empty()) {
    fputs(kHelp, stderr);
    return 2;
  }
  const std::span<const std::string> rest = std::span(words).subspan(1);
  if (words[0] == "limits") return plimsoll::tools::LimitsCommand(rest);
  if (words[0] == "exec") return plimsoll::tools::ExecCommand(rest);
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    fputs(kHelp, stdout);
    return plimsoll::tools::FlushOutput("plimsoll") ? 0 : 1;
  }
  fprintf(stderr, "plimsoll: unknown command %s; see plimsoll --help\n",
          plimsoll::container::Quote(words[0]).c_str());
  return 2;
}
