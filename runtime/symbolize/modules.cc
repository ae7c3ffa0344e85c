#include "plimsoll/runtime/symbolize/modules.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include <cstring>
#include <new>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::symbolize {
namespace {

constexpr size_t kLine = 8192;  // address, flags and a path of PATH_MAX fit

uint64_t ParseHex(const char*& at, const char* end) {
  uint64_t value = 0;
  for (; at < end; ++at) {
    const char c = *at;
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      break;
    }
    value = value * 16 + static_cast<uint64_t>(digit);
  }
  return value;
}

// A line of /proc/self/maps: "lo-hi rwxp offset dev inode   path".
struct MapsLine {
  uintptr_t lo, hi;
  bool readable, executable;
  uint64_t offset;
  const char* path;
  size_t path_length;
};

bool Parse(const char* at, const char* end, MapsLine* out) {
  out->lo = ParseHex(at, end);
  if (at == end || *at != '-') return false;
  ++at;
  out->hi = ParseHex(at, end);
  if (end - at < 6 || *at != ' ') return false;
  ++at;
  out->readable = at[0] == 'r';
  out->executable = at[2] == 'x';
  at += 4;
  if (*at++ != ' ') return false;
  out->offset = ParseHex(at, end);
  for (int fields = 0; fields < 2 && at < end; ++fields) {  // device, inode
    while (at < end && *at == ' ') ++at;
    while (at < end && *at != ' ') ++at;
  }
  while (at < end && *at == ' ') ++at;
  out->path = at;
  out->path_length = static_cast<size_t>(end - at);
  return true;
}

}  // namespace

bool Readable(uintptr_t address) {
  address &= ~uintptr_t{7};
  if (address == 0) return false;  // the kernel takes null for "no set"
  // rt_sigprocmask reads the set before it looks at `how`: EFAULT says that it could not, EINVAL
  // that it could. (abseil-cpp, debugging/internal/address_is_readable.cc, found this way.)
  return base::RawSyscall(SYS_rt_sigprocmask, ~0L, address, 0, 8) != -14;
}

ModuleList::ModuleList(Scratch& scratch) {
  complete_ = ReadMaps(scratch);
  if (!complete_) AddProgram(scratch);
}

const Module* ModuleList::Find(uintptr_t address) const {
  for (const Module* m = first_; m != nullptr; m = m->next) {
    if (address >= m->lo && address < m->hi) return m;
  }
  return nullptr;
}

// An ELF header lies at `base`.
void ModuleList::Add(Scratch& scratch, uintptr_t base, const char* path, size_t path_length) {
  for (const Module* m = first_; m != nullptr; m = m->next) {
    if (base >= m->lo && base < m->hi) return;
  }
  if (!Readable(base)) return;
  Elf64_Ehdr header;
  memcpy(&header, reinterpret_cast<const void*>(base), sizeof(header));
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(Elf64_Phdr) ||
      header.e_phoff + header.e_phnum * sizeof(Elf64_Phdr) > 4096) {
    return;
  }
  const char* segments = reinterpret_cast<const char*>(base) + header.e_phoff;
  auto* memory = scratch.Array<Module>(1);
  char* copy = static_cast<char*>(scratch.Allocate(path_length + 1));
  if (memory == nullptr || copy == nullptr) return;
  memcpy(copy, path, path_length);  // the rest is zero
  auto* m = ::new (memory) Module;
  m->path = m->file = copy;
  m->lo = base;
  uint64_t end = 0;
  Elf64_Phdr unwind = {};
  bool found_bias = false;
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    memcpy(&segment, segments + i * sizeof(segment), sizeof(segment));
    if (segment.p_type == PT_LOAD) {
      if (!found_bias && segment.p_offset < 4096) {
        m->bias = base - (segment.p_vaddr - segment.p_offset);
        found_bias = true;
      }
      if (segment.p_vaddr + segment.p_memsz > end) end = segment.p_vaddr + segment.p_memsz;
    } else if (segment.p_type == PT_GNU_EH_FRAME) {
      unwind = segment;
    }
  }
  if (!found_bias || end == 0) return;
  m->hi = m->bias + end;
  if (unwind.p_memsz != 0) {
    m->unwind_index = m->bias + unwind.p_vaddr;
    m->unwind_index_bytes = unwind.p_memsz;
  }
  const uintptr_t program = getauxval(AT_PHDR);
  if (program >= m->lo && program < m->hi) m->file = "/proc/self/exe";
  m->next = first_;
  first_ = m;
}

bool ModuleList::ReadMaps(Scratch& scratch) {
  char* buffer = static_cast<char*>(scratch.Allocate(kLine));
  char* path = static_cast<char*>(scratch.Allocate(kLine));  // of the last header seen
  if (buffer == nullptr || path == nullptr) return false;
  const long fd = base::RawSyscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  size_t have = 0;
  uintptr_t header = 0;
  size_t path_length = 0;
  bool ok = true;
  for (;;) {
    const long n = base::RawSyscall(SYS_read, fd, buffer + have, kLine - have);
    if (n == -4) continue;  // EINTR
    if (n < 0) ok = false;
    if (n <= 0) break;
    have += static_cast<size_t>(n);
    const char* at = buffer;
    const char* end = buffer + have;
    while (const void* newline = memchr(at, '\n', static_cast<size_t>(end - at))) {
      const char* eol = static_cast<const char*>(newline);
      MapsLine line;
      if (Parse(at, eol, &line) && line.path_length > 0 && line.readable) {
        const bool file = line.path[0] == '/';
        const bool vdso = line.path_length == 6 && memcmp(line.path, "[vdso]", 6) == 0;
        if ((file || vdso) && line.offset == 0) {
          header = line.lo;
          path_length = line.path_length;
          memcpy(path, line.path, path_length);
        }
        // Only what has code is a module: a mapped data file may begin with "\177ELF", too.
        if (line.executable && header != 0 && line.path_length == path_length &&
            memcmp(line.path, path, path_length) == 0) {
          Add(scratch, header, path, path_length);
        }
      }
      at = eol + 1;
    }
    have = static_cast<size_t>(end - at);
    if (have == kLine) have = 0;  // a line longer than any the kernel writes
    memmove(buffer, at, have);
  }
  base::RawSyscall(SYS_close, fd);
  return ok && first_ != nullptr;
}

void ModuleList::AddProgram(Scratch& scratch) {
  // The program headers follow the ELF header, which begins the first page.
  const uintptr_t headers = getauxval(AT_PHDR);
  if (headers == 0) return;
  Add(scratch, headers & ~uintptr_t{4095}, "/proc/self/exe", strlen("/proc/self/exe"));
}

}  // namespace plimsoll::symbolize
