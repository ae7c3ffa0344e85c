// Reads /proc/self/cgroup: in which cgroup of each hierarchy this process lives.
//
//   12:cpu,cpuacct:/kubepods/pod 7/c:1        hierarchy : controllers : path
//   0::/kubepods.slice/x.scope (deleted)      v2; the directory is gone, or has that name
//
// A path may hold spaces and colons, so a line is cut at its first two colons only. It is relative
// to the reader's cgroup namespace and may start with "/..": a cgroup outside that namespace.
#ifndef PLIMSOLL_CONTAINER_CGROUP_SELF_CGROUP_H_
#define PLIMSOLL_CONTAINER_CGROUP_SELF_CGROUP_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"

namespace plimsoll::container {

struct CgroupLine {
  bool v2 = false;
  std::vector<std::string> controllers;  // v1 only; named hierarchies as "name=systemd"
  std::string path;                      // starts with '/'; as printed, " (deleted)" included
};

// The lines of `contents`. A bad line is skipped with a "cgroup-line" diagnostic; a last line
// without its newline is used, and reported too.
std::vector<CgroupLine> ParseSelfCgroup(std::string_view contents, DiagnosticList& diagnostics);

// What `path` was called before its cgroup was removed; nullopt: nothing says that it was. The
// kernel puts " (deleted)" behind the path of a removed cgroup (v2 alone, and only a process whose
// first thread has ended can live in one), and anybody may call a live one so.
std::optional<std::string> PathBeforeDeletion(std::string_view path);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_SELF_CGROUP_H_
