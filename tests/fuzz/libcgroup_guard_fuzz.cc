// Fuzzes the guards that stand before libcgroup; the library itself is not called.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"
#include "tests/fuzz/fuzz_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plimsoll::container::FuzzFiles;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  FuzzFiles files(input, {"/proc/cgroups", "/proc/mounts"});
  const absl::Status status = plimsoll::container::LibcgroupTree::CheckInput(files);
  if (status.ok() && input.find("cgroup") == std::string_view::npos) abort();
  if (!status.ok() && status.message().empty()) abort();
  return 0;
}
