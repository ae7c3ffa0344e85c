#include "plimsoll/runtime/capabilities.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdint>

#include "plimsoll/alloc/base/raw_log.h"

// Numbers that older headers lack. They are the same on x86-64 and aarch64.
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102  // Linux 6.13
#endif

namespace plimsoll {
namespace {

int Answer(long result) { return result < 0 ? -errno : static_cast<int>(result); }

// A descriptor that was made only to see whether it can be.
int AnswerAndClose(long result) {
  if (result < 0) return -errno;
  close(static_cast<int>(result));
  return 0;
}

int ProbeGuardInstall() {
  const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -errno;
  const int answer = Answer(madvise(page, size, MADV_GUARD_INSTALL));
  munmap(page, size);
  return answer;
}

int ProbeIoUring() {
  // struct io_uring_params of <linux/io_uring.h>: 120 bytes, zero for the defaults.
  alignas(8) char params[120] = {};
  return AnswerAndClose(syscall(SYS_io_uring_setup, 1, params));
}

int ProbeEpollPwait2() {
  const int answer = Answer(syscall(SYS_epoll_pwait2, -1, nullptr, 1, nullptr, nullptr, 0));
  // The kernel that knows the call gets as far as its arguments.
  return answer == -EBADF || answer == -EINVAL || answer == -EFAULT ? 0 : answer;
}

int ProbeRseq() {
  if (__rseq_size > 0) return 0;  // glibc has registered it
  const int answer = Answer(syscall(SYS_rseq, nullptr, 0, 0, 0));
  return answer == -EINVAL ? 0 : answer;
}

int ProbeMembarrier() {
  return Answer(syscall(SYS_membarrier, 0 /* MEMBARRIER_CMD_QUERY */, 0, 0));
}

int ProbeUserfaultfd() {
  constexpr int kUserModeOnly = 1;  // UFFD_USER_MODE_ONLY, Linux 5.11
  return AnswerAndClose(syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly));
}

int ProbeMemfd() { return AnswerAndClose(syscall(SYS_memfd_create, "plimsoll-probe", 1)); }

int FirstLine(const char* path, std::string* line) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  char text[256];
  const ssize_t n = read(fd, text, sizeof(text));
  const int answer = Answer(n);
  close(fd);
  if (n <= 0) return answer;
  const std::string_view all(text, static_cast<size_t>(n));
  *line = all.substr(0, all.find('\n'));
  return 0;
}

// What a setting's file holds, for whoever does not understand it.
std::string Holds(const char* path, std::string_view text) {
  base::RawText quoted;
  quoted.Add(path);
  quoted.Add(" holds ");
  quoted.Add(base::Quoted{text});
  return std::string(quoted.view());
}

std::string CannotBeRead(const char* path, int answer) {
  return std::string(path) + " cannot be read: " + std::string(base::ErrnoName(-answer));
}

// A system call by what the kernel answers to it.
Capability Call(std::string name, int answer, Presence when_there, std::string no_such_call,
                std::string refused, std::string instead) {
  Capability c{std::move(name), when_there, "", ""};
  if (answer >= 0) return c;
  const std::string errno_name(base::ErrnoName(-answer));
  c.instead = std::move(instead);
  switch (-answer) {
    case ENOSYS:
      c.presence = Presence::kMissing;
      c.why = errno_name + ": " + std::move(no_such_call);
      break;
    case EPERM:
    case EACCES:
      c.presence = Presence::kForbidden;
      c.why = errno_name + ": " + std::move(refused);
      break;
    default:
      c.presence = Presence::kUnknown;
      c.why = errno_name;
      break;
  }
  return c;
}

Capability GuardPages(const KernelProbes& kernel) {
  const int answer = kernel.guard_install();
  if (answer >= 0)
    return {"MADV_GUARD_INSTALL", Presence::kUsed, "stack guards cost no mapping", ""};
  if (answer == -EINVAL) {
    return {"MADV_GUARD_INSTALL", Presence::kMissing, "EINVAL: the kernel is older than 6.13",
            "stacks are guarded by mprotect while vm.max_map_count lasts"};
  }
  return Call("MADV_GUARD_INSTALL", answer, Presence::kUsed, "the kernel has no madvise",
              "a seccomp profile refuses madvise",
              "stacks are guarded by mprotect while vm.max_map_count lasts");
}

