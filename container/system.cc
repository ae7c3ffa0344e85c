#include "plimsoll/container/system.h"

#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/text.h"

namespace plimsoll::container {

int AffinityCount() {
  // The kernel's largest mask, 8192 CPUs; with glibc's cpu_set_t a bigger machine answers EINVAL.
  cpu_set_t masks[8];
  static_assert(sizeof(masks) * 8 == 8192);
  if (sched_getaffinity(0, sizeof(masks), masks) == 0) {
    const int count = CPU_COUNT_S(sizeof(masks), masks);
    if (count > 0) return count;
  }
  const long online = sysconf(_SC_NPROCESSORS_ONLN);
  return online > 0 ? static_cast<int>(online) : 1;
}

uint64_t MemTotal(Files& files, bool ask_kernel) {
  struct sysinfo info = {};
  if (ask_kernel && sysinfo(&info) == 0 && info.totalram > 0) {
    return static_cast<uint64_t>(info.totalram) * (info.mem_unit != 0 ? info.mem_unit : 1);
  }
  const FileText meminfo = ReadFile(files, "/proc/meminfo", 65536, ReadStyle::kToEnd);
  constexpr std::string_view kKey = "MemTotal:";
  std::string_view rest = meminfo.text;
  if (!rest.starts_with(kKey)) return 0;
  rest.remove_prefix(kKey.size());
  rest = rest.substr(0, rest.find('\n'));
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  uint64_t kib = 0;
  if (!rest.ends_with(" kB") || !ParseDigits(rest.substr(0, rest.size() - 3), &kib)) return 0;
  if (kib > UINT64_MAX / 1024) return 0;
  return kib * 1024;
}

}  // namespace plimsoll::container
