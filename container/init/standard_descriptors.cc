#include "plimsoll/container/init/standard_descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

namespace plimsoll::container {

void TakeStandardDescriptors(const char* null_device) {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The lowest free one is fd: those below are open.
    if (open(null_device, O_RDWR) == fd) continue;
    const int nothing = memfd_create("plimsoll-no-stdio", MFD_ALLOW_SEALING);
    if (nothing == fd) (void)fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SEAL);
  }
}

}  // namespace plimsoll::container
