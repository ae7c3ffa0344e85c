#include "plimsoll/container/init/standard_descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace plimsoll::container {
namespace {

bool IsNull(int fd) {
  struct stat null, it;
  return stat("/dev/null", &null) == 0 && fstat(fd, &it) == 0 && it.st_rdev == null.st_rdev;
}

// Empty for a reader, and refused to a writer.
bool IsSealed(int fd) {
  char byte = 0;
  return read(fd, &byte, 1) == 0 && write(fd, "x", 1) == -1 && errno == EPERM &&
         ftruncate(fd, 1) == -1 && errno == EPERM;
}

// Calls it in a child in which `closed` are closed; what `check` says of each of 0 to 2 there, as
// "yyn". A letter that nobody could write is missing.
std::string InChild(const std::vector<int>& closed, const char* null_device, bool (*check)(int)) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int fd : closed) close(fd);
    TakeStandardDescriptors(null_device);
    for (int fd = 0; fd <= 2; ++fd) (void)!write(ends[1], check(fd) ? "y" : "n", 1);
    // What is opened next is none of them.
    const int next = open("/", O_RDONLY);
    _exit(next > 2 ? 0 : 1);
  }
  close(ends[1]);
  std::string said;
  char buffer[16];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    said.append(buffer, static_cast<size_t>(n));
  }
  close(ends[0]);
  int status = -1;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << "a descriptor up to 2 is free";
  return said;
}

TEST(StandardDescriptorsTest, ThoseThatAreClosedBecomeTheNullDevice) {
  EXPECT_EQ(InChild({0, 1, 2}, "/dev/null", IsNull), "yyy");
}

TEST(StandardDescriptorsTest, WithoutANullDeviceTheyAreEmptyAndSealed) {
  EXPECT_EQ(InChild({0, 1, 2}, "/dev/no-such-device", IsSealed), "yyy");
}

TEST(StandardDescriptorsTest, ThoseThatAreOpenStayAsTheyAre) {
  EXPECT_EQ(InChild({1}, "/dev/no-such-device", IsSealed), "nyn");
}

}  // namespace
}  // namespace plimsoll::container
