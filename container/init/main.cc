// plimsoll-init: PID 1 for a container whose program does not want to be it.
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/init/init.h"
#include "plimsoll/container/init/init_options.h"
#include "plimsoll/container/init/standard_descriptors.h"

namespace {

// One write a line, so that lines do not mix with those of the program that shares our stderr.
void Log(std::string_view line) {
  std::string text = "plimsoll-init: ";
  text.append(line).push_back('\n');
  (void)!write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  // Before the pipe that tells of exec: it would become PROGRAM's stderr.
  plimsoll::container::TakeStandardDescriptors();
  using plimsoll::container::InitOptions;
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  const absl::StatusOr<InitOptions> options = plimsoll::container::ParseInitOptions(args);
  if (!options.ok()) {
    Log(std::string(options.status().message()));
    Log("try plimsoll-init --help");
    return 1;
  }
  switch (options->act) {
    case InitOptions::Act::kHelp:
      fwrite(plimsoll::container::InitHelp().data(), 1, plimsoll::container::InitHelp().size(),
             stdout);
      return 0;
    case InitOptions::Act::kVersion:
      puts("plimsoll-init 0.1");
      return 0;
    case InitOptions::Act::kRun:
      break;
  }
  return plimsoll::container::RunInit(*options, Log);
}
