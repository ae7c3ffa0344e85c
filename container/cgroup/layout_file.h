// Unpacks a .layout file, which holds a container's file system as one readable text.
//
//   -- proc/self/cgroup --                  a file; its lines follow, up to the next header
//   0::/svc
//   -- sys/fs/cgroup/empty/ --              a directory that need not have files
//   -- sys/fs/cgroup/a -> b --              a symbolic link
//   -- sys/fs/cgroup/x (escaped) --         one line in which, as in the name, \xNN is a byte; no
//                                           newline at its end
//   max\x00
//
// One text a layout, because neither Bazel nor git can hold every name that a cgroup may have, nor
// a directory without files.
#ifndef PLIMSOLL_CONTAINER_CGROUP_LAYOUT_FILE_H_
#define PLIMSOLL_CONTAINER_CGROUP_LAYOUT_FILE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace plimsoll::container {

struct LayoutEntry {
  enum class Kind { kFile, kDirectory, kLink };
  Kind kind = Kind::kFile;
  std::string path;  // relative, "proc/self/cgroup"
  std::string text;  // of a file; of a link, its target
};

absl::StatusOr<std::vector<LayoutEntry>> ParseLayout(std::string_view text);

// Writes what `text` describes below the existing directory `root`.
absl::Status UnpackLayout(std::string_view text, const std::string& root);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_LAYOUT_FILE_H_
