// What the machine has, without regard to any cgroup: CPUs we may run on, memory installed.
#ifndef PLIMSOLL_CONTAINER_SYSTEM_H_
#define PLIMSOLL_CONTAINER_SYSTEM_H_

#include <cstdint>

#include "plimsoll/container/cgroup/files.h"

namespace plimsoll::container {

// The number of CPUs in the calling thread's affinity mask; at least 1. Allocates nothing.
int AffinityCount();

// Bytes of memory; 0 when it cannot be told. `ask_kernel` takes it from sysinfo(2): LXCFS makes
// /proc/meminfo show the container's own limit, and a limit that is not below "the machine's
// memory" would then count as none. Otherwise it is MemTotal of /proc/meminfo.
uint64_t MemTotal(Files& files, bool ask_kernel);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_SYSTEM_H_
