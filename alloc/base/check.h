// CHECK states a fact that nobody may survive the lack of; Fatal ends the process with Go's text.
//
//   PLIMSOLL_CHECK(span != nullptr, "no span for ", Hex(addr));
//   PLIMSOLL_DCHECK(lock.held());
//   Fatal("all goroutines are asleep - deadlock!");
//
// Output:   one line on stderr, "fatal error: …", then what the fatal hook adds (the runtime's is a
//           dump of goroutines), then _exit(2). Never abort(): SIGABRT does not end PID 1.
// Memory:   none but the stack. Both may be called beneath malloc, in a handler, with a lock held.
// Threads:  any. A second thread that fails waits for the first to end the process.
#ifndef PLIMSOLL_ALLOC_BASE_CHECK_H_
#define PLIMSOLL_ALLOC_BASE_CHECK_H_

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::base {

// Called once by Fatal after its line is written and before the process ends; must not allocate.
using FatalHook = void (*)();

// Sets the hook; null removes it.
void SetFatalHook(FatalHook hook);

// Writes "fatal error: <text>" and ends the process with status 2.
[[noreturn]] void FatalText(const RawText& text);

template <typename... Parts>
[[noreturn]] void Fatal(const Parts&... parts) {
  RawText text;
  (text.Add(parts), ...);
  FatalText(text);
}

}  // namespace plimsoll::base

#define PLIMSOLL_CHECK(condition, ...)                                                       \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      ::plimsoll::base::Fatal(__FILE__ ":", __LINE__,                                        \
                              ": CHECK failed: " #condition " " __VA_OPT__(, ) __VA_ARGS__); \
    }                                                                                        \
  } while (false)

// As CHECK in builds without NDEBUG; else the condition is compiled and not evaluated.
#ifdef NDEBUG
#define PLIMSOLL_DCHECK(condition, ...)                              \
  do {                                                               \
    if (false) PLIMSOLL_CHECK(condition __VA_OPT__(, ) __VA_ARGS__); \
  } while (false)
#else
#define PLIMSOLL_DCHECK(condition, ...) PLIMSOLL_CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif

#endif  // PLIMSOLL_ALLOC_BASE_CHECK_H_
