#include "plimsoll/container/run_delay.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "plimsoll/container/cgroup/pressure_formats.h"

namespace plimsoll::container {
namespace {

// As the kernel fills it in; getdents64(2). readdir(3) would allocate its buffer at each opendir.
struct LinuxDirent {
  uint64_t ino;
  int64_t off;
  unsigned short reclen;
  unsigned char type;
  char name[];
};

}  // namespace

RunDelay::RunDelay(const std::string& task_dir)
    : dir_fd_(open(task_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}

RunDelay::~RunDelay() {
  for (const Thread& thread : threads_) {
    if (thread.fd >= 0) close(thread.fd);
  }
  if (dir_fd_ >= 0) close(dir_fd_);
}

RunDelay::Thread& RunDelay::Find(pid_t tid) {
  const auto at = std::ranges::lower_bound(threads_, tid, {}, &Thread::tid);
  if (at != threads_.end() && at->tid == tid) return *at;
  Thread thread;
  thread.tid = tid;
  return *threads_.insert(at, thread);
}

void RunDelay::ListThreads() {
  for (Thread& thread : threads_) thread.seen = false;
  lseek(dir_fd_, 0, SEEK_SET);
  alignas(LinuxDirent) char buffer[4096];
  long bytes;
  while ((bytes = syscall(SYS_getdents64, dir_fd_, buffer, sizeof buffer)) > 0) {
    for (long at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const LinuxDirent*>(buffer + at);
      at += entry->reclen;
      const std::string_view name(entry->name);
      pid_t tid = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tid);
      if (error == std::errc() && end == name.data() + name.size() && tid > 0)
        Find(tid).seen = true;
    }
  }
  std::erase_if(threads_, [&](const Thread& thread) {
    if (!thread.seen && thread.fd >= 0) {
      close(thread.fd);
      --kept_;
    }
    return !thread.seen;
  });
}

bool RunDelay::ReadThread(Thread& thread, uint64_t* run_ns, uint64_t* wait_ns) {
  int fd = thread.fd;
  if (fd < 0) {
    char path[32];
    char* end = std::to_chars(path, path + 16, thread.tid).ptr;
    std::memcpy(end, "/schedstat", sizeof "/schedstat");
    fd = openat(dir_fd_, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
  }
  char text[96];
  const ssize_t length = pread(fd, text, sizeof text, 0);
  if (thread.fd < 0) {
    if (length > 0 && kept_ < kKeptThreads) {
      thread.fd = fd;
      ++kept_;
    } else {
      close(fd);
    }
  }
  if (length <= 0) return false;  // it has ended
  const std::optional<SchedStat> stat = ParseSchedStat({text, static_cast<size_t>(length)});
  if (!stat) return false;
  *run_ns = stat->run_ns;
  *wait_ns = stat->wait_ns;
  return true;
}

RunDelay::Step RunDelay::Poll(int64_t now_ns) {
  Step step;
  if (dir_fd_ < 0) return step;
  ListThreads();
  const int64_t wall_ns = now_ns - last_ns_;
  last_ns_ = now_ns;
  for (Thread& thread : threads_) {
    uint64_t run_ns, wait_ns;
    if (!ReadThread(thread, &run_ns, &wait_ns)) continue;
    step.available = true;
    ++step.threads;
    // Counters that went back belong to another thread with the same number.
    if (run_ns < thread.run_ns || wait_ns < thread.wait_ns) thread = {thread.tid, thread.fd, true};
    const uint64_t ran = run_ns - thread.run_ns;
    const uint64_t waited = wait_ns - thread.wait_ns;
    step.run_ns += ran;
    step.wait_ns += waited;
    double wanted = static_cast<double>(ran) + static_cast<double>(waited);
    if (waited >= static_cast<uint64_t>(std::max<int64_t>(wall_ns, 0)) / 2) {
      wanted += static_cast<double>(std::min(kWaitUnderWayNs, wall_ns / 5));
    }
    if (thread.has_last && wall_ns > 0 && wanted >= kSaturated * static_cast<double>(wall_ns)) {
      ++step.saturated;
      step.saturated_run_ns += ran;
    }
    thread.run_ns = run_ns;
    thread.wait_ns = wait_ns;
    thread.has_last = true;
  }
  return step;
}

}  // namespace plimsoll::container
