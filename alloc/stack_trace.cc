#include "plimsoll/alloc/stack_trace.h"

#include <pthread.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>

#include "plimsoll/alloc/base/proc_maps.h"
#include "plimsoll/alloc/base/raw_log.h"
#include "plimsoll/alloc/base/raw_syscall.h"

// The main thread's first frame; ld.so's, or a static glibc's.
extern "C" void* __libc_stack_end __attribute__((weak));

namespace plimsoll::alloc {
namespace {

constinit std::atomic<uintptr_t (*)(uintptr_t)> stack_end_hook{nullptr};

// A stack that is larger is not the thread's own: sp is on one that was made by hand.
constexpr uintptr_t kLargestStack = uintptr_t{64} << 20;
// A frame that is larger is no frame.
constexpr uintptr_t kLargestFrame = uintptr_t{128} << 10;

// Where a walk from `sp` ends at the latest; `sp` itself when nobody knows. `*sure`: all from sp to
// there is stack. Else it may be a stack that the program made, below a thread's own, with a guard
// page or nothing at all between the two.
uintptr_t StackEnd(uintptr_t sp, bool* sure) {
  if (auto* hook = stack_end_hook.load(std::memory_order_acquire)) {
    if (const uintptr_t end = hook(sp); end > sp) {
      *sure = true;
      return end;
    }
  }
  *sure = false;
  // The kernel keeps at least 128 MiB clear below the main thread's stack.
  const auto main_end =
      reinterpret_cast<uintptr_t>(&__libc_stack_end == nullptr ? nullptr : __libc_stack_end);
  if (sp < main_end && main_end - sp < kLargestStack) return main_end;
  // libc puts a thread's control block on top of its stack.
  const auto thread_end = reinterpret_cast<uintptr_t>(pthread_self());
  if (sp < thread_end && thread_end - sp < kLargestStack) return thread_end;
  return sp;
}

// Whether the machine page at `page` can be read. rt_sigprocmask copies the set that it is given
// before it looks at `how`, which is none, so nothing changes: EFAULT or EINVAL. No sandbox that
// lets a program run at all forbids the call, as some do process_vm_readv.
bool IsReadable(uintptr_t page) {
  constexpr long kNoHow = -1;
  constexpr long kSetBytes = 8;
  return base::RawSyscall(SYS_rt_sigprocmask, kNoHow, page, 0L, kSetBytes) == -EINVAL;
}

}  // namespace

void SetStackEndHook(uintptr_t (*hook)(uintptr_t sp)) {
  stack_end_hook.store(hook, std::memory_order_release);  // pairs with the acquire in StackEnd()
}

__attribute__((no_sanitize("address", "thread"))) void StackTrace::Capture() {
  depth = 0;
  auto frame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  bool sure;
  const uintptr_t end = StackEnd(frame, &sure);
  constexpr uintptr_t kMachinePage = 4096;  // or a part of one
  uintptr_t readable = frame & ~(kMachinePage - 1);
  while (depth < kMost && frame + 2 * sizeof(uintptr_t) <= end && frame % sizeof(uintptr_t) == 0) {
    for (uintptr_t at : {frame, frame + sizeof(uintptr_t)}) {
      const uintptr_t page = at & ~(kMachinePage - 1);
      if (sure || page == readable) continue;
      if (!IsReadable(page)) return;
      readable = page;
    }
    const auto* words = reinterpret_cast<const uintptr_t*>(frame);
    const uintptr_t pc = words[1];
    if (pc < 4096) break;
    pcs[depth++] = pc;
    const uintptr_t next = words[0];
    if (next <= frame || next - frame > kLargestFrame) break;
    frame = next;
  }
}

void StackTrace::Log() const {
  for (uint32_t i = 0; i < depth; ++i) {
    base::RawText line;
    line.Add("    #");
    line.Add(i);
    line.Add(" ");
    base::AddCodePlace(line, pcs[i] - 1);  // the call, not what follows it
    base::RawLogText(line);
  }
  if (depth == 0) base::RawLog("    (its callers are not known)");
}

}  // namespace plimsoll::alloc
