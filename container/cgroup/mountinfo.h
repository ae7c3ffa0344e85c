// Reads /proc/self/mountinfo: where cgroup file systems are mounted, and which part of each.
//
//   36 35 98:0 /kubepods/c1 /sys/fs/cgroup ro,noatime master:1 - cgroup2 cgroup rw,nsdelegate
//   id parent  root         mount point    options    optional  type    source super options
//
// Root and mount point hold space, tab, newline and backslash as \040 \011 \012 \134.
#ifndef PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_
#define PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_

#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"

namespace plimsoll::container {

struct CgroupMount {
  bool v2 = false;
  std::string root;  // the cgroup that is seen at mount_point; may start with "/.."
  std::string mount_point;
  std::vector<std::string> options;  // super options; on v1 they name the controllers

  bool HasController(std::string_view name) const;
};

// The cgroup mounts that a path can reach, in the file's order: a mount that another covers is left
// out. A bad line is skipped with a "mountinfo-line" diagnostic.
std::vector<CgroupMount> ParseMountinfo(std::string_view contents, DiagnosticList& diagnostics);

// `text` with each \NNN (three octal digits, at most 377) replaced by that byte.
std::string UnescapeOctal(std::string_view text);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_
