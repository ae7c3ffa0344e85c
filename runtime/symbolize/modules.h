// The modules of a process are the object files that are mapped into it: the program, its shared
// libraries, and the kernel's vdso.
//
//   ModuleList modules(scratch);
//   const Module* m = modules.Find(pc);   // null: in none
//
// Source:   /proc/self/maps. Where that cannot be read, the program alone, by what the kernel told
//           it at start (getauxval): enough for a static binary in a root without /proc.
// Handlers: callable there. Not dl_iterate_phdr: it takes the loader's lock, which a thread stopped
//           in dlopen holds.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_MODULES_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_MODULES_H_

#include <cstddef>
#include <cstdint>

#include "plimsoll/runtime/symbolize/scratch.h"

namespace plimsoll::symbolize {

struct Module {
  uintptr_t lo = 0, hi = 0;    // its mappings, from its header to the end of its last segment
  uintptr_t bias = 0;          // an address in the process less that in the file
  uintptr_t unwind_index = 0;  // .eh_frame_hdr in memory; 0: none
  size_t unwind_index_bytes = 0;
  const char* path = "";  // as the kernel names it
  const char* file = "";  // what to open: for the program /proc/self/exe, which never moves
  Module* next = nullptr;
};

class ModuleList {
 public:
  explicit ModuleList(Scratch& scratch);

  const Module* Find(uintptr_t address) const;
  const Module* first() const { return first_; }
  // False: /proc/self/maps could not be read.
  bool complete() const { return complete_; }

 private:
  bool ReadMaps(Scratch& scratch);
  void AddProgram(Scratch& scratch);
  void Add(Scratch& scratch, uintptr_t base, const char* path, size_t path_length);

  Module* first_ = nullptr;
  bool complete_ = false;
};

// Whether the eight bytes at `address` can be read, asked of the kernel.
bool Readable(uintptr_t address);

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_MODULES_H_
