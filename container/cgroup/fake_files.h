// FakeFiles is a file system in memory that can fail as a kernel does: EACCES on opening, EIO or
// ENODEV on reading, a file that vanishes between two reads.
//
//   FakeFiles files;
//   files.Write("/sys/fs/cgroup/cpu.max", "150000 100000\n");
//   files.FailRead("/sys/fs/cgroup/cpu.max", EIO);
//
// Reading allocates nothing, so that a test can count what its user allocates.
#ifndef PLIMSOLL_CONTAINER_CGROUP_FAKE_FILES_H_
#define PLIMSOLL_CONTAINER_CGROUP_FAKE_FILES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "plimsoll/container/cgroup/files.h"

namespace plimsoll::container {

class FakeFiles : public Files {
 public:
  // Puts `text` where handles already open see it, as the kernel does when a limit is changed.
  void Write(const std::string& path, std::string_view text);
  // Makes opening fail with `error`; 0: no more.
  void FailOpen(const std::string& path, int error);
  // Makes reading fail, for handles already open too; 0: no more.
  void FailRead(const std::string& path, int error);
  // The file is gone; handles that are open on it read ENODEV from now on.
  void Remove(const std::string& path);
  // The same for all files below `directory`.
  void RemoveBelow(const std::string& directory);
  // What the next MountsChanged answers.
  void ChangeMounts() { mounts_changed_ = true; }
  // Reads return at most so many bytes each.
  void set_chunk(size_t bytes) { chunk_ = bytes; }
  // Called before each Open, with the path.
  void set_on_open(std::function<void(const std::string&)> hook) { on_open_ = std::move(hook); }

  // Adds the files of a layout_file.h text. A link to itself answers ELOOP; others are left out.
  absl::Status Load(std::string_view layout);

  uint64_t calls() const { return calls_; }  // what would have been system calls
  int open_handles() const { return open_handles_; }

  int Open(const char* path) override;
  int64_t ReadAt(int handle, char* buffer, size_t size, int64_t offset) override;
  void Close(int handle) override;
  int IsDirectory(const char* path) override;
  bool MountsChanged(int handle) override;

 private:
  struct File {
    std::string text;
    int read_error = 0;
  };
  std::map<std::string, std::shared_ptr<File>, std::less<>> files_;
  std::map<std::string, int, std::less<>> open_errors_;
  std::vector<std::string> directories_;
  std::vector<std::shared_ptr<File>> handles_;
  std::function<void(const std::string&)> on_open_;
  size_t chunk_ = SIZE_MAX;
  uint64_t calls_ = 0;
  int open_handles_ = 0;
  bool mounts_changed_ = false;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_FAKE_FILES_H_
