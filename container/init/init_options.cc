#include "plimsoll/container/init/init_options.h"

#include <charconv>
#include <utility>

#include "plimsoll/container/cgroup/text.h"
#include "plimsoll/container/init/exit_status.h"

namespace plimsoll::container {
namespace {

constexpr std::string_view kHelp =
    R"(plimsoll-init: the PID 1 of a container, for a program that does not want to be it

usage: plimsoll-init [-gsvw] [-p SIGNAL] [-e CODE]... [--] PROGRAM [ARGUMENT]...

It starts PROGRAM, passes on to it every signal that it gets, reaps the processes
that lose their parents, and exits as PROGRAM does: with its exit code, or with
128 + N when signal N ended it.

  -g          pass signals on to PROGRAM's whole process group. For a shell script:
              a shell heeds a signal only when the command that it runs has ended
  -s          be a subreaper: adopt orphans although this is not PID 1
              (a shared PID namespace; a supervisor outside of containers)
  -w          name each orphan that is reaped: who leaves them?
  -v          say what is started, passed on and reaped
  -p SIGNAL   get SIGNAL (as KILL, SIGKILL or 9) when our own parent dies
  -e CODE     exit with 0 where PROGRAM exits with CODE (143 for a program that
              ends by SIGTERM, and that is well); may be repeated
  --help  --version

exit codes of its own: 127 PROGRAM was not found, 126 it may not be run,
                       1 anything else went wrong, wrong use included

in an image:     ENTRYPOINT ["/plimsoll-init", "--", "/app"]
see what it does:  plimsoll-init -sv -- sh -c 'sleep 1 & exit 3'; echo $?
)";

absl::Status Wrong(std::string_view what, std::string_view text) {
  return absl::InvalidArgumentError(Concat(what, " ", Quote(text)));
}

absl::Status TakeValue(char letter, std::string_view value, InitOptions& options) {
  if (letter == 'p') {
    options.parent_death_signal = SignalNumber(value);
    if (options.parent_death_signal == 0) return Wrong("-p: no such signal:", value);
    return absl::OkStatus();
  }
  int code = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), code);
  if (error != std::errc() || end != value.data() + value.size() || code < 0 || code > 255) {
    return Wrong("-e: not an exit code from 0 to 255:", value);
  }
  options.success_codes.set(static_cast<size_t>(code));
  return absl::OkStatus();
}

}  // namespace

std::string_view InitHelp() { return kHelp; }

absl::StatusOr<InitOptions> ParseInitOptions(std::span<const std::string_view> args) {
  InitOptions options;
  while (!args.empty() && args[0].size() > 1 && args[0][0] == '-') {
    const std::string_view word = args[0];
    args = args.subspan(1);
    if (word == "--") break;
    if (word == "--help" || word == "-h") {
      options.act = InitOptions::Act::kHelp;
      return options;
    }
    if (word == "--version") {
      options.act = InitOptions::Act::kVersion;
      return options;
    }
    for (size_t i = 1; i < word.size(); ++i) {
      switch (word[i]) {
        case 'g':
          options.whole_group = true;
          continue;
        case 's':
          options.subreaper = true;
          continue;
        case 'v':
          options.verbose = true;
          continue;
        case 'w':
          options.warn_on_reap = true;
          continue;
        case 'p':
        case 'e':
          break;
        default:
          return Wrong("no such option:", word);
      }
      // The value is the rest of this word, or the next word.
      std::string_view value = word.substr(i + 1);
      if (value.empty()) {
        if (args.empty()) return Wrong("a value is missing after", word);
        value = args[0];
        args = args.subspan(1);
      }
      if (absl::Status taken = TakeValue(word[i], value, options); !taken.ok()) return taken;
      break;
    }
  }
  options.argv.assign(args.begin(), args.end());
  if (options.argv.empty()) return absl::InvalidArgumentError("no program was named");
  return options;
}

}  // namespace plimsoll::container
