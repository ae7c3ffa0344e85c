// Reads /proc/self/mountinfo: where cgroup file systems are mounted, and which part of each.
//
//   36 35 98:0 /kubepods/c1 /sys/fs/cgroup ro,noatime master:1 - cgroup2 cgroup rw,nsdelegate
//   id parent  root         mount point    options    optional  type    source super options
//
// Root and mount point hold space, tab, newline and backslash as \040 \011 \012 \134.
#ifndef PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_
#define PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_

#include <cstddef>
#include <cstdint>
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

// The same for a file that is read piece by piece: of 100,000 lines with kilobytes of overlay
// directories it keeps two numbers and the mount point each, 32 MiB at most.
class MountinfoParser {
 public:
  // `diagnostics` must outlive this.
  explicit MountinfoParser(DiagnosticList& diagnostics) : diagnostics_(diagnostics) {}

  // Takes the next piece of the file; lines may be cut anywhere.
  void Feed(std::string_view text);

  // Call once, after the last piece.
  std::vector<CgroupMount> Finish();

  struct Mount {
    uint64_t id = 0;
    uint64_t parent = 0;
    // The mount point with a zero byte for each '/', and none at its end: in the order of these
    // what is below a directory directly follows it.
    std::string key = {};
    size_t cgroup = 0;  // 1 + index into the cgroup mounts; 0: another file system
  };

 private:
  void Line(std::string_view line);
  void EndLine();
  void Skip(std::string_view line, std::string_view why);

  DiagnosticList& diagnostics_;
  std::string rest_ = {};  // of a line that is not yet whole
  bool cut_ = false;       // there is such a line, be it empty so far
  size_t number_ = 0;      // of lines so far
  size_t kept_bytes_ = 0;
  std::vector<Mount> mounts_ = {};
  std::vector<CgroupMount> cgroups_ = {};
  std::vector<size_t> cgroup_lines_ = {};  // the number of each one's line
};

// `text` with each \NNN (three octal digits, at most 377) replaced by that byte.
std::string UnescapeOctal(std::string_view text);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_MOUNTINFO_H_
