// A Symbolizer names the functions on a stopped stack, in a process that may be broken.
//
//   Symbolizer symbols;
//   Location where;
//   symbols.Locate(regs.pc, regs.after_call, &where);
//   RawLog(where.function, " ", where.file, ":", where.line);
//
// Names:    from .symtab, or .dynsym of a stripped file; demangled (demangle.h).
// Lines:    where the file has .debug_line (built with -g, not stripped).
// Memory:   its own mappings: the object files, and about 16 bytes a function of those that were
//           asked for. Nothing is opened before it is needed.
// Handlers: callable there, with any lock held by anyone: no malloc, no libc lock, raw calls.
// Threads:  one at a time.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_SYMBOLIZER_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_SYMBOLIZER_H_

#include <cstdint>
#include <string_view>

#include "plimsoll/runtime/symbolize/elf_file.h"
#include "plimsoll/runtime/symbolize/line_table.h"
#include "plimsoll/runtime/symbolize/modules.h"
#include "plimsoll/runtime/symbolize/scratch.h"
#include "plimsoll/runtime/symbolize/unwind.h"

namespace plimsoll::symbolize {

// Where an address is; texts are valid until the next Locate.
struct Location {
  std::string_view function;  // empty: not known
  uint64_t offset = 0;        // from its start
  std::string_view file;      // empty: not known
  uint32_t line = 0;
  std::string_view module;      // empty: in no mapped file
  uint64_t module_address = 0;  // what addr2line -e MODULE takes
};

class Symbolizer {
 public:
  Symbolizer() : modules_(scratch_) {}
  ~Symbolizer();

  // `after_call`: pc is a return address, so the call is what is meant.
  void Locate(uintptr_t pc, bool after_call, Location* out);

  Step StepUp(const StackBounds& bounds, Registers* regs) const {
    return Unwind(modules_, bounds, regs);
  }

  const ModuleList& modules() const { return modules_; }

 private:
  struct Opened {
    const Module* module;
    ElfFile file;
    LineTable lines;
    bool readable = false;
    bool has_lines = false;
    Opened* next;
  };

  Opened* Open(const Module* module);

  Scratch scratch_;
  ModuleList modules_;
  Opened* opened_ = nullptr;
  char name_[512];
  char file_[256];
};

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_SYMBOLIZER_H_
