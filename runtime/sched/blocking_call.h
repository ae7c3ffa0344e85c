// BlockingCall declares a call that may keep its thread: file I/O, fsync, a lock of somebody
// else's, a library that waits. Its P goes to other goroutines meanwhile.
//
//   const ssize_t n = BlockingCall([&] { return pread(fd, buffer, size, offset); });
//
// Cost:      about two atomic operations when it returns at once; when it takes longer than 20 us
// to
//            10 ms, sysmon gives the P away, and the goroutine waits for one when it comes back.
// Inside:    no primitive of Plimsoll but another BlockingCall; errno is the thread's and is kept.
// Threads:   on a foreign thread it only calls the function.
#ifndef PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_
#define PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_

#include <concepts>
#include <utility>

namespace plimsoll {

namespace sched {
void EnterBlockingCall();
void ExitBlockingCall();
}  // namespace sched

template <std::invocable F>
decltype(auto) BlockingCall(F&& f) {
  struct Exit {
    ~Exit() { sched::ExitBlockingCall(); }
  };
  sched::EnterBlockingCall();
  Exit exit;
  return std::forward<F>(f)();
}

}  // namespace plimsoll

#endif  // PLIMSOLL_RUNTIME_SCHED_BLOCKING_CALL_H_
