// Finds the directories that hold the limits of this process, for one controller.
//
//   /proc/self/cgroup   0::/kubepods/pod7/c1         the cgroup
//   mountinfo           root /kubepods at /cg        the part of the tree that is mounted, and
//   where result              /cg/pod7/c1  /cg/pod7  /cg   own directory first, the mount point
//   last
//
// The rules (container/DESIGN.md has the reasons):
//
//   (1) A controller on a v1 line is looked for on v1 mounts alone; else v2's line and mounts hold.
//
//   (2) The root must be a whole-component prefix of the path; the rest is appended to the mount
//       point. Of several such mounts the one that shows most levels wins, the first on a tie.
//
//   (3) A root of ".." alone that is above the path is a parent of unknown distance: its limit
//       holds, but our own directory cannot be named.
//
//   (4) Anything else is not exposed. A ".." is never followed out of a mount.
#ifndef PLIMSOLL_CONTAINER_CGROUP_RESOLVER_H_
#define PLIMSOLL_CONTAINER_CGROUP_RESOLVER_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/mountinfo.h"
#include "plimsoll/container/cgroup/self_cgroup.h"

namespace plimsoll::container {

enum class CgroupVersion { kNone, kV1, kV2 };

// "none", "v1", "v2".
std::string_view ToString(CgroupVersion version);

enum class Exposure {
  kNoHierarchy,     // the controller is on no line of /proc/self/cgroup
  kNotExposed,      // rule (4): no directory of ours is mounted
  kOwnPathUnknown,  // rule (3): `dirs` holds the mount point alone
  kOwnDirectory,    // `dirs` starts with our own directory
};

struct Hierarchy {
  CgroupVersion version = CgroupVersion::kNone;
  Exposure exposure = Exposure::kNoHierarchy;
  bool deleted = false;     // set by whoever finds that the directory is gone
  std::string path;         // from /proc/self/cgroup
  std::string mount_point;  // empty unless something is exposed
  std::string mount_root;
  std::vector<std::string> dirs;
};

Hierarchy Resolve(std::string_view controller, std::span<const CgroupLine> lines,
                  std::span<const CgroupMount> mounts);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_RESOLVER_H_
