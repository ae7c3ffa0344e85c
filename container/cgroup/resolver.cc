#include "plimsoll/container/cgroup/resolver.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::container {
namespace {

// The components of a path; empty ones are dropped, so "/" has none.
std::vector<std::string_view> Components(std::string_view path) {
  std::vector<std::string_view> components;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    if (slash > 0) components.push_back(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
  }
  return components;
}

struct Match {
  Exposure exposure = Exposure::kNotExposed;
  std::vector<std::string_view> below;  // the path's components below the root
};

Match MatchRoot(std::string_view path_text, std::string_view root_text) {
  const std::vector<std::string_view> path = Components(path_text);
  const std::vector<std::string_view> root = Components(root_text);
  Match match;
  if (root.size() <= path.size() && std::equal(root.begin(), root.end(), path.begin())) {
    match.below.assign(path.begin() + static_cast<ptrdiff_t>(root.size()), path.end());
    // What is below a mount's root has a name; ".." there leads out of it: by (4).
    if (std::find(match.below.begin(), match.below.end(), "..") == match.below.end()) {
      match.exposure = Exposure::kOwnDirectory;
      return match;
    }
    match.below.clear();
    return match;
  }
  // By (3). The kernel prints the shortest way from the namespace's root: nothing but ".." is a
  // parent of it; "/../x" is the child of a parent, and no limit there is ours.
  const auto is_parent = [](std::string_view component) { return component == ".."; };
  const auto ups =
      static_cast<size_t>(std::find_if_not(path.begin(), path.end(), is_parent) - path.begin());
  if (std::all_of(root.begin(), root.end(), is_parent) && root.size() > ups) {
    match.exposure = Exposure::kOwnPathUnknown;
  }
  return match;
}

std::string Join(std::string_view directory, std::string_view name) {
  std::string joined(directory);
  if (!joined.ends_with('/')) joined += '/';
  return joined.append(name);
}

}  // namespace

std::string_view ToString(CgroupVersion version) {
  switch (version) {
    case CgroupVersion::kV1:
      return "v1";
    case CgroupVersion::kV2:
      return "v2";
    case CgroupVersion::kNone:
      break;
  }
  return "none";
}

Hierarchy Resolve(std::string_view controller, std::span<const CgroupLine> lines,
                  std::span<const CgroupMount> mounts) {
  Hierarchy result;
  const CgroupLine* line = nullptr;
  for (const CgroupLine& candidate : lines) {
    const bool names_it = std::find(candidate.controllers.begin(), candidate.controllers.end(),
                                    controller) != candidate.controllers.end();
    if (!candidate.v2 && names_it) {  // by (1)
      line = &candidate;
      break;
    }
    if (candidate.v2 && line == nullptr) line = &candidate;
  }
  if (line == nullptr) return result;
  result.version = line->v2 ? CgroupVersion::kV2 : CgroupVersion::kV1;
  result.exposure = Exposure::kNotExposed;
  result.path = line->path;

  const CgroupMount* best = nullptr;
  Match best_match;
  for (const CgroupMount& mount : mounts) {
    if (mount.v2 != line->v2 || (!mount.v2 && !mount.HasController(controller))) continue;
    Match match = MatchRoot(line->path, mount.root);
    if (match.exposure == Exposure::kNotExposed) continue;
    const bool better =
        best == nullptr || match.exposure > best_match.exposure ||
        (match.exposure == best_match.exposure && match.below.size() > best_match.below.size());
    if (!better) continue;
    best = &mount;
    best_match = std::move(match);
  }
  if (best == nullptr) return result;
  result.exposure = best_match.exposure;
  result.mount_point = best->mount_point;
  result.mount_root = best->root;
  result.dirs.push_back(best->mount_point);
  for (const std::string_view name : best_match.below) {
    result.dirs.push_back(Join(result.dirs.back(), name));
  }
  std::reverse(result.dirs.begin(), result.dirs.end());
  return result;
}

}  // namespace plimsoll::container
