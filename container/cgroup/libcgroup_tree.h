// LibcgroupTree is the one door to libcgroup: which controllers are mounted where, and the first
// line of a limit file below a mount point.
//
//   absl::StatusOr<LibcgroupTree> tree = LibcgroupTree::Open();
//   if (tree.ok() && tree->Serves("cpu", CgroupVersion::kV2, "/sys/fs/cgroup"))
//     std::optional<FileText> text = tree->ReadLine("cpu", "/sys/fs/cgroup", "pod7/c1", "cpu.max");
//
// What we ask of it and what not: DESIGN.md. It knows nothing of mount roots, of namespaces or of
// v2's own path, so the relative path is always one that we computed.
//
// Guards:   cgroup_init() of libcgroup 2.0.2 crashes or overruns a table on input that a bind mount
//           can produce (a cgroup.controllers of one newline; more than a hundred controllers).
//           Open first reads the files that it will read, and refuses what would harm it.
// Stack:    its frames take 20 to 30 KiB each. Call on a thread's own stack, NEVER on a
// goroutine's. Threads:  any; one lock serialises all calls, since its tables are global.
// Memory:   2.5 MiB of .bss, touched on first use.
// Output:   none: its logger is set to one that drops everything.
// Absent:   built with --define=libcgroup=off, Open answers kUnimplemented.
#ifndef PLIMSOLL_CONTAINER_CGROUP_LIBCGROUP_TREE_H_
#define PLIMSOLL_CONTAINER_CGROUP_LIBCGROUP_TREE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/files.h"
#include "plimsoll/container/cgroup/resolver.h"

namespace plimsoll::container {

class LibcgroupTree {
 public:
  // Reads the process's mount table, anew at each call. An error says which file held what.
  static absl::StatusOr<LibcgroupTree> Open();

  // The guards alone: OK when cgroup_init() can be called. Reads through `files`.
  static absl::Status CheckInput(Files& files);

  // Whether reading `controller` with libcgroup reads below this mount point: it always takes the
  // first mount of a controller, which need not be the one that shows our levels.
  bool Serves(std::string_view controller, CgroupVersion version,
              std::string_view mount_point) const;

  // The text of MOUNT_POINT/RELATIVE/NAME when it is one whole line, or that the file is missing.
  // nullopt: anything else, which the caller reads with our own reader to learn what it is.
  std::optional<FileText> ReadLine(std::string_view controller, std::string_view mount_point,
                                   std::string_view relative, std::string_view name) const;

  struct Controller {
    std::string name;
    CgroupVersion version = CgroupVersion::kNone;
    std::vector<std::string> mount_points;  // the first is the one that reads use
  };
  const std::vector<Controller>& controllers() const { return controllers_; }

 private:
  std::vector<Controller> controllers_;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_LIBCGROUP_TREE_H_
