#include "plimsoll/runtime/sched/thread_state.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "plimsoll/alloc/base/raw_syscall.h"

namespace plimsoll::sched {
namespace {

// Reads a number, and the blank behind it. False: there is none.
bool Next(const char** at, int base, uint64_t* value) {
  const char* p = *at;
  if (base == 16) {
    if (p[0] != '0' || p[1] != 'x') return false;
    p += 2;
  }
  *value = 0;
  const char* begin = p;
  for (;; ++p) {
    int digit;
    if (*p >= '0' && *p <= '9') {
      digit = *p - '0';
    } else if (base == 16 && *p >= 'a' && *p <= 'f') {
      digit = *p - 'a' + 10;
    } else {
      break;
    }
    *value = *value * static_cast<uint64_t>(base) + static_cast<uint64_t>(digit);
  }
  if (p == begin || *p != ' ') return false;
  *at = p + 1;
  return true;
}

}  // namespace

int64_t ThreadCpuNanos(int32_t tid) {
  // A thread's clock by its number (include/linux/posix-timers_types.h): the scheduler's count, of
  // one thread.
  constexpr int32_t kSchedOfThread = 2 | 4;
  timespec t = {};
  const int32_t clock = static_cast<int32_t>(~static_cast<uint32_t>(tid) << 3) | kSchedOfThread;
  if (base::RawSyscall(SYS_clock_gettime, clock, &t) != 0) return 0;
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

bool TellsOfFutexWait(const char* text) {
  uint64_t number, args[4];
  if (!Next(&text, 10, &number) || number != SYS_futex) return false;
  for (uint64_t& arg : args) {
    if (!Next(&text, 16, &arg)) return false;
  }
  const uint64_t kind = args[1] & ~static_cast<uint64_t>(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
  const bool no_deadline = args[3] == 0;
  return (kind == FUTEX_WAIT || kind == FUTEX_WAIT_BITSET) && no_deadline;
}

namespace {

// Fills `text` with the first bytes of /proc/self/task/TID`name`, and a 0. False: it cannot be
// read.
bool ReadOf(int32_t tid, const char* name, char* text, long room) {
  char path[40] = "/proc/self/task/";
  char digits[10];
  int n = 0;
  for (uint32_t rest = static_cast<uint32_t>(tid); rest != 0 || n == 0; rest /= 10) {
    digits[n++] = static_cast<char>('0' + rest % 10);
  }
  char* at = path + sizeof("/proc/self/task/") - 1;
  while (n > 0) *at++ = digits[--n];
  while ((*at++ = *name++) != '\0') {
  }
  const long fd = base::RawSyscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const long got = base::RawSyscall(SYS_read, fd, text, room - 1);
  base::RawSyscall(SYS_close, fd);
  if (got <= 0) return false;
  text[got] = '\0';
  return true;
}

}  // namespace

bool SleepsInFutex(int32_t tid) {
  char text[256];
  return ReadOf(tid, "/syscall", text, sizeof(text)) && TellsOfFutexWait(text);
}

char ThreadState(int32_t tid) {
  char text[64];
  if (!ReadOf(tid, "/stat", text, sizeof(text))) return 0;
  // "TID (name) S …": the name, of up to 15 bytes, may hold anything.
  const char* end = nullptr;
  for (const char* at = text; *at != '\0'; ++at) {
    if (*at == ')') end = at;
  }
  return end != nullptr && end[1] == ' ' ? end[2] : '\0';
}

}  // namespace plimsoll::sched
