// Capabilities tells, in plain words, which features of the kernel this process may use: a
// container's seccomp profile, an old node or a sysctl takes some of them away, and a service
// should say so once and go on.
//
//   for (const Capability& c : ProbeCapabilities()) base::RawLog(ToLine(c));
//   plimsoll: io_uring: forbidden (EPERM: a seccomp profile or kernel.io_uring_disabled); epoll is
//   used
//
// Cost:     a dozen system calls. Nothing is left open or mapped.
// Failure:  none: what cannot be found out is said to be unknown, and why.
// Threads:  any; meant for the start.
#ifndef PLIMSOLL_RUNTIME_CAPABILITIES_H_
#define PLIMSOLL_RUNTIME_CAPABILITIES_H_

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

enum class Presence : uint8_t {
  kUsed,       // there, and the runtime uses it
  kAvailable,  // there, and the runtime does not use it
  kMissing,    // the kernel does not have it
  kForbidden,  // the kernel or a filter refuses it
  kUnknown,
};

// "used", "available, not used", "missing", "forbidden", "unknown".
std::string_view ToString(Presence presence);

struct Capability {
  std::string name;  // "io_uring"
  Presence presence;
  std::string why;      // "EPERM: ..."; empty where nothing needs saying
  std::string instead;  // what is used in its place; empty where nothing is lost
};

// "plimsoll: io_uring: forbidden (EPERM: ...); epoll is used".
std::string ToLine(const Capability& capability);

// How the kernel is asked; tests put answers of their own here. Each answers 0 or more, or -errno.
struct KernelProbes {
  int (*guard_install)();  // MADV_GUARD_INSTALL on a page of our own
  int (*io_uring)();
  int (*epoll_pwait2)();
  int (*rseq)();
  int (*membarrier)();
  int (*userfaultfd)();
  int (*memfd)();
  // The first line of a file, without its end, and 0; -errno if it cannot be read.
  int (*first_line)(const char* path, std::string* line);
};
extern const KernelProbes kRealKernel;

// In a fixed order.
std::vector<Capability> ProbeCapabilities(const KernelProbes& kernel = kRealKernel);

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_CAPABILITIES_H_
