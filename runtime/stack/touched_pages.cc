#include "plimsoll/runtime/stack/touched_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::stack {
namespace {

// Asked for at once: the default's 60 pages, in half a KiB. Bigger stacks take several calls.
constexpr size_t kAtOnce = 64;
// Of many neighbours. A read of pagemap costs 1.4 us whatever it reads, and the kernel itself goes
// by 512 entries.
constexpr size_t kAtOnceOfMany = 512;

// An entry of pagemap. Source: the kernel's Documentation/admin-guide/mm/pagemap.rst.
constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kSwapped = uint64_t{1} << 62;

// Uninstrumented: pages of the same address may have been another thread's, of which
// ThreadSanitizer knows nothing where raw calls map them.
__attribute__((noinline, no_sanitize("address", "thread"))) void Touch(uintptr_t at) {
  *reinterpret_cast<volatile char*>(at) = 1;
}

bool Failed(long rc) { return rc < 0 && rc >= -4095; }

}  // namespace

uintptr_t PageBytes() { return static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)); }

TouchedPages::TouchedPages(Source most) {
  // Where pages are bigger than a guard (aarch64 with 64 KiB), neighbours share them.
  if (PageBytes() > kGuardBytes) return;
  if (most >= Source::kPagemap) {
    const long fd =
        base::RawSyscall(SYS_openat, AT_FDCWD, "/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (!Failed(fd)) {
      pagemap_ = static_cast<int>(fd);
      source_ = Source::kPagemap;
      if (TellsTheTruth()) return;
      base::RawSyscall(SYS_close, pagemap_);
      pagemap_ = -1;
    }
  }
  source_ = Source::kNone;
  if (most < Source::kMincore) return;
  source_ = Source::kMincore;
  if (!TellsTheTruth()) source_ = Source::kNone;
}

TouchedPages::~TouchedPages() {
  if (pagemap_ >= 0) base::RawSyscall(SYS_close, pagemap_);
}

bool TouchedPages::TellsTheTruth() const {
  const uintptr_t page = PageBytes();
  const long memory = base::RawSyscall(SYS_mmap, 0, 3 * page, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (Failed(memory)) return false;
  const auto lo = static_cast<uintptr_t>(memory);
  // One huge page for the three would be the truth, and no answer.
  base::RawSyscall(SYS_madvise, lo, 3 * page, MADV_NOHUGEPAGE);
  const bool none = LowestIn(lo, lo + 3 * page) == lo + 3 * page;
  Touch(lo + page);
  const bool second = LowestIn(lo, lo + 3 * page) == lo + page;
  base::RawSyscall(SYS_munmap, lo, 3 * page);
  return none && second;
}

bool TouchedPages::FillBy(uintptr_t lo, size_t pages, unsigned char* out, uint64_t* entries,
                          size_t room) const {
  const uintptr_t page = PageBytes();
  if (source_ == Source::kPagemap) {
    for (size_t done = 0; done < pages;) {
      const size_t n = pages - done < room ? pages - done : room;
      const long rc = base::RawSyscall(SYS_pread64, pagemap_, entries, n * sizeof(uint64_t),
                                       (lo / page + done) * sizeof(uint64_t));
      if (rc != static_cast<long>(n * sizeof(uint64_t))) return false;
      for (size_t i = 0; i < n; ++i) {
        out[done + i] = (entries[i] & (kPresent | kSwapped)) != 0 ? 1 : 0;
      }
      done += n;
    }
    return true;
  }
  if (source_ != Source::kMincore) return false;
  long rc;
  do {
    rc = base::RawSyscall(SYS_mincore, lo, pages * page, out);
  } while (rc == -EAGAIN);  // the kernel had no page for its answer
  if (rc != 0) return false;
  for (size_t i = 0; i < pages; ++i) out[i] &= 1;  // the other bits are reserved
  return true;
}

bool TouchedPages::Fill(uintptr_t lo, size_t pages, unsigned char* out) const {
  uint64_t entries[kAtOnceOfMany];
  return FillBy(lo, pages, out, entries, kAtOnceOfMany);
}

uintptr_t TouchedPages::LowestIn(uintptr_t lo, uintptr_t hi) const {
  const uintptr_t page = PageBytes();
  for (uintptr_t at = lo; at < hi;) {
    const size_t left = (hi - at) / page;
    const size_t n = left < kAtOnce ? left : kAtOnce;
    uint64_t entries[kAtOnce];
    unsigned char touched[kAtOnce];
    if (!FillBy(at, n, touched, entries, kAtOnce)) return hi;
    for (size_t i = 0; i < n; ++i) {
      if (touched[i] != 0) return at + i * page;
    }
    at += n * page;
  }
  return hi;
}

uintptr_t TouchedPages::Lowest(const Stack& stack) const {
  if (stack.guarded) return LowestIn(stack.lo, stack.hi);
  const uintptr_t above_canary = stack.lo + PageBytes();
  const uintptr_t lowest = LowestIn(above_canary, stack.hi);
  return lowest == above_canary ? stack.lo : lowest;
}

}  // namespace plimsoll::stack
