#include "plimsoll/runtime/symbolize/elf_file.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cstring>

#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/symbolize/sort.h"

namespace plimsoll::symbolize {
namespace {

bool IsError(long rc) { return rc < 0 && rc >= -4095; }

bool IsFunction(const Elf64_Sym& s) {
  const int type = ELF64_ST_TYPE(s.st_info);
  return (type == STT_FUNC || type == STT_GNU_IFUNC) && s.st_shndx != SHN_UNDEF && s.st_value != 0;
}

}  // namespace

ElfFile::~ElfFile() {
  if (data_ != nullptr) base::RawSyscall(SYS_munmap, data_, size_);
}

std::string_view ElfFile::Bytes(uint64_t offset, uint64_t size) const {
  if (offset > size_ || size > size_ - offset) return {};
  return {data_ + offset, static_cast<size_t>(size)};
}

bool ElfFile::Read(uint64_t offset, size_t size, void* out) const {
  const std::string_view bytes = Bytes(offset, size);
  if (bytes.size() != size) return false;
  memcpy(out, bytes.data(), size);
  return true;
}

std::string_view ElfFile::TextAt(std::string_view table, uint64_t offset) const {
  if (offset >= table.size()) return {};
  table.remove_prefix(static_cast<size_t>(offset));
  const void* end = memchr(table.data(), '\0', table.size());
  if (end == nullptr) return {};
  return table.substr(0, static_cast<size_t>(static_cast<const char*>(end) - table.data()));
}

std::string_view ElfFile::Section(std::string_view name) const {
  for (uint32_t i = 0; i < section_count_; ++i) {
    Elf64_Shdr h;
    if (!Read(sections_ + i * sizeof(h), sizeof(h), &h)) return {};
    if (TextAt(section_names_, h.sh_name) != name) continue;
    if (h.sh_type == SHT_NOBITS || (h.sh_flags & SHF_COMPRESSED) != 0) return {};
    return Bytes(h.sh_offset, h.sh_size);
  }
  return {};
}

bool ElfFile::Open(const char* path, Scratch& scratch) {
  const long fd = base::RawSyscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (IsError(fd)) return false;
  // lseek, not fstat: its answer needs no struct that differs between kernels and libcs.
  const long size = base::RawSyscall(SYS_lseek, fd, 0, SEEK_END);
  long mapped = -1;
  if (size > 0) mapped = base::RawSyscall(SYS_mmap, 0, size, PROT_READ, MAP_PRIVATE, fd, 0);
  base::RawSyscall(SYS_close, fd);
  if (size <= 0 || IsError(mapped)) return false;
  data_ = reinterpret_cast<const char*>(mapped);
  size_ = static_cast<size_t>(size);

  Elf64_Ehdr header;
  if (!Read(0, sizeof(header), &header) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_shentsize != sizeof(Elf64_Shdr)) {
    return false;
  }
  sections_ = header.e_shoff;
  section_count_ = header.e_shnum;
  Elf64_Shdr names;
  if (sections_ > size_ ||
      !Read(sections_ + header.e_shstrndx * sizeof(names), sizeof(names), &names)) {
    section_count_ = 0;
    return true;  // a file without sections: no symbols, but an ELF file
  }
  section_names_ = Bytes(names.sh_offset, names.sh_size);

  symbols_ = Section(".symtab");
  strings_ = Section(".strtab");
  has_symtab_ = !symbols_.empty();
  if (!has_symtab_) {
    symbols_ = Section(".dynsym");
    strings_ = Section(".dynstr");
  }
  return BuildIndex(symbols_, scratch);
}

bool ElfFile::BuildIndex(std::string_view symbols, Scratch& scratch) {
  const size_t all = symbols.size() / sizeof(Elf64_Sym);
  Elf64_Sym s;
  size_t functions = 0;
  for (size_t i = 0; i < all; ++i) {
    memcpy(&s, symbols.data() + i * sizeof(s), sizeof(s));
    if (IsFunction(s)) ++functions;
  }
  index_ = scratch.Array<Entry>(functions);
  if (index_ == nullptr) return false;
  for (size_t i = 0; i < all; ++i) {
    memcpy(&s, symbols.data() + i * sizeof(s), sizeof(s));
    if (!IsFunction(s)) continue;
    index_[count_++] = {s.st_value, static_cast<uint32_t>(i),
                        s.st_size > 0xffffffffu ? 0xffffffffu : static_cast<uint32_t>(s.st_size)};
  }
  // Of those that begin together, the last is found: the longest, then the later symbol (of C1 and
  // C2, or of a function and its alias, either is right).
  Sort(index_, count_, [](const Entry& a, const Entry& b) {
    if (a.start != b.start) return a.start < b.start;
    return a.size != b.size ? a.size < b.size : a.symbol < b.symbol;
  });
  return true;
}

std::optional<Symbol> ElfFile::Find(uint64_t address) const {
  size_t lo = 0, hi = count_;  // the first that begins after `address` is in [lo, hi]
  while (lo < hi) {
    const size_t mid = lo + (hi - lo) / 2;
    if (index_[mid].start <= address) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  if (lo == 0) return std::nullopt;
  const Entry& e = index_[lo - 1];
  if (e.size != 0 && address - e.start >= e.size) return std::nullopt;  // in a gap
  Elf64_Sym s;
  memcpy(&s, symbols_.data() + e.symbol * sizeof(s), sizeof(s));
  const std::string_view name = TextAt(strings_, s.st_name);
  if (name.empty()) return std::nullopt;
  return Symbol{name, e.start, e.size};
}

}  // namespace plimsoll::symbolize
