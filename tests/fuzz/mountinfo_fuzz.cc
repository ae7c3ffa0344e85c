// Fuzzes the reader of /proc/self/mountinfo, and what it leaves out as covered.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plimsoll/container/cgroup/diagnostic.h"
#include "plimsoll/container/cgroup/mountinfo.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using plimsoll::container::CgroupMount;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  plimsoll::container::DiagnosticList list;
  const std::vector<CgroupMount> mounts = plimsoll::container::ParseMountinfo(text, list);
  const std::vector<plimsoll::container::Diagnostic> told = list.Take();
  if (static_cast<long>(mounts.size()) > std::count(text.begin(), text.end(), '\n') + 1) abort();
  // Wherever the file is cut, the same is found.
  const size_t cut = size == 0 ? 0 : data[size / 2] % size;
  plimsoll::container::DiagnosticList pieces_list;
  plimsoll::container::MountinfoParser parser(pieces_list);
  parser.Feed(text.substr(0, cut));
  parser.Feed(text.substr(cut));
  const std::vector<CgroupMount> pieces = parser.Finish();
  if (pieces.size() != mounts.size() || pieces_list.Take() != told) abort();
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].mount_point != mounts[i].mount_point || pieces[i].root != mounts[i].root) abort();
  }
  std::set<std::string> points;
  for (const CgroupMount& mount : mounts) {
    if (!mount.mount_point.starts_with('/') || !mount.root.starts_with('/')) abort();
    if (mount.mount_point.size() > 1 && mount.mount_point.ends_with('/')) abort();
    if (mount.mount_point.size() > 4096 || mount.root.size() > 4096) abort();
    if (mount.mount_point.find('\0') != std::string::npos) abort();
    // A path leads to one mount.
    if (!points.insert(mount.mount_point).second) abort();
  }
  return 0;
}
