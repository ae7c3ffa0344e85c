// What the kernel tells of a thread of this process. For sysmon and for dumps: raw system calls and
// own memory alone; a call costs up to some microseconds.
#ifndef PLIMSOLL_RUNTIME_SCHED_THREAD_STATE_H_
#define PLIMSOLL_RUNTIME_SCHED_THREAD_STATE_H_

#include <cstdint>

namespace plimsoll::sched {

// The CPU time that the thread has used so far, in ns; 0 where there is no such thread.
int64_t ThreadCpuNanos(int32_t tid);

// "R": it runs or waits for a CPU; "S", "D", "T", …: as in proc(5); 0: that cannot be told.
char ThreadState(int32_t tid);

// Whether the thread sleeps now in a futex wait without a deadline: it waits for a std::mutex, a
// semaphore or a condition, and a signal does not end its wait. False also where that cannot be
// told: no /proc, or a kernel without its `syscall` files.
bool SleepsInFutex(int32_t tid);

// The same, of such a file's contents: "202 0x7f… 0x80 0x2 0x0 …", "running", "-1 0x7f… 0x7f…".
bool TellsOfFutexWait(const char* text);

}  // namespace plimsoll::sched

#endif  // PLIMSOLL_RUNTIME_SCHED_THREAD_STATE_H_
