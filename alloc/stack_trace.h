// A StackTrace is where the heap was called from: return addresses, innermost first.
//
//   StackTrace stack;
//   stack.Capture();
//
// How:    along frame pointers, within the stack alone: its end is the thread's own control block,
//         the main thread's __libc_stack_end, or what the hook says of a stack that libc does not
//         know (a goroutine's). Code without frame pointers ends the walk early or leaves a frame
//         out. It may also lead the walk off a stack that the program made by hand below a
//         thread's: so the kernel is asked of each page that is not the first, but for a hook's
//         stacks, whether it can be read.
// Memory: none. May be called beneath malloc and in handlers.
#ifndef PLIMSOLL_ALLOC_STACK_TRACE_H_
#define PLIMSOLL_ALLOC_STACK_TRACE_H_

#include <cstddef>
#include <cstdint>

namespace plimsoll::alloc {

struct StackTrace {
  static constexpr size_t kMost = 24;

  uint32_t depth = 0;
  uintptr_t pcs[kMost] = {};

  // The caller's callers.
  [[gnu::noinline]] void Capture();

  // Writes a line for each to stderr.
  void Log() const;
};

// Says where the stack ends that `sp` is on; 0: it does not know. Set once, before goroutines run.
void SetStackEndHook(uintptr_t (*hook)(uintptr_t sp));

}  // namespace plimsoll::alloc

#endif  // PLIMSOLL_ALLOC_STACK_TRACE_H_
