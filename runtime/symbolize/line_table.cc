#include "plimsoll/runtime/symbolize/line_table.h"

#include <cstring>

#include "plimsoll/runtime/symbolize/byte_reader.h"
#include "plimsoll/runtime/symbolize/sort.h"

namespace plimsoll::symbolize {
namespace {

// The head of a unit, up to its program.
struct Unit {
  uint16_t version = 0;
  bool wide = false;
  uint8_t min_instruction = 1;
  int8_t line_base = 0;
  uint8_t line_range = 1;
  uint8_t opcode_base = 1;
  uintptr_t opcode_lengths = 0;  // opcode_base - 1 bytes
  uintptr_t tables = 0;          // directories and files
  uintptr_t program = 0;
  uintptr_t end = 0;
};

// Reads the unit at `r` and leaves `r` at the next one. False: the section ends, or lies.
bool ReadUnit(ByteReader& r, Unit* unit) {
  if (r.AtEnd()) return false;
  const uint64_t length = r.Length(&unit->wide);
  if (!r.ok() || length > r.left()) return false;
  ByteReader body(r.at(), r.at() + length);
  unit->end = r.at() + length;
  r.Skip(length);
  unit->version = body.Fixed<uint16_t>();
  if (unit->version < 2 || unit->version > 5) {
    unit->program = unit->end;  // of a later version: empty
    return true;
  }
  if (unit->version >= 5) body.Skip(2);  // sizes of an address and of a segment selector
  const uint64_t header = unit->wide ? body.Fixed<uint64_t>() : body.Fixed<uint32_t>();
  if (!body.ok() || header > body.left()) return false;
  unit->program = body.at() + header;
  unit->min_instruction = body.Fixed<uint8_t>();
  if (unit->version >= 4) body.Skip(1);  // operations an instruction: 1 but for VLIW
  body.Skip(1);                          // is_stmt at start
  unit->line_base = body.Fixed<int8_t>();
  unit->line_range = body.Fixed<uint8_t>();
  unit->opcode_base = body.Fixed<uint8_t>();
  unit->opcode_lengths = body.at();
  if (unit->opcode_base > 0) body.Skip(unit->opcode_base - 1u);
  unit->tables = body.at();
  return body.ok() && unit->line_range != 0 && unit->opcode_base != 0;
}

struct LineRow {
  uint64_t address = 0;
  uint64_t file = 1;
  uint64_t line = 1;
};

// Runs a unit's program; calls emit(row, end_of_sequence) for each row until it returns false.
template <typename Emit>
void RunProgram(const Unit& unit, const Emit& emit) {
  ByteReader r(unit.program, unit.end);
  LineRow row;
  while (!r.AtEnd() && r.ok()) {
    const auto op = r.Fixed<uint8_t>();
    if (op >= unit.opcode_base) {
      const unsigned adjusted = op - unit.opcode_base;
      row.address += uint64_t{adjusted / unit.line_range} * unit.min_instruction;
      row.line +=
          static_cast<uint64_t>(unit.line_base + static_cast<int>(adjusted % unit.line_range));
      if (!emit(row, false)) return;
      continue;
    }
    switch (op) {
      case 0: {  // extended
        const uint64_t length = r.Unsigned();
        if (length == 0 || length > r.left()) return;
        const uintptr_t next = r.at() + length;
        const auto extended = r.Fixed<uint8_t>();
        if (extended == 1) {  // end_sequence
          if (!emit(row, true)) return;
          row = {};
        } else if (extended == 2 && length == 9) {  // set_address
          row.address = r.Fixed<uint64_t>();
        }
        r = ByteReader(next, unit.end);
        break;
      }
      case 1:  // copy
        if (!emit(row, false)) return;
        break;
      case 2:
        row.address += r.Unsigned() * unit.min_instruction;
        break;
      case 3:
        row.line += static_cast<uint64_t>(r.Signed());
        break;
      case 4:
        row.file = r.Unsigned();
        break;
      case 8:  // const_add_pc
        row.address += uint64_t{(255u - unit.opcode_base) / unit.line_range} * unit.min_instruction;
        break;
      case 9:
        row.address += r.Fixed<uint16_t>();
        break;
      default: {  // set_column and its like: as many numbers as the head says
        uint8_t numbers;
        memcpy(&numbers, reinterpret_cast<const void*>(unit.opcode_lengths + op - 1u), 1);
        for (int i = 0; i < numbers; ++i) r.Unsigned();
      }
    }
  }
}

std::string_view TextIn(std::string_view section, uint64_t offset) {
  if (offset >= section.size()) return {};
  ByteReader r(section.substr(static_cast<size_t>(offset)));
  return r.Text();
}

struct FileName {
  std::string_view name;
  std::string_view directory;
};

class FileTable {
 public:
  FileTable(const Unit& unit, std::string_view line_strings, std::string_view strings)
      : unit_(unit), line_strings_(line_strings), strings_(strings) {}

