// orphan_maker N: leaves N orphans to the PID 1 (or subreaper) that is our parent, all zombies at
// one time, and waits until that has reaped them. Prints "N orphans made, K left"; exits 0 when K
// is 0.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>

namespace {

constexpr int kPatienceMs = 20'000;

// The children of process `pid`, counted; -1 when /proc does not tell.
int CountChildren(pid_t pid) {
  const std::string path =
      "/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children";
  FILE* file = fopen(path.c_str(), "re");
  if (file == nullptr) return -1;
  int count = 0;
  for (int c; (c = fgetc(file)) != EOF;) count += c == ' ';
  fclose(file);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  const int orphans = argc == 2 ? atoi(argv[1]) : 0;
  if (orphans <= 0) {
    fprintf(stderr, "usage: orphan_maker N\n");
    return 2;
  }
  const pid_t reaper = getppid();
  int hold[2];
  if (pipe(hold) != 0) return 2;
  const pid_t parent = fork();
  if (parent == 0) {
    close(hold[1]);
    for (int i = 0; i < orphans; ++i) {
      const pid_t pid = fork();
      if (pid < 0) _exit(1);
      if (pid == 0) {
        char byte;
        (void)!read(hold[0], &byte, 1);  // all are released at once, by the close below
        _exit(0);
      }
    }
    _exit(0);
  }
  close(hold[0]);
  int status;
  if (parent < 0 || waitpid(parent, &status, 0) != parent || status != 0) {
    fprintf(stderr, "orphan_maker: fork failed\n");
    return 2;
  }
  const int adopted = CountChildren(reaper) - 1;  // without us
  if (adopted < orphans) {
    fprintf(stderr, "orphan_maker: process %d has %d children of %d\n", reaper, adopted, orphans);
    return 2;
  }
  close(hold[1]);
  int left = orphans;
  for (int ms = 0; ms < kPatienceMs && left > 0; ++ms) {
    left = CountChildren(reaper) - 1;
    const timespec a_while{0, 1'000'000};
    if (left > 0) nanosleep(&a_while, nullptr);
  }
  printf("%d orphans made, %d left\n", orphans, left);
  return left == 0 ? 0 : 1;
}
