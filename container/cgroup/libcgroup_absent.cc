// LibcgroupTree in a build without libcgroup: our own reader does it all.
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/libcgroup_tree.h"

namespace plimsoll::container {

absl::StatusOr<LibcgroupTree> LibcgroupTree::Open() {
  return absl::UnimplementedError("built without libcgroup");
}

std::optional<FileText> LibcgroupTree::ReadLine(std::string_view, std::string_view,
                                                std::string_view, std::string_view) const {
  return std::nullopt;
}

}  // namespace plimsoll::container