  bool Find(uint64_t file, FileName* out) {
    uint64_t directory = 0;
    if (unit_.version >= 5) {
      ByteReader r(unit_.tables, unit_.program);
      const ByteReader directories = r;
      uint64_t ignored;
      if (!Entry(r, ~uint64_t{0}, nullptr, &ignored)) return false;  // over the directories
      if (!Entry(r, file, &out->name, &directory)) return false;
      ByteReader again = directories;
      // Directory 0 is where the compiler ran: it tells a reader little.
      return directory == 0 || Entry(again, directory, &out->directory, &ignored);
    }
    // Version 2 to 4: texts, the last one empty; files count from 1.
    ByteReader r(unit_.tables, unit_.program);
    while (!r.Text().empty()) {
    }
    for (uint64_t i = 1;; ++i) {
      const std::string_view name = r.Text();
      if (name.empty() || !r.ok()) return false;
      directory = r.Unsigned();
      r.Unsigned();
      r.Unsigned();
      if (i != file) continue;
      out->name = name;
      ByteReader d(unit_.tables, unit_.program);
      for (uint64_t k = 1; k <= directory; ++k) out->directory = d.Text();
      return d.ok();
    }
  }

 private:
  // Walks over one table of version 5; takes the texts of entry `wanted`.
  bool Entry(ByteReader& r, uint64_t wanted, std::string_view* name, uint64_t* directory) {
    constexpr int kFormats = 8;
    uint64_t content[kFormats], form[kFormats];
    const auto formats = r.Fixed<uint8_t>();
    if (formats > kFormats) return false;
    for (int i = 0; i < formats; ++i) {
      content[i] = r.Unsigned();
      form[i] = r.Unsigned();
    }
    const uint64_t entries = r.Unsigned();
    for (uint64_t e = 0; e < entries; ++e) {
      for (int i = 0; i < formats; ++i) {
        std::string_view text;
        uint64_t number = 0;
        if (!Value(r, form[i], &text, &number)) return false;
        if (e != wanted) continue;
        if (content[i] == 1 && name != nullptr) *name = text;  // DW_LNCT_path
        if (content[i] == 2) *directory = number;              // DW_LNCT_directory_index
      }
      if (e == wanted) return r.ok();
    }
    return r.ok() && wanted == ~uint64_t{0};
  }

