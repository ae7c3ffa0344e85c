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

constexpr int kProtection = PROT_READ | PROT_WRITE;
// NORESERVE: address space of an arena is not memory, and must not count as such where the system
// does not overcommit by heuristics.
constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
constexpr uintptr_t kMachinePage = 4096;

Mapping MapAt(uintptr_t hint, uint64_t bytes) {
  const long got = base::RawSyscall(SYS_mmap, hint, bytes, kProtection, kFlags, -1, 0);
  if (got < 0 && got > -4096) return {nullptr, static_cast<int>(-got)};
  return {reinterpret_cast<void*>(got), 0};
}

}  // namespace

Mapping MmapPages::Map(ByteCount bytes, ByteCount alignment, uintptr_t hint) {
  const uint64_t size = bytes.value();
  const uint64_t align = alignment.value();
  if (size == 0) return {nullptr, EINVAL};
  Mapping first = MapAt(hint, size);
  if (first.base == nullptr) return first;
  if (reinterpret_cast<uintptr_t>(first.base) % align == 0) return first;
  // The kernel aligns to its own page only: take as much again, and give the ends back.
  Unmap(first.base, bytes);
  if (size + align < size) return {nullptr, ENOMEM};
  const Mapping wide = MapAt(0, size + align - kMachinePage);
  if (wide.base == nullptr) return wide;
  const uintptr_t start = reinterpret_cast<uintptr_t>(wide.base);
  const uintptr_t end = start + size + align - kMachinePage;
  const uintptr_t aligned = (start + align - 1) & ~(align - 1);
  if (aligned > start) Unmap(wide.base, ByteCount(aligned - start));
  if (end > aligned + size) {
    Unmap(reinterpret_cast<void*>(aligned + size), ByteCount(end - aligned - size));
  }
  return {reinterpret_cast<void*>(aligned), 0};
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

bool MmapPages::Open(void* base, ByteCount bytes) {
  return base::RawSyscall(SYS_mprotect, base, bytes.value(), PROT_READ | PROT_WRITE) == 0;
}

uintptr_t RandomArenaHint() {
  uint64_t chance = 0;
  constexpr unsigned kNonBlock = 1;  // GRND_NONBLOCK: early in boot, rather guessable than stuck
  if (base::RawSyscall(SYS_getrandom, &chance, sizeof(chance), kNonBlock) != sizeof(chance)) {
    chance = (reinterpret_cast<uintptr_t>(&chance) >> 4) * 0x9E3779B97F4A7C15u;
  }
  // 16 TiB and up by at most 1 TiB: clear of executables and libraries, and within what
  // sanitizers leave to the application.
  constexpr uintptr_t kLowest = uintptr_t{0x1000} << 32;
  return kLowest + ((chance >> 50) << 26);
}

}  // namespace plimsoll::alloc
