// An ElfFile is an object file, mapped to be read: its symbols and its line numbers.
//
//   ElfFile file;
//   if (file.Open("/proc/self/exe", scratch)) {
//     if (std::optional<Symbol> s = file.Find(pc - bias)) ... s->name ...
//   }
//
// Trust:    none. Every offset is checked against the file's length; a file that lies yields no
//           symbol, or a wrong one, and never a fault (but for one that is truncated while mapped).
// Memory:   a mapping of the file, and an index of 16 bytes a function from `scratch`.
// Handlers: callable there: raw system calls, no lock.
#ifndef PLIMSOLL_RUNTIME_SYMBOLIZE_ELF_FILE_H_
#define PLIMSOLL_RUNTIME_SYMBOLIZE_ELF_FILE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "plimsoll/runtime/symbolize/scratch.h"

namespace plimsoll::symbolize {

// A function, as the linker knows it.
struct Symbol {
  std::string_view name;  // mangled, as in the file
  uint64_t start = 0;     // the file's address: the process's less the module's bias
  uint64_t size = 0;      // 0: up to the next one
};

class ElfFile {
 public:
  ElfFile() = default;
  ~ElfFile();
  ElfFile(const ElfFile&) = delete;
  ElfFile& operator=(const ElfFile&) = delete;

  // Maps the file and indexes its functions: those of .symtab, or of .dynsym where it was stripped.
  // False: it cannot be read, or is not a 64-bit ELF file of this byte order.
  bool Open(const char* path, Scratch& scratch);

  // The function that holds `address` (a file's address).
  std::optional<Symbol> Find(uint64_t address) const;

  // The contents of a section; empty where there is none, or where it is compressed.
  std::string_view Section(std::string_view name) const;

  // Whether Find knows every function and not the exported ones alone.
  bool has_symtab() const { return has_symtab_; }
  size_t functions() const { return count_; }

 private:
  struct Entry {
    uint64_t start;
    uint32_t symbol;  // its index in the table
    uint32_t size;    // saturated
  };

  bool Read(uint64_t offset, size_t size, void* out) const;
  std::string_view Bytes(uint64_t offset, uint64_t size) const;
  std::string_view TextAt(std::string_view table, uint64_t offset) const;
  bool BuildIndex(std::string_view symbols, Scratch& scratch);

  const char* data_ = nullptr;
  size_t size_ = 0;
  uint64_t sections_ = 0;  // offset of the section headers
  uint32_t section_count_ = 0;
  std::string_view section_names_;
  std::string_view symbols_, strings_;
  Entry* index_ = nullptr;  // by start
  size_t count_ = 0;
  bool has_symtab_ = false;
};

}  // namespace plimsoll::symbolize

#endif  // PLIMSOLL_RUNTIME_SYMBOLIZE_ELF_FILE_H_
