#include "plimsoll/alloc/elf_names.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::alloc {
namespace {

// `count` Ts at `offset` of the file; null when they are not all in it.
template <typename T>
const T* At(const char* file, size_t size, uint64_t offset, uint64_t count) {
  if (offset > size || count > (size - offset) / sizeof(T) || offset % alignof(T) != 0)
    return nullptr;
  return reinterpret_cast<const T*>(file + offset);
}

}  // namespace

ElfNames::ElfNames(std::string_view path) {
  char name[600];
  if (path.empty() || path.front() != '/' || path.size() >= sizeof(name)) return;
  std::memcpy(name, path.data(), path.size());
  name[path.size()] = '\0';
  const long fd = base::RawSyscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return;
  const long size = base::RawSyscall(SYS_lseek, fd, 0, 2 /* SEEK_END */);
  if (size > 0) {
    const long at = base::RawSyscall(SYS_mmap, 0L, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (at > 0 || at < -4095) {
      file_ = reinterpret_cast<const char*>(at);
      size_ = static_cast<size_t>(size);
    }
  }
  base::RawSyscall(SYS_close, fd);
}

ElfNames::~ElfNames() {
  if (file_ != nullptr) base::RawSyscall(SYS_munmap, file_, size_);
}

void ElfNames::Find(uintptr_t start, uint64_t offset, const uintptr_t* pcs, size_t count,
                    const char** names) const {
  std::fill(names, names + count, nullptr);
  const auto* head = At<Elf64_Ehdr>(file_, size_, 0, 1);
  if (file_ == nullptr || head == nullptr || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 ||
      head->e_ident[EI_CLASS] != ELFCLASS64) {
    return;
  }
  // Which addresses of the file's own the mapping holds.
  const auto* segment = At<Elf64_Phdr>(file_, size_, head->e_phoff, head->e_phnum);
  if (segment == nullptr) return;
  const Elf64_Phdr* end = segment + head->e_phnum;
  segment = std::find_if(segment, end, [offset](const Elf64_Phdr& p) {
    return p.p_type == PT_LOAD && (p.p_flags & PF_X) != 0 &&
           offset >= (p.p_offset & ~uint64_t{4095}) && offset < p.p_offset + p.p_filesz;
  });
  if (segment == end) return;
  const uint64_t bias = start - offset + segment->p_offset - segment->p_vaddr;

  const auto* section = At<Elf64_Shdr>(file_, size_, head->e_shoff, head->e_shnum);
  if (section == nullptr) return;
  const Elf64_Shdr* table = nullptr;
  for (size_t i = 0; i < head->e_shnum; ++i) {
    if (section[i].sh_type == SHT_SYMTAB) table = &section[i];
    if (section[i].sh_type == SHT_DYNSYM && table == nullptr) table = &section[i];
  }
  if (table == nullptr || table->sh_link >= head->e_shnum) return;
  const Elf64_Shdr& strings = section[table->sh_link];
  const auto* text = At<char>(file_, size_, strings.sh_offset, strings.sh_size);
  const uint64_t symbols = table->sh_size / sizeof(Elf64_Sym);
  const auto* symbol = At<Elf64_Sym>(file_, size_, table->sh_offset, symbols);
  // A table that does not end in a zero would let a name run out of the file.
  if (text == nullptr || symbol == nullptr || strings.sh_size == 0 ||
      text[strings.sh_size - 1] != 0) {
    return;
  }
  for (uint64_t i = 0; i < symbols; ++i) {
    const Elf64_Sym& s = symbol[i];
    if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || s.st_shndx == SHN_UNDEF ||
        s.st_name >= strings.sh_size) {
      continue;
    }
    // A return address may be one past the end of a function that does not return.
    const uintptr_t begin = s.st_value + bias;
    const uintptr_t* pc = std::upper_bound(pcs, pcs + count, begin);
    for (; pc != pcs + count && *pc - begin <= s.st_size; ++pc) names[pc - pcs] = text + s.st_name;
  }
}

}  // namespace plimsoll::alloc
