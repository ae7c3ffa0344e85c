// Says who runs it and whether the root can be written to: what a container is to be told by.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

int main(int argc, char** argv) {
  std::printf("uid %d gid %d arguments %d\n", getuid(), getgid(), argc - 1);
  for (int i = 1; i < argc; ++i) std::printf("argument %s\n", argv[i]);
  const int fd = open("/written", O_CREAT | O_WRONLY, 0644);
  std::printf("root %s\n", fd >= 0 ? "writable" : "read-only");
  std::thread([] { std::puts("threads work"); }).join();
  std::fflush(stdout);
  while (argc > 1 && std::strcmp(argv[1], "wait") == 0) pause();  // until it is killed
  return 0;
}
