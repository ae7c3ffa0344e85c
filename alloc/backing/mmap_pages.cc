#include "plimsoll/alloc/backing/mmap_pages.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cerrno>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::alloc {
namespace {

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// NORESERVE: address space of an arena is not memory, and must not count as such where the system
// does not overcommit by heuristics.
constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
constexpr uintptr_t kMachinePage = 4096;

Mapping MapAt(uintptr_t hint, uint64_t bytes, int protection) {
  const long got = base::RawSyscall(SYS_mmap, hint, bytes, protection, kFlags, -1, 0);
  if (got < 0 && got > -4096) return {nullptr, static_cast<int>(-got)};
  return {reinterpret_cast<void*>(got), 0};
}

Mapping MapAligned(ByteCount bytes, ByteCount alignment, uintptr_t hint, int protection) {
  MmapPages pages;
  const uint64_t size = bytes.value();
  const uint64_t align = alignment.value();
  if (size == 0) return {nullptr, EINVAL};
  Mapping first = MapAt(hint, size, protection);
  if (first.base == nullptr) return first;
  if (reinterpret_cast<uintptr_t>(first.base) % align == 0) return first;
  // The kernel aligns to its own page only: take as much again, and give the ends back.
  pages.Unmap(first.base, bytes);
  if (size + align < size) return {nullptr, ENOMEM};
  const Mapping wide = MapAt(0, size + align - kMachinePage, protection);
  if (wide.base == nullptr) return wide;
  const uintptr_t start = reinterpret_cast<uintptr_t>(wide.base);
  const uintptr_t end = start + size + align - kMachinePage;
  const uintptr_t aligned = (start + align - 1) & ~(align - 1);
  if (aligned > start) pages.Unmap(wide.base, ByteCount(aligned - start));
  if (end > aligned + size) {
    pages.Unmap(reinterpret_cast<void*>(aligned + size), ByteCount(end - aligned - size));
  }
  return {reinterpret_cast<void*>(aligned), 0};
}

}  // namespace

Mapping MmapPages::Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
  return MapAligned(bytes, alignment, hint, PROT_READ | PROT_WRITE);
}

Mapping MmapPages::Reserve(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
  return MapAligned(bytes, alignment, hint, PROT_NONE);
}

bool MmapPages::Release(void* base, ByteCount bytes) {
  long rc;
  do {
    rc = base::RawSyscall(SYS_madvise, base, bytes.value(), MADV_DONTNEED);
  } while (rc == -EAGAIN);
  return rc == 0;
}

void MmapPages::Unmap(void* base, ByteCount bytes) {
  // Unmapping the middle of a VMA needs one VMA more, and may fail for the lack of it; the memory
  // at least is then given back.
  if (base::RawSyscall(SYS_munmap, base, bytes.value()) != 0) Release(base, bytes);
}

bool MmapPages::Collapse(void* base, ByteCount bytes) {
  return base::RawSyscall(SYS_madvise, base, bytes.value(), MADV_COLLAPSE) == 0;
}

bool MmapPages::Guard(void* base, ByteCount bytes) {
  return base::RawSyscall(SYS_mprotect, base, bytes.value(), PROT_NONE) == 0;
}

bool MmapPages::Seal(void* base, ByteCount bytes) {
  return base::RawSyscall(SYS_mprotect, base, bytes.value(), PROT_READ) == 0;
}

bool MmapPages::Open(void* base, ByteCount bytes) {
  return base::RawSyscall(SYS_mprotect, base, bytes.value(), PROT_READ | PROT_WRITE) == 0;
}

uintptr_t RandomArenaHint() {
  uint64_t chance = 0;
  constexpr unsigned kNonBlock = 1;  // GRND_NONBLOCK: early in boot, rather guessable than stuck
  if (base::RawSyscall(SYS_getrandom, &chance, sizeof(chance), kNonBlock) != sizeof(chance)) {
    chance = (reinterpret_cast<uintptr_t>(&chance) >> 4) * 0x9E3779B97F4A7C15u;
  }
  // From 17 to 81 TiB: clear of position-independent executables, which Linux loads at two thirds
  // of user space (85 TiB), of libraries and stacks, at its end, and of AddressSanitizer's shadow,
  // below 16 TiB. A place that is taken costs no more than a place elsewhere.
  constexpr uintptr_t kLowest = uintptr_t{0x1100} << 32;
  return kLowest + ((chance >> 44) << 26);
}

}  // namespace plimsoll::alloc
