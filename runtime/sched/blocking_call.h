// BlockingCall declares a call that may keep its thread: file I/O, fsync, a lock of somebody
// else's, a library that waits. Its P goes to other goroutines meanwhile.
//
//   const ssize_t n = BlockingCall([&] { return pread(fd, buffer, size, offset); });
//
// Cost:      about two atomic operations when it returns at once; when it takes longer than 20 us
//            to 10 ms, sysmon gives the P away, and the goroutine waits for one when it comes back.
// Inside:    no primitive of Plimsoll but another BlockingCall; errno is the thread's and is kept.
// Threads:   on a foreign thread it only calls the function.
#ifndef PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_
#define PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_

#include <concepts>
#include <utility>

#include "plimsoll/runtime/sched/saved_registers.h"

namespace plimsoll {

namespace sched {
// `saved` lives until the call ends: a collector scans from there (stop_world.h).
void EnterBlockingCall(const SavedRegisters& saved);
void ExitBlockingCall();
}  // namespace sched

template <std::invocable F>
decltype(auto) BlockingCall(F&& f) {
  struct Exit {
    ~Exit() { sched::ExitBlockingCall(); }
  };
  sched::SavedRegisters saved;
  saved.Save();
  sched::EnterBlockingCall(saved);
  Exit exit;
  return std::forward<F>(f)();
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_
