// Main runs a service: it finds the limits of the container, starts the scheduler sized by them,
// and runs a function as the main goroutine.
//
//   int main(int argc, char** argv) {
//     return plimsoll::Main(argc, argv, [] {
//       plimsoll::Go([] { ... });
//       return 0;                       // the exit code; other goroutines end with the process
//     });
//   }
//
// Ps:        container::Detect's choice: GOMAXPROCS in the environment, else the CPU quota rounded
//            up and at least 2, at most the CPUs of the affinity mask; it follows a resize of the
//            container within seconds, unless GoMaxProcs(n) or the environment set it.
// Report:    one line a fact on stderr, "plimsoll: …", at start: what was found, where, and what
//            was ignored and why. PLIMSOLL_LOG=off silences it, but for what in the
//            environment was not understood; text is the default.
// Stack:     the main goroutine's is 8 MiB.
// Exit:      when `fn` returns, the process exits with what it returned, through exit(3): exit
//            handlers run, for a second at most; goroutines that still run are not unwound. An
//            exception that nobody catches prints "panic: …" and exits 2; so does a fatal error,
//            with its own text.
// Threads:   call it once, from the process's first thread, before other threads use the runtime.
#ifndef PLIMSOLL_RUNTIME_RUNTIME_H_
#define PLIMSOLL_RUNTIME_RUNTIME_H_

#include <concepts>
#include <type_traits>

#include "plimsoll/container/limits.h"
#include "plimsoll/runtime/go.h"

namespace plimsoll {

namespace internal {
[[noreturn]] void RunMain(int argc, char** argv, const EntryOps& entry, void* closure,
                          const int* exit_code);
}  // namespace internal

// `fn` takes nothing and returns the exit code; one that returns void stands for 0.
template <std::invocable F>
int Main(int argc, char** argv, F fn) {
  static int exit_code = 0;
  auto run = [&fn] {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      fn();
    } else {
      exit_code = fn();
    }
  };
  internal::RunMain(argc, argv, internal::kEntryOps<decltype(run)>, &run, &exit_code);
}

// The limits that were found at start. Valid while Main runs.
const container::Limits& StartLimits();

// Sets how many Ps there are, 1 to 1024 (more is 1024), and returns how many there were; less than
// 1 changes nothing. Stops every goroutine for the change. Until it is called, P follows the
// container's limits: a look at them each second while goroutines run.
int GoMaxProcs(int n);

// How many Ps there are.
int GoMaxProcs();

// How many goroutines there are now, the scheduler's own not counted; at least 1 within Main.
int64_t NumGoroutine();

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_RUNTIME_H_
