#include "plimsoll/runtime/sched/altstack.h"

#include <errno.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/alloc/base/sanitizer.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51  // Linux 5.14, include/uapi/linux/auxvec.h
#endif

namespace plimsoll::sched {
namespace {

// One page of the largest size that a supported kernel has (arm64, 64 KiB pages).
constexpr size_t kGuard = 64 << 10;

}  // namespace

size_t AltStackBytes(size_t min_frame) {
  constexpr size_t kLeast = 64 << 10;
  const size_t wanted = 4 * min_frame + (16 << 10);
  return wanted <= kLeast ? kLeast : (wanted + kGuard - 1) & ~(kGuard - 1);
}

AltStack InstallAltStack() {
  // A traceback's frames, the demangler's above all, are several times as large under sanitizers.
  constexpr size_t kTimes = base::kAsan || base::kTsan ? 4 : 1;
  const size_t bytes = kTimes * AltStackBytes(getauxval(AT_MINSIGSTKSZ));
  // Reserved whole, then opened: of the two mappings the kernel keeps, the lower is the guard.
  void* raw =
      mmap(nullptr, kGuard + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  int error = raw == MAP_FAILED ? errno : 0;
  if (error == 0) {
    char* lo = static_cast<char*>(raw) + kGuard;
    stack_t wanted = {};
    wanted.ss_sp = lo;
    wanted.ss_size = bytes;
    if (mprotect(lo, bytes, PROT_READ | PROT_WRITE) == 0) {
      // Not libc's wrapper: ThreadSanitizer's keeps its own idea of the thread's altstack.
      error = static_cast<int>(-base::RawSyscall(SYS_sigaltstack, &wanted, 0));
      if (error == 0) {
        const uintptr_t at = reinterpret_cast<uintptr_t>(lo);
        return {at, at + bytes};
      }
    } else {
      error = errno;
    }
    munmap(raw, kGuard + bytes);
  }
  static constinit std::atomic<bool> told{false};
  if (!told.exchange(true, std::memory_order_relaxed)) {
    base::RawLog("plimsoll: no alternate signal stack of ", bytes,
                 " bytes: ", base::ErrnoName(error),
                 "; a stack overflow will end in a bare SIGSEGV");
  }
  return {};
}

bool UseAltStack(const AltStack& stack) {
  if (stack.lo == 0) return false;
  stack_t wanted = {};
  wanted.ss_sp = reinterpret_cast<void*>(stack.lo);
  wanted.ss_size = stack.hi - stack.lo;
  const long rc = base::RawSyscall(SYS_sigaltstack, &wanted, 0);
  PLIMSOLL_CHECK(rc == 0, "sigaltstack: ", base::ErrnoName(static_cast<int>(-rc)));
  return true;
}

void RemoveAltStack(const AltStack& stack) {
  if (stack.lo == 0) return;
  stack_t none = {};
  none.ss_flags = SS_DISABLE;
  const long rc = base::RawSyscall(SYS_sigaltstack, &none, 0);
  PLIMSOLL_CHECK(rc == 0, "sigaltstack(SS_DISABLE): ", base::ErrnoName(static_cast<int>(-rc)));
  munmap(reinterpret_cast<void*>(stack.lo - kGuard), stack.hi - stack.lo + kGuard);
}

}  // namespace plimsoll::sched
