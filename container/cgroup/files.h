// Files is the seam through which every file of a container is read: the real ones, those below
// another root, or a test's that answer EIO.
//
// Threads: one object is for one thread at a time. Errors are negative errno values.
#ifndef PLIMSOLL_CONTAINER_CGROUP_FILES_H_
#define PLIMSOLL_CONTAINER_CGROUP_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace plimsoll::container {

class Files {
 public:
  virtual ~Files() = default;

  // Opens `path` (absolute, as the process names it) for reading. A handle >= 0, or -errno.
  virtual int Open(const char* path) = 0;

  // Reads at most `size` bytes from `offset`. The number read, 0 at the end, or -errno.
  virtual int64_t ReadAt(int handle, char* buffer, size_t size, int64_t offset) = 0;

  virtual void Close(int handle) = 0;

  // Whether `path` is a directory: 1, or -errno (-ENOTDIR when it is something else).
  virtual int IsDirectory(const char* path) = 0;

  // Whether the mount table changed since the last call, or since `handle`, an open
  // /proc/self/mountinfo, was opened.
  virtual bool MountsChanged(int handle) = 0;
};

// The files below `root`. With "/" these are the process's own. With any other root no symbolic
// link and no ".." leads out of it (openat2, Linux 5.6; on older kernels a plain path join).
class SystemFiles : public Files {
 public:
  explicit SystemFiles(std::string root = "/");
  ~SystemFiles() override;
  SystemFiles(const SystemFiles&) = delete;
  SystemFiles& operator=(const SystemFiles&) = delete;

  int Open(const char* path) override;
  int64_t ReadAt(int handle, char* buffer, size_t size, int64_t offset) override;
  void Close(int handle) override;
  int IsDirectory(const char* path) override;
  bool MountsChanged(int handle) override;

 private:
  int OpenWith(const char* path, int flags);

  std::string root_;          // without a trailing slash; empty means "/"
  int root_descriptor_ = -1;  // open while root_ is not empty
};

// What became of reading a whole file.
struct FileText {
  int error = 0;           // an errno, or 0
  bool truncated = false;  // the file is longer than the limit given
  std::string text;

  bool ok() const { return error == 0; }
  // There is no such file: for a limit this means that no limit is set here.
  bool missing() const;
};

// Reads `path` up to `limit` bytes. kOneLine: stop as soon as a newline ends what was read, which
// spares the read that finds the end of a file the kernel writes in one piece.
enum class ReadStyle { kToEnd, kOneLine };
FileText ReadFile(Files& files, const std::string& path, size_t limit, ReadStyle style);

}  // namespace plimsoll::container

#endif  // PLIMSOLL_CONTAINER_CGROUP_FILES_H_