  bool Value(ByteReader& r, uint64_t form, std::string_view* text, uint64_t* number) {
    switch (form) {
      case 0x08:  // string
        *text = r.Text();
        break;
      case 0x1f:  // line_strp
        *text = TextIn(line_strings_, unit_.wide ? r.Fixed<uint64_t>() : r.Fixed<uint32_t>());
        break;
      case 0x0e:  // strp
        *text = TextIn(strings_, unit_.wide ? r.Fixed<uint64_t>() : r.Fixed<uint32_t>());
        break;
      case 0x0b:
        *number = r.Fixed<uint8_t>();
        break;
      case 0x05:
        *number = r.Fixed<uint16_t>();
        break;
      case 0x06:
        *number = r.Fixed<uint32_t>();
        break;
      case 0x0f:
        *number = r.Unsigned();
        break;
      case 0x1e:  // data16: an MD5
        r.Skip(16);
        break;
      case 0x09:  // block
        r.Skip(r.Unsigned());
        break;
      default:
        return false;
    }
    return r.ok();
  }

  const Unit& unit_;
  std::string_view line_strings_, strings_;
};

std::string_view Join(const FileName& file, std::span<char> buffer) {
  std::string_view directory = file.directory;
  if (!file.name.empty() && file.name[0] == '/') directory = {};
  if (directory.starts_with("./")) directory.remove_prefix(2);
  size_t size = 0;
  const auto add = [&](std::string_view text) {
    // Of a path too long its end tells more.
    const size_t n = text.size() <= buffer.size() - size ? text.size() : buffer.size() - size;
    if (n != 0)
      memcpy(buffer.data() + size, text.data(), n);  // of an empty text data() may be null
    size += n;
  };
  const size_t whole = directory.size() + 1 + file.name.size();
  if (!directory.empty() && whole > buffer.size()) {
    const size_t cut = whole - buffer.size();
    directory.remove_prefix(cut < directory.size() ? cut : directory.size());
  }
  add(directory);
  if (!directory.empty()) add("/");
  add(file.name);
  return {buffer.data(), size};
}

}  // namespace

bool LineTable::Open(const ElfFile& file, Scratch& scratch) {
  lines_ = file.Section(".debug_line");
  line_strings_ = file.Section(".debug_line_str");
  strings_ = file.Section(".debug_str");
  if (lines_.empty()) return false;
  // Twice over the section: to count, and to fill.
  for (const bool fill : {false, true}) {
    size_t found = 0;
    ByteReader r(lines_);
    const uintptr_t start = r.at();
    for (;;) {
      const uint64_t offset = r.at() - start;
      Unit unit;
      if (!ReadUnit(r, &unit)) break;
      uint64_t lo = 0;
      bool open = false;
      RunProgram(unit, [&](const LineRow& row, bool end) {
        if (!open) lo = row.address;
        open = !end;
        // What the linker dropped lies at 0.
        if (end && lo != 0 && row.address > lo) {
          if (fill && found < count_) sequences_[found] = {lo, row.address, offset};
          ++found;
        }
        return true;
      });
    }
    if (!fill) {
      sequences_ = scratch.Array<Sequence>(found);
      if (sequences_ == nullptr || found == 0) return false;
      count_ = found;
    }
  }
  Sort(sequences_, count_, [](const Sequence& a, const Sequence& b) { return a.lo < b.lo; });
  return true;
}

bool LineTable::Find(uint64_t address, std::span<char> buffer, SourceLine* out) const {
  size_t lo = 0, hi = count_;
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (sequences_[mid].lo <= address) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == 0 || address >= sequences_[lo - 1].hi) return false;
  ByteReader r(lines_.substr(static_cast<size_t>(sequences_[lo - 1].unit)));
  Unit unit;
  if (!ReadUnit(r, &unit)) return false;
  LineRow last, best;
  bool open = false, found = false;
  RunProgram(unit, [&](const LineRow& row, bool end) {
    if (open && address >= last.address && address < row.address) {
      best = last;
      found = true;
      return false;
    }
    open = !end;
    last = row;
    return true;
  });
  if (!found || best.line == 0) return false;
  FileName file;
  if (!FileTable(unit, line_strings_, strings_).Find(best.file, &file)) return false;
  out->file = Join(file, buffer);
  out->line = static_cast<uint32_t>(best.line);
  return true;
}

}  // namespace plimsoll::symbolize
