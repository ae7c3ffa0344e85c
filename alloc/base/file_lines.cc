#include "plimsoll/alloc/base/file_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::base {

bool ForEachLine(const char* path, bool (*f)(std::string_view line, void* to), void* to) {
  const long fd = RawSyscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  constexpr size_t kLongest = 1000;
  char buffer[4096] = {};  // for readers of this code that do not know that a call fills it
  char line[kLongest];
  size_t length = 0;
  bool go_on = true;
  while (go_on) {
    const long got = RawSyscall(SYS_read, fd, buffer, sizeof(buffer));
    if (got == -EINTR) continue;
    if (got <= 0) break;
    for (long i = 0; i < got && go_on; ++i) {
      if (buffer[i] != '\n') {
        if (length < kLongest) line[length++] = buffer[i];
        continue;
      }
      go_on = f(std::string_view(line, length), to);
      length = 0;
    }
  }
  if (go_on && length > 0) f(std::string_view(line, length), to);
  RawSyscall(SYS_close, fd);
  return true;
}

bool ParseDecimal(std::string_view text, uint64_t* value) {
  if (text.empty()) return false;
  uint64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || __builtin_mul_overflow(number, uint64_t{10}, &number) ||
        __builtin_add_overflow(number, static_cast<uint64_t>(c - '0'), &number)) {
      return false;
    }
  }
  *value = number;
  return true;
}

}  // namespace plimsoll::base
