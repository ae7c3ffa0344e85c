// Fuzzes the guards that stand before libcgroup; the library itself is not called.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"
#include "plimsoll/container/cgroup/resolver.h"
#include "tests/fuzz/fuzz_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plimsoll::container::CgroupVersion;
  using plimsoll::container::FuzzFiles;
  using plimsoll::container::LibcgroupTree;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  FuzzFiles files(input, {"/proc/cgroups", "/proc/mounts"});
  const absl::Status status = LibcgroupTree::CheckInput(files);
  if (status.ok() && input.find("cgroup") == std::string_view::npos) abort();
  if (!status.ok() && status.message().empty()) abort();
  // Without a table of mounts it serves nobody.
  if (LibcgroupTree().Serves("cpu", CgroupVersion::kV2, "/sys/fs/cgroup")) abort();
  return 0;
}
