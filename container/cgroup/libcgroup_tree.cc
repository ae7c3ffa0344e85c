#include "plimsoll/container/cgroup/libcgroup_tree.h"

#include <libcgroup.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/text.h"

// Exported by the library since 2.0 and in none of its installed headers; the enum is its own.
extern "C" int cgroup_get_controller_version(const char* controller, int* version);

namespace plimsoll::container {
namespace {

// Its tables, its flag "initialized" and its last errno are global.
std::mutex& Lock() {
  static auto* const mutex = new std::mutex;  // never destroyed: used until the process ends
  return *mutex;
}

void DropLog(void*, int, const char*, va_list) {}

CgroupVersion VersionOf(const char* controller) {
  int version = 0;
  if (cgroup_get_controller_version(controller, &version) != 0) return CgroupVersion::kNone;
  return version == 1   ? CgroupVersion::kV1
         : version == 2 ? CgroupVersion::kV2
                        : CgroupVersion::kNone;
}

}  // namespace

absl::StatusOr<LibcgroupTree> LibcgroupTree::Open() {
  SystemFiles files;
  if (absl::Status s = CheckInput(files); !s.ok()) return s;
  const std::lock_guard<std::mutex> lock(Lock());
  cgroup_set_logger(DropLog, CGROUP_LOG_ERROR, nullptr);
  if (const int error = cgroup_init(); error != 0) {
    return absl::InternalError(Concat("libcgroup: ", cgroup_strerror(error)));
  }
  LibcgroupTree tree;
  // Two names of 4 KiB: on the heap, since the stack is spent on libcgroup's own frames.
  const auto info = std::make_unique<cgroup_mount_point>();
  void* handle = nullptr;
  for (int rc = cgroup_get_controller_begin(&handle, info.get()); rc == 0;
       rc = cgroup_get_controller_next(&handle, info.get())) {
    Controller controller{.name = info->name, .version = VersionOf(info->name), .mount_points = {}};
    void* points = nullptr;
    int more = cgroup_get_subsys_mount_point_begin(info->name, &points, info->path);
    for (; more == 0; more = cgroup_get_subsys_mount_point_next(&points, info->path)) {
      controller.mount_points.emplace_back(info->path);
    }
    if (points != nullptr) cgroup_get_subsys_mount_point_end(&points);
    tree.controllers_.push_back(std::move(controller));
  }
  if (handle != nullptr) cgroup_get_controller_end(&handle);
  return tree;
}

std::optional<FileText> LibcgroupTree::ReadLine(std::string_view controller,
                                                std::string_view mount_point,
                                                std::string_view relative,
                                                std::string_view name) const {
  std::string path = Concat(mount_point, "/", relative, "/", name);
  if (path.size() > 2048) return std::nullopt;
  // It opens what it is given and waits: a FIFO would hold us for ever.
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return FileText{.error = ENOENT, .truncated = false, .text = {}};
    return std::nullopt;
  }
  if (!S_ISREG(status.st_mode)) return std::nullopt;

  const std::string owned_controller(controller);
  const std::string owned_relative = relative.empty() ? "/" : std::string(relative);
  std::string owned_name(name);
  char line[512];
  char rest[8];
  bool whole = false;
  {
    const std::lock_guard<std::mutex> lock(Lock());
    void* handle = nullptr;
    line[0] = '\0';
    const int error = cgroup_read_value_begin(owned_controller.c_str(), owned_relative.c_str(),
                                              owned_name.data(), &handle, line, sizeof(line));
    // One line and no more, with its newline: else a short, long or binary file, which is ours.
    whole = error == 0 && cgroup_read_value_next(&handle, rest, sizeof(rest)) == ECGEOF;
    if (handle != nullptr) cgroup_read_value_end(&handle);
  }
  std::string text(line);
  if (!whole || !text.ends_with('\n')) return std::nullopt;
  return FileText{.error = 0, .truncated = false, .text = std::move(text)};
}

}  // namespace plimsoll::container
