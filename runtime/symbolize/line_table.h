// A LineTable tells the source line of an address, from a file's .debug_line.
//
//   LineTable lines;
//   if (lines.Open(file, scratch)) lines.Find(address, buffer, &place);   // "chan/channel.h", 71
//
// Cost:     Open reads the whole section once (about 10 ns a byte) and keeps 24 bytes a sequence;
//           Find runs one unit's program.
// Absent:   a binary built without -g has none; one that compresses its debug sections, neither.
// Handlers: callable there. Source: DWARF 5, section 6.2, and the earlier forms of versions 2 to 4.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_LINE_TABLE_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_LINE_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "plimsoll/runtime/symbolize/elf_file.h"
#include "plimsoll/runtime/symbolize/scratch.h"

namespace plimsoll::symbolize {

struct SourceLine {
  std::string_view file;  // in the caller's buffer; its end, where it is too long
  uint32_t line = 0;
};

class LineTable {
 public:
  // False: there is no .debug_line that this reads. `file` must outlive the table.
  bool Open(const ElfFile& file, Scratch& scratch);

  // False: no line is known for the address (a file's address).
  bool Find(uint64_t address, std::span<char> buffer, SourceLine* out) const;

 private:
  struct Sequence {
    uint64_t lo, hi;
    uint64_t unit;  // offset in .debug_line
  };

  std::string_view lines_, line_strings_, strings_;
  Sequence* sequences_ = nullptr;  // by lo
  size_t count_ = 0;
};

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_LINE_TABLE_H_
