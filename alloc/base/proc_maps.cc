#include "plimsoll/alloc/base/proc_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::base {
namespace {

// A number in base 16 at the front of `line`, taken off it.
uint64_t TakeHex(std::string_view& line) {
  uint64_t value = 0;
  while (!line.empty()) {
    const char c = line.front();
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<uint64_t>(digit);
    line.remove_prefix(1);
  }
  return value;
}

void Skip(std::string_view& line, char until) {
  const size_t at = line.find(until);
  line.remove_prefix(at == std::string_view::npos ? line.size() : at + 1);
}

// "start-end perms offset device inode          path"
Mapped Parse(std::string_view line) {
  Mapped m{};
  m.start = TakeHex(line);
  Skip(line, '-');
  m.end = TakeHex(line);
  Skip(line, ' ');
  m.executable = line.size() > 2 && line[2] == 'x';
  Skip(line, ' ');
  m.offset = TakeHex(line);
  Skip(line, ' ');  // to the device
  Skip(line, ' ');  // to the inode
  Skip(line, ' ');
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  m.path = line;
  return m;
}

}  // namespace

bool ForEachMapping(bool (*f)(const Mapped& mapping, void* to), void* to) {
  const long fd = RawSyscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  constexpr size_t kLongest = 640;  // of a line; the rest of a longer one is skipped
  char buffer[4096];
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
      go_on = f(Parse(std::string_view(line, length)), to);
      length = 0;
    }
  }
  RawSyscall(SYS_close, fd);
  return true;
}

void AddCodePlace(RawText& text, uintptr_t pc) {
  text.Add(Hex(pc));
  struct Search {
    uintptr_t pc;
    RawText* text;
  } search{pc, &text};
  ForEachMapping(
      [](const Mapped& m, void* to) {
        auto* s = static_cast<Search*>(to);
        if (s->pc < m.start || s->pc >= m.end) return true;
        s->text->Add(" ");
        s->text->Add(m.path.empty() ? std::string_view("[anonymous]") : m.path);
        s->text->Add("+");
        s->text->Add(Hex(s->pc - m.start + m.offset));
        return false;
      },
      &search);
}

}  // namespace plimsoll::base
