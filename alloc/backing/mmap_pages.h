// MmapPages is the PageSource of real programs: anonymous memory of the kernel.
//
//   MmapPages pages;
//   Mapping arena = pages.Map(MiB(64), MiB(64), RandomArenaHint());
//
// Syscalls:  made directly, never through libc's mmap: a program may have wrapped that, and errno
//            is the program's. errno is untouched.
// Release:   MADV_DONTNEED. MADV_FREE is not used: its pages stay charged to the cgroup until the
//            kernel is short, which is when a container is killed.
// Huge pages: no VMA is ever flagged (flags split VMAs, of which a process has 65,530);
//            Collapse is MADV_COLLAPSE, Linux 6.1.
#ifndef PLIMSOLL_ALLOC_BACKING_MMAP_PAGES_H_
#define PLIMSOLL_ALLOC_BACKING_MMAP_PAGES_H_

#include "plimsoll/alloc/backing/page_source.h"

namespace plimsoll::alloc {

class MmapPages {
 public:
  Mapping Map(ByteCount bytes, ByteCount alignment, uintptr_t hint);
  Mapping Reserve(ByteCount bytes, ByteCount alignment, uintptr_t hint);
  static bool Release(void* base, ByteCount bytes);
  void Unmap(void* base, ByteCount bytes);
  bool Collapse(void* base, ByteCount bytes);

  // Takes access away, for guard pages. False: the kernel has no VMA left.
  static bool Guard(void* base, ByteCount bytes);

  // Leaves reading alone. False: as Guard.
  static bool Seal(void* base, ByteCount bytes);

  // Gives access back. False: as Guard.
  static bool Open(void* base, ByteCount bytes);
};

static_assert(ArenaSource<MmapPages>);

// A place for the first arena that an attacker cannot guess: 64 MiB aligned, between what a
// program's start takes and where executables are, 20 bits of chance; all of user space has 21.
// From the kernel's random source; from the address of a stack variable when that is denied.
uintptr_t RandomArenaHint();

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_BACKING_MMAP_PAGES_H_
