#include "plimsoll/alloc/base/proc_maps.h"

#include "plimsoll/alloc/base/debug_text.h"
#include "plimsoll/alloc/base/file_lines.h"

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

// "start-end perms offset device inode          path"
Mapped Parse(std::string_view line) {
  Mapped m{};
  m.start = TakeHex(line);
  TakeUntil(line, '-');
  m.end = TakeHex(line);
  TakeUntil(line, ' ');
  m.executable = line.size() > 2 && line[2] == 'x';
  TakeUntil(line, ' ');
  m.offset = TakeHex(line);
  TakeUntil(line, ' ');  // to the device
  TakeUntil(line, ' ');  // to the inode
  TakeUntil(line, ' ');
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  m.path = line;
  return m;
}

}  // namespace

bool ForEachMapping(bool (*f)(const Mapped& mapping, void* to), void* to) {
  struct Call {
    bool (*f)(const Mapped& mapping, void* to);
    void* to;
  } call{f, to};
  return ForEachLine(
      "/proc/self/maps",
      [](std::string_view line, void* of) {
        const auto* c = static_cast<const Call*>(of);
        return c->f(Parse(line), c->to);
      },
      &call);
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
