#include "plimsoll/runtime/service/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"

namespace plimsoll {
namespace {

std::set<int> Sockets() {
  std::set<int> sockets;
  for (int fd = 0; fd < 256; ++fd) {
    int type = 0;
    socklen_t size = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0) sockets.insert(fd);
  }
  return sockets;
}

// Handlers are installed once a process: each case is a child of its own.

TEST(TerminationSignalsDeathTest, WhatIsNoSignalToEndByIsPassedOver) {
  EXPECT_EXIT(
      {
        const std::set<int> before = Sockets();
        absl::StatusOr<TerminationSignals> signals = TerminationSignals::Install();
        // The two ends; what is written to one is read from the other. 9 would be SIGKILL.
        for (const int fd : Sockets()) {
          if (!before.contains(fd)) (void)!write(fd, "\x01\x09\xff", 3);
        }
        raise(SIGINT);
        const absl::StatusOr<int> number = signals->Wait();
        _exit(number.ok() ? *number : 99);
      },
      testing::ExitedWithCode(SIGINT),
      "brought 1, which is no signal to end by\n.*brought 9, .*\n.*brought 255, ");
}

// A pipe that is full, and whose reader has gone to sleep.
void FillStderr() {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK) != 0) _exit(98);
  const std::string page(4096, 'x');
  while (write(ends[1], page.data(), page.size()) > 0) {
  }
  while (write(ends[1], "x", 1) > 0) {
  }
  fcntl(ends[1], F_SETFL, 0);  // from now on a write to it waits
  dup2(ends[1], STDERR_FILENO);
}

TEST(TerminationSignalsDeathTest, TheSecondSignalEndsItAtOnceThoughNobodyDrainsStderr) {
  EXPECT_EXIT(
      {
        const absl::StatusOr<TerminationSignals> signals = TerminationSignals::Install();
        if (!signals.ok()) _exit(97);
        FillStderr();
        alarm(30);  // SIGALRM's default ends us where the handler hangs in its write
        // Those that come within 200 ms of the first are the same request.
        while (true) raise(SIGTERM);
      },
      testing::ExitedWithCode(128 + SIGTERM), "");
}

}  // namespace
}  // namespace plimsoll
