// The process's mappings as /proc/self/smaps tells them, and which pages of them are in memory.
//
//   std::vector<Mapping> all;
//   if (ReadMappings("/proc/self/smaps", &all)) ...
//   Residency pages;  pages.Bytes(base, 8192)
//
// Blocking:  reads files of /proc: call them within a BlockingCall.
#ifndef PLIMSOLL_RUNTIME_SMAPS_H_
#define PLIMSOLL_RUNTIME_SMAPS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::internal {

struct Mapping {
  uintptr_t begin = 0;
  uintptr_t end = 0;
  bool accessible = false;  // by any of read, write, execute
  bool executable = false;
  bool shared = false;
  std::string name;  // a path, "[heap]", or "": anonymous
  uint64_t rss = 0;
};

// Takes lines as they come, in pieces of any length.
class MappingsParser {
 public:
  explicit MappingsParser(std::vector<Mapping>* to) : to_(to) {}
  void Add(std::string_view piece);

 private:
  void Line(std::string_view line);
  std::vector<Mapping>* to_;
  std::string rest_;  // of a line
};

// False: the file cannot be read.
bool ReadMappings(const char* path, std::vector<Mapping>* to);

// "VmPTE:     123 kB" of a text such as /proc/self/status, in bytes; 0: there is no such line.
uint64_t StatusBytes(std::string_view status, std::string_view key);

// Asks /proc/self/pagemap, a window at a time: cheap for addresses in order.
class Residency {
 public:
  Residency();
  ~Residency();
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  // False: there is no pagemap here; then nothing is in memory.
  bool ok() const { return fd_ >= 0; }
  // How many of the bytes are in memory. Pages that were only ever read may count: they are the
  // kernel's zero page, which RSS leaves out.
  uint64_t Bytes(uintptr_t at, size_t bytes);

 private:
  static constexpr size_t kWindow = 4096;  // pages
  bool Load(uintptr_t page);

  int fd_;
  uintptr_t page_bytes_;
  uintptr_t first_ = 0;  // the first page of the window
  size_t loaded_ = 0;
  std::vector<uint64_t> window_;
};

}  // namespace plimsoll::internal

#endif  // PLIMSOLL_RUNTIME_SMAPS_H_
