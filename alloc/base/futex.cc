#include "plimsoll/alloc/base/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace plimsoll::base {

static_assert(sizeof(std::atomic<uint32_t>) == 4);

bool FutexWait(std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns) {
  const int saved = errno;
  timespec limit;
  if (timeout_ns >= 0) {
    limit.tv_sec = timeout_ns / 1'000'000'000;
    limit.tv_nsec = timeout_ns % 1'000'000'000;
  }
  const long rc = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected,
                          timeout_ns >= 0 ? &limit : nullptr, nullptr, 0);
  const bool timed_out = rc != 0 && errno == ETIMEDOUT;
  errno = saved;
  return !timed_out;
}

int FutexWake(std::atomic<uint32_t>& word, int count) {
  const int saved = errno;
  const long rc = syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
  errno = saved;
  return rc < 0 ? 0 : static_cast<int>(rc);
}

}  // namespace plimsoll::base
