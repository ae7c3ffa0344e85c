// The end of the process: main has returned, an exception was not caught, or nobody can run again.

#include <cxxabi.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "plimsoll/alloc/base/check.h"
#include "plimsoll/alloc/base/futex.h"
#include "plimsoll/alloc/base/raw_syscall.h"
#include "plimsoll/runtime/sched/internal.h"
#include "plimsoll/runtime/sched/sanitizer.h"

namespace plimsoll::sched {
namespace {

// How long exit handlers and static destructors may take. A sanitizer's leak check takes its time.
#if defined(PLIMSOLL_ASAN) || defined(PLIMSOLL_TSAN)
constexpr int64_t kExitWatchdogNs = 60'000'000'000;
#else
constexpr int64_t kExitWatchdogNs = 1'000'000'000;
#endif

// As getdents64(2) writes them.
struct DirEntry {
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[1];
};

// Files by raw calls: libc's are points at which a thread may be cancelled, and an attached thread
// that is would unwind here, on a stack that is not its own. It stays cancelled, and ends where its
// own code next may.
int Open(int dir, const char* path, int flags) {
  return static_cast<int>(base::RawSyscall(SYS_openat, dir, path, flags | O_RDONLY | O_CLOEXEC));
}
// Fills `text` with the file's first bytes, and a 0. False: it cannot be read.
bool ReadFile(int dir, const char* path, char* text, size_t room) {
  const int fd = Open(dir, path, 0);
  if (fd < 0) return false;
  const long n = base::RawSyscall(SYS_read, fd, text, room - 1);
  base::RawSyscall(SYS_close, fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

// How many threads the kernel says there are; -1 when /proc cannot be read. Unlike a listing of
// /proc/self/task, which ends early where a thread ends under it, this is exact.
int ThreadsByStat() {
  char text[512];
  if (!ReadFile(AT_FDCWD, "/proc/self/stat", text, sizeof(text))) return -1;
  const char* at = strrchr(text, ')');  // the name may hold anything
  for (int field = 2; at != nullptr && field < 20; ++field) {
    at = strchr(at + 1, ' ');
  }
  return at != nullptr ? atoi(at + 1) : -1;
}

// Threads of this process that are not ours and could call Ready: -1 when /proc cannot be read.
// jemalloc's background threads never do.
int ForeignThreads() {
  const int dir = Open(AT_FDCWD, "/proc/self/task", O_DIRECTORY);
  if (dir < 0) return -1;
  int threads = 0;
  int listed = 0;
  const int own = sched.own_threads.load(std::memory_order_seq_cst);
  alignas(DirEntry) char buffer[2048];
  for (;;) {
    const long n = base::RawSyscall(SYS_getdents64, dir, buffer, sizeof(buffer));
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const DirEntry*>(buffer + at);
      at += entry->length;
      if (entry->name[0] == '.') continue;
      ++listed;
      char path[64] = {};
      strncpy(path, entry->name, 32);
      strcat(path, "/comm");
      char comm[16] = {};
      (void)ReadFile(dir, path, comm, sizeof(comm));
      if (strncmp(comm, "jemalloc_bg", 11) != 0) ++threads;
    }
  }
  base::RawSyscall(SYS_close, dir);
  // A thread that began or ended meanwhile: ask again.
  if (listed != ThreadsByStat() || sched.threads_in_making.load(std::memory_order_seq_cst) != 0 ||
      own != sched.own_threads.load(std::memory_order_seq_cst)) {
    return -1;
  }
#ifdef PLIMSOLL_TSAN
  --threads;  // TSan's own, which wakes nobody
#endif
  return threads - own;
}

}  // namespace

void StayFrozen() {
  sched.frozen_ms.fetch_add(1, std::memory_order_relaxed);
  std::atomic<uint32_t> never{0};
  for (;;) base::FutexWait(never, 0);
}

void ExitProcess(int code) {
  // Others stop at their next scheduling point; a hog gets no such chance and may run on beside the
  // exit handlers, for at most the watchdog's second.
  if (InForkedChild()) FatalForked();  // main returned
  // Nobody would give our P back.
  if (M* m = CurrentM(); m != nullptr) ++m->no_preempt;
  sched.exit_code.store(code, std::memory_order_relaxed);
  sched.exit_deadline_ns.store(NowNanos() + kExitWatchdogNs, std::memory_order_relaxed);
  sched.mode.fetch_or(kFrozen, std::memory_order_seq_cst);
  WakeSysmon();
  exit(code);
}

namespace {

// Nobody runs, and nothing that the scheduler knows of could change that.
bool Quiet() {
  return !sched.source->HasWaiters() && sched.blocking_calls.load(std::memory_order_seq_cst) == 0 &&
         sched.idle_p_count.load(std::memory_order_seq_cst) ==
             sched.procs.load(std::memory_order_relaxed) &&
         EarliestTimer() == kNever && !WorkSomewhere() &&
         (LiveGoroutines() > 0 || sched.main_left.load(std::memory_order_relaxed)) &&
         !sched.frozen();
}

}  // namespace

bool CheckDeadlock() {
  // An M on its way to sleep may take a P once more. If none was taken between two quiet looks, no
  // goroutine ran between them, and none will.
  const uint64_t taken = sched.ps_taken.load(std::memory_order_seq_cst);
  if (!Quiet()) return true;
  sched.deadlock_looks.fetch_add(1, std::memory_order_relaxed);
  // A foreign thread may ready somebody, or end without a word; or a thread is being made, or /proc
  // cannot be read.
  if (ForeignThreads() != 0) return false;
  // A foreign thread that has ended meanwhile may have readied somebody before.
  if (!Quiet() || sched.ps_taken.load(std::memory_order_seq_cst) != taken) return false;
  if (LiveGoroutines() == 0) {
    base::Fatal("no goroutines (main called runtime.Goexit) - deadlock!");
  }
  base::Fatal("all goroutines are asleep - deadlock!");
}

void DeadlockWatch::GiveUp() {
  if (pause_ns_ == 0) return;
  pause_ns_ = 0;
  sched.deadlock_watched.store(false, std::memory_order_seq_cst);
}

int64_t DeadlockWatch::Ask() {
  constexpr int64_t kFirstNs = 10'000'000;
  constexpr int64_t kLongestNs = 10'000'000'000;
  while (CheckDeadlock()) {
    if (pause_ns_ == 0) return -1;
    // And look once more: who put its P down since our look, and found that we watch, relies on it.
    // seq_cst, here, there and at the idle Ps: one of us sees the other.
    GiveUp();
  }
  if (pause_ns_ != 0) {
    pause_ns_ = pause_ns_ * 4 < kLongestNs ? pause_ns_ * 4 : kLongestNs;
  } else if (!sched.deadlock_watched.exchange(true, std::memory_order_seq_cst)) {
    pause_ns_ = kFirstNs;
  } else {
    return -1;
  }
  return pause_ns_;
}

void HaveDeadlockWatched() {
  if (!Quiet() || sched.deadlock_watched.load(std::memory_order_seq_cst)) return;
  if (sched.last_poll_ns.load(std::memory_order_seq_cst) == 0) {
    sched.source->Break();
  } else {
    WakeIfIdle();
  }
}

}  // namespace plimsoll::sched
