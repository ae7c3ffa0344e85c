// ElfNames finds the functions that addresses lie in, from a file's own symbol table (.symtab, or
// .dynsym where it was stripped): names as the linker knows them.
//
//   ElfNames file(mapping.path);
//   file.Find(mapping.start, mapping.offset, pcs, count, names);
//
// Memory: the file, mapped. A file that is gone, cut short, or no ELF file of this machine's has no
//         names.
#ifndef PLIMSOLL_ALLOC_ELF_NAMES_H_
#define PLIMSOLL_ALLOC_ELF_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plimsoll::alloc {

class ElfNames {
 public:
  explicit ElfNames(std::string_view path);
  ~ElfNames();
  ElfNames(const ElfNames&) = delete;
  ElfNames& operator=(const ElfNames&) = delete;

  // Fills names[i] for pcs[i], which are sorted; null: no function of the file is there. The names
  // live as long as this does.
  void Find(uintptr_t start, uint64_t offset, const uintptr_t* pcs, size_t count,
            const char** names) const;

 private:
  const char* file_ = nullptr;
  size_t size_ = 0;
};

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_ELF_NAMES_H_