Capability IoUring(const KernelProbes& kernel) {
  const int answer = kernel.io_uring();
  std::string disabled;
  kernel.first_line("/proc/sys/kernel/io_uring_disabled", &disabled);  // before 6.6 there is none
  std::string refused = "a seccomp profile refuses it";
  if (answer == -EACCES) {
    refused = "a security module refuses it";
  } else if (disabled == "1" || disabled == "2") {
    refused = "kernel.io_uring_disabled is " + disabled;
  }
  Capability c = Call("io_uring", answer, Presence::kAvailable,
                      "the kernel was built without it, or a seccomp profile hides it",
                      std::move(refused), "epoll is used");
  if (c.presence == Presence::kAvailable) c.instead = "epoll is used";
  return c;
}

Capability MaxMapCount(const KernelProbes& kernel) {
  constexpr char kPath[] = "/proc/sys/vm/max_map_count";
  constexpr char kInstead[] = "65530 is assumed";
  std::string text;
  if (const int answer = kernel.first_line(kPath, &text); answer < 0) {
    return {"vm.max_map_count", Presence::kUnknown, CannotBeRead(kPath, answer), kInstead};
  }
  int64_t count = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), count);
  if (text.empty() || r.ec != std::errc() || r.ptr != text.data() + text.size()) {
    return {"vm.max_map_count", Presence::kUnknown, Holds(kPath, text), kInstead};
  }
  return {"vm.max_map_count", Presence::kUsed, text, ""};
}

Capability HugePages(const KernelProbes& kernel) {
  constexpr char kName[] = "transparent huge pages";
  constexpr char kPath[] = "/sys/kernel/mm/transparent_hugepage/enabled";
  std::string text;
  if (const int answer = kernel.first_line(kPath, &text); answer < 0) {
    // Without the file the kernel has none, or there is no /sys; any other error says nothing.
    return {kName, answer == -ENOENT ? Presence::kMissing : Presence::kUnknown,
            CannotBeRead(kPath, answer), ""};
  }
  const size_t open = text.find('[');
  const size_t close = text.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) {
    return {kName, Presence::kUnknown, Holds(kPath, text), ""};
  }
  const std::string mode = text.substr(open + 1, close - open - 1);
  return {kName, mode == "never" ? Presence::kMissing : Presence::kAvailable,
          "the node's setting is " + mode, ""};
}

}  // namespace

const KernelProbes kRealKernel = {
    &ProbeGuardInstall, &ProbeIoUring,     &ProbeEpollPwait2, &ProbeRseq,
    &ProbeMembarrier,   &ProbeUserfaultfd, &ProbeMemfd,       &FirstLine,
};

std::string_view ToString(Presence presence) {
  switch (presence) {
    case Presence::kUsed:
      return "used";
    case Presence::kAvailable:
      return "available, not used";
    case Presence::kMissing:
      return "missing";
    case Presence::kForbidden:
      return "forbidden";
    case Presence::kUnknown:
      return "unknown";
  }
  return "unknown";
}

std::string ToLine(const Capability& capability) {
  std::string line = "plimsoll: " + capability.name + ": ";
  line += ToString(capability.presence);
  if (!capability.why.empty()) line += " (" + capability.why + ")";
  if (!capability.instead.empty()) line += "; " + capability.instead;
  return line;
}

std::vector<Capability> ProbeCapabilities(const KernelProbes& kernel) {
  const std::string filtered = "a seccomp profile refuses it";
  std::vector<Capability> all;
  all.push_back(GuardPages(kernel));
  all.push_back(IoUring(kernel));
  all.push_back(Call("epoll_pwait2", kernel.epoll_pwait2(), Presence::kUsed,
                     "the kernel is older than 5.11", filtered,
                     "epoll_wait is used, timers are rounded up to a millisecond"));
  all.push_back(Call("rseq", kernel.rseq(), Presence::kAvailable, "the kernel was built without it",
                     filtered, ""));
  all.push_back(Call("membarrier", kernel.membarrier(), Presence::kAvailable,
                     "the kernel was built without it", filtered, ""));
  all.push_back(Call("userfaultfd", kernel.userfaultfd(), Presence::kAvailable,
                     "the kernel was built without it",
                     "a seccomp profile or vm.unprivileged_userfaultfd refuses it", ""));
  all.push_back(Call("memfd_create", kernel.memfd(), Presence::kAvailable,
                     "the kernel was built without it", filtered, ""));
  all.push_back(MaxMapCount(kernel));
  all.push_back(HugePages(kernel));
  return all;
}

}  // namespace plimsoll
