#include "plimsoll/container/cgroup/fake_files.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plimsoll/container/cgroup/layout_file.h"

namespace plimsoll::container {

void FakeFiles::Write(const std::string& path, std::string_view text) {
  std::shared_ptr<File>& file = files_[path];
  if (file == nullptr) file = std::make_shared<File>();
  file->text = text;
}

void FakeFiles::FailOpen(const std::string& path, int error) { open_errors_[path] = error; }

void FakeFiles::FailRead(const std::string& path, int error) {
  std::shared_ptr<File>& file = files_[path];
  if (file == nullptr) file = std::make_shared<File>();
  file->read_error = error;
}

void FakeFiles::Remove(const std::string& path) {
  const auto found = files_.find(path);
  if (found == files_.end()) return;
  found->second->read_error = ENODEV;
  files_.erase(found);
}

void FakeFiles::RemoveBelow(const std::string& directory) {
  std::vector<std::string> below;
  for (const auto& [path, file] : files_) {
    if (path.starts_with(directory + "/")) below.push_back(path);
  }
  for (const std::string& path : below) Remove(path);
}

absl::Status FakeFiles::Load(std::string_view layout) {
  const absl::StatusOr<std::vector<LayoutEntry>> entries = ParseLayout(layout);
  if (!entries.ok()) return entries.status();
  for (const LayoutEntry& entry : *entries) {
    if (entry.kind == LayoutEntry::Kind::kFile) Write("/" + entry.path, entry.text);
    if (entry.kind == LayoutEntry::Kind::kLink && ("/" + entry.path).ends_with("/" + entry.text)) {
      FailOpen("/" + entry.path, ELOOP);
    }
    if (entry.kind == LayoutEntry::Kind::kDirectory) directories_.push_back("/" + entry.path);
  }
  return absl::OkStatus();
}

int FakeFiles::Open(const char* path) {
  if (const char* twice = strstr(path, "//"); twice != nullptr) {  // as a kernel does
    const std::string once = std::string(path, twice) + (twice + 1);
    return Open(once.c_str());
  }
  ++calls_;
  if (on_open_) on_open_(path);
  const auto error = open_errors_.find(std::string_view(path));
  if (error != open_errors_.end() && error->second != 0) return -error->second;
  const auto found = files_.find(std::string_view(path));
  if (found == files_.end()) return -ENOENT;
  ++open_handles_;
  const auto free = std::find(handles_.begin(), handles_.end(), nullptr);
  if (free != handles_.end()) {
    *free = found->second;
    return static_cast<int>(free - handles_.begin());
  }
  handles_.push_back(found->second);
  return static_cast<int>(handles_.size() - 1);
}

int64_t FakeFiles::ReadAt(int handle, char* buffer, size_t size, int64_t offset) {
  ++calls_;
  const File& file = *handles_[static_cast<size_t>(handle)];
  if (file.read_error != 0) return -file.read_error;
  if (static_cast<size_t>(offset) >= file.text.size()) return 0;
  const size_t count = std::min({size, chunk_, file.text.size() - static_cast<size_t>(offset)});
  file.text.copy(static_cast<char*>(buffer), count, static_cast<size_t>(offset));
  return static_cast<int64_t>(count);
}

void FakeFiles::Close(int handle) {
  ++calls_;
  --open_handles_;
  handles_[static_cast<size_t>(handle)] = nullptr;
}

int FakeFiles::IsDirectory(const char* path) {
  ++calls_;
  const std::string prefix = std::string(path) + "/";
  for (const auto& [name, file] : files_) {
    if (name.starts_with(prefix)) return 1;
  }
  for (const std::string& directory : directories_) {
    if ((directory + "/").starts_with(prefix)) return 1;
  }
  return -ENOENT;
}

bool FakeFiles::MountsChanged(int) {
  ++calls_;
  return std::exchange(mounts_changed_, false);
}

}  // namespace plimsoll::container
