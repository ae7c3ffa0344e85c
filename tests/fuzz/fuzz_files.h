// FuzzFiles gives the pieces of a fuzzer's input to whoever opens a file, in order.
//
//   /proc/self/cgroup FF /proc/self/mountinfo FF value FF value ...
//
// The first files have fixed names; every other path gets the next value, in a circle, so that the
// fuzzer need not guess which paths its own mountinfo leads to. A value of "!N" fails as errno N.
#ifndef PLIMSOLL_TESTS_FUZZ_FUZZ_FILES_H_
#define PLIMSOLL_TESTS_FUZZ_FUZZ_FILES_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plimsoll/container/cgroup/files.h"

namespace plimsoll::container {

class FuzzFiles : public Files {
 public:
  // The first pieces are the files `names`.
  FuzzFiles(std::string_view input, const std::vector<std::string>& names) {
    std::vector<std::string> pieces;
    for (;;) {
      const size_t end = input.find('\xff');
      pieces.emplace_back(input.substr(0, end));
      if (end == std::string_view::npos) break;
      input.remove_prefix(end + 1);
    }
    for (size_t i = 0; i < names.size(); ++i) {
      if (i < pieces.size()) files_[names[i]] = pieces[i];
    }
    named_ = names;
    if (pieces.size() > names.size()) {
      values_.assign(pieces.begin() + static_cast<ptrdiff_t>(names.size()), pieces.end());
    }
  }

  int Open(const char* path) override {
    const auto known = files_.find(path);
    if (known == files_.end()) {
      // A named file that the input is too short for is missing, and so is any without values.
      if (values_.empty() || std::find(named_.begin(), named_.end(), path) != named_.end()) {
        return -ENOENT;
      }
      files_[path] = values_[next_++ % values_.size()];
      return Open(path);
    }
    const std::string& text = known->second;
    if (text.size() == 2 && text[0] == '!') return -(1 + static_cast<uint8_t>(text[1]) % 40);
    opened_.push_back(&text);
    return static_cast<int>(opened_.size() - 1);
  }

  int64_t ReadAt(int handle, char* buffer, size_t size, int64_t offset) override {
    const std::string& text = *opened_[static_cast<size_t>(handle)];
    if (text.size() == 3 && text[0] == '!') return -(1 + static_cast<uint8_t>(text[1]) % 40);
    if (static_cast<size_t>(offset) >= text.size()) return 0;
    const size_t count = std::min(size, text.size() - static_cast<size_t>(offset));
    memcpy(buffer, text.data() + offset, count);
    return static_cast<int64_t>(count);
  }

  void Close(int) override {}
  int IsDirectory(const char* path) override { return (strlen(path) & 1) != 0 ? 1 : -ENOENT; }
  bool MountsChanged(int) override { return false; }

 private:
  std::map<std::string, std::string> files_;
  std::vector<std::string> named_;
  std::vector<std::string> values_;
  std::vector<const std::string*> opened_;
  size_t next_ = 0;
};

}  // namespace plimsoll::container

#endif  // PLIMSOLL_TESTS_FUZZ_FUZZ_FILES_H_
