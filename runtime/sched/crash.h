// What the process says before it ends badly: an overflow, a fault, SIGQUIT, an uncaught panic.
//
//   sched::InstallCrashHandlers(TracebackLevel::kSingle);   // runtime/runtime.cc, before Run
//
//   what happened                        the first lines, Go's goroutines a stack met its guard
//   runtime: goroutine stack exceeds N-byte limit    all
//                                        fatal error: stack overflow
//   a fault in the first page            panic: runtime error: invalid memory address     the one
//                                        or nil pointer dereference
//                                        [signal SIGSEGV: segmentation violation …]
//   a fault elsewhere                    unexpected fault address 0x…                     all
//                                        fatal error: fault
//   x / 0                                panic: runtime error: integer divide by zero     the one
//   SIGQUIT, abort(), SIGILL, and a      SIGQUIT: quit                                    all, and
//   fault in the scheduler itself        PC=0x… m=0 sigcode=0                             registers
//
// and exit status 2, without a core; with GOTRACEBACK=crash, SIGABRT and a core.
//
// Stacks:    SIGQUIT and an overflow also show the goroutines whose stacks have been deepest, after
//            all goroutines; an overflow how to get a bigger one.
// Before us: a handler that the program installed before Main for one of these signals goes first,
//            and if it returns the fault counts as mended; but an overflow is ours. SIGQUIT,
//            SIGABRT and SIGILL are left to a program that handles them.
// Threads:   a fault on a thread that is not the runtime's is left to what was installed before
//            (by default the kernel's: a core). The other threads are stopped by SIGQUIT while all
//            goroutines are printed, for at most 100 ms: one that does not answer is shown as
//            "running on other thread; stack unavailable".
// Sanitizers: faults are left to them; their reports tell more.
#ifndef PLIMSOLL_RUNTIME_SCHED_CRASH_H_
#define PLIMSOLL_RUNTIME_SCHED_CRASH_H_

#include <cstdint>
#include <string_view>

#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll::sched {

// How much a crash tells: Go's GOTRACEBACK.
enum class TracebackLevel : uint8_t {
  kNone,    // the message
  kSingle,  // of a panic, the goroutine; of a fatal error, all
  kAll,     // all goroutines
  kSystem,  // and the runtime's frames
  kCrash,   // and a core dump: ends by SIGABRT
};

// "none", "0", "single", "", "1", "all", "system", "2", "crash"; false: none of them.
bool ParseTracebackLevel(std::string_view text, TracebackLevel* out);

// Also makes base::Fatal print goroutines. Call once.
void InstallCrashHandlers(TracebackLevel level);

// Ends the process for an exception that nobody caught: writes "panic: <text>" and the goroutine.
// `file` and `line`: where it was thrown; empty if that is not known. Called where it was thrown.
[[noreturn]] void CrashByPanic(const base::RawText& text, std::string_view file, uint32_t line);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_CRASH_H_
