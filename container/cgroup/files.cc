#include "plimsoll/container/cgroup/files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

namespace plimsoll::container {
namespace {

// A FIFO or a device where a limit file should be must not make us wait or become our terminal.
constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

}  // namespace

SystemFiles::SystemFiles(std::string root) : root_(std::move(root)) {
  while (!root_.empty() && root_.back() == '/') root_.pop_back();
  if (!root_.empty()) root_descriptor_ = open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
}

SystemFiles::~SystemFiles() {
  if (root_descriptor_ >= 0) close(root_descriptor_);
}

int SystemFiles::OpenWith(const char* path, int flags) {
  if (root_.empty()) {
    const int descriptor = open(path, flags);
    return descriptor >= 0 ? descriptor : -errno;
  }
  if (root_descriptor_ >= 0) {
    open_how how = {};
    how.flags = static_cast<uint64_t>(flags);
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const int64_t descriptor = syscall(SYS_openat2, root_descriptor_, path, &how, sizeof(how));
    if (descriptor >= 0) return static_cast<int>(descriptor);
    // A kernel before 5.6 or a seccomp profile that has not heard of openat2.
    if (errno != ENOSYS && errno != EPERM) return -errno;
  }
  const int descriptor = open((root_ + path).c_str(), flags);
  return descriptor >= 0 ? descriptor : -errno;
}

int SystemFiles::Open(const char* path) { return OpenWith(path, kFlags); }

int64_t SystemFiles::ReadAt(int handle, char* buffer, size_t size, int64_t offset) {
  for (;;) {
    const ssize_t got = pread(handle, buffer, size, offset);
    if (got >= 0) return got;
    if (errno != EINTR) return -errno;
  }
}

void SystemFiles::Close(int handle) { close(handle); }

int SystemFiles::IsDirectory(const char* path) {
  const int descriptor = OpenWith(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return descriptor;
  close(descriptor);
  return 1;
}

// proc_pid_mountinfo(5): a change of the mount table is an exceptional condition for poll(2), told
// once. On a plain file, below another root, there never is one.
bool SystemFiles::MountsChanged(int handle) {
  pollfd descriptor{.fd = handle, .events = POLLPRI, .revents = 0};
  return poll(&descriptor, 1, 0) == 1 && (descriptor.revents & POLLPRI) != 0;
}

bool FileText::missing() const { return error == ENOENT; }

FileText ReadFile(Files& files, const std::string& path, size_t limit, ReadStyle style) {
  FileText result;
  const int handle = files.Open(path.c_str());
  if (handle < 0) {
    result.error = -handle;
    return result;
  }
  // One byte more than the limit tells a file that is too long from one that just fits.
  size_t size = 0;
  while (size <= limit) {
    const size_t room = std::min<size_t>(limit + 1 - size, size == 0 ? 4096 : 65536);
    result.text.resize(size + room);
    const int64_t got =
        files.ReadAt(handle, result.text.data() + size, room, static_cast<int64_t>(size));
    if (got < 0) {
      result.error = static_cast<int>(-got);
      break;
    }
    if (got == 0) break;
    size += std::min(static_cast<size_t>(got), room);
    const bool short_read = static_cast<size_t>(got) < room;
    if (style == ReadStyle::kOneLine && short_read && result.text[size - 1] == '\n') break;
  }
  files.Close(handle);
  if (size > limit) {
    result.truncated = true;
    size = limit;
  }
  result.text.resize(result.error == 0 ? size : 0);
  return result;
}

}  // namespace plimsoll::container
