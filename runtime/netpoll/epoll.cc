#include "plimsoll/runtime/netpoll/epoll.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/check.h"

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

namespace plimsoll::netpoll {
namespace {

constexpr uint64_t kBreakData = ~uint64_t{0};
constexpr int kEventsAtOnce = 128;

uint64_t EventData(uint32_t index, uint32_t sequence) { return uint64_t{index} << 32 | sequence; }

absl::Status Failed(std::string_view call, int error) {
  const std::string_view name = base::ErrnoName(error);
  return absl::Status(absl::ErrnoToStatusCode(error),
                      absl::StrCat("netpoll: ", absl::string_view(call.data(), call.size()), ": ",
                                   absl::string_view(name.data(), name.size())));
}

// The answer of epoll_wait, or -errno. Apart, since no address of errno may live across a switch.
[[gnu::noinline]] int WaitNanos(int epoll_fd, epoll_event* events, int64_t wait_ns) {
  timespec timeout{};
  timespec* until = nullptr;
  if (wait_ns >= 0) {
    timeout.tv_sec = wait_ns / 1'000'000'000;
    timeout.tv_nsec = wait_ns % 1'000'000'000;
    until = &timeout;
  }
  const long n = syscall(SYS_epoll_pwait2, epoll_fd, events, kEventsAtOnce, until, nullptr, 0);
  return n < 0 ? -errno : static_cast<int>(n);
}

[[gnu::noinline]] int WaitMillis(int epoll_fd, epoll_event* events, int64_t wait_ns) {
  constexpr int64_t kLongest = 1'000'000;  // ms; who wants more comes again
  int64_t ms = -1;
  if (wait_ns >= 0) {
    ms = wait_ns / 1'000'000 + (wait_ns % 1'000'000 != 0 ? 1 : 0);  // never early
    if (ms > kLongest) ms = kLongest;
  }
  const int n = epoll_wait(epoll_fd, events, kEventsAtOnce, static_cast<int>(ms));
  return n < 0 ? -errno : n;
}

}  // namespace

EpollPoller::~EpollPoller() {
  if (event_fd_ >= 0) close(event_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

absl::Status EpollPoller::Start() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) return Failed("epoll_create1", errno);
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd_ < 0) return Failed("eventfd", errno);
  epoll_event event{};
  event.events = EPOLLIN;  // level-triggered: DESIGN.md, "Breaking the wait"
  event.data.u64 = kBreakData;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, event_fd_, &event) != 0) {
    return Failed("epoll_ctl", errno);
  }
  return absl::OkStatus();
}

absl::StatusOr<PollDesc*> EpollPoller::Open(int fd) {
  if (epoll_fd_ < 0) {
    return absl::FailedPreconditionError("netpoll: the poller is not running; call inside Main");
  }
  PollDesc* desc = pool_.Acquire();
  if (desc == nullptr) return absl::ResourceExhaustedError("netpoll: no memory for a descriptor");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
  event.data.u64 = EventData(desc->index(), desc->sequence());
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    pool_.Release(desc);
    return Failed("epoll_ctl", error);
  }
  return desc;
}

void EpollPoller::Poll(int64_t wait_ns, sched::GList& ready) {
  epoll_event events[kEventsAtOnce];
  int n;
  do {
    if (have_pwait2_.load(std::memory_order_relaxed)) {
      n = WaitNanos(epoll_fd_, events, wait_ns);
      // An old kernel says ENOSYS; a seccomp profile that does not know the call, EPERM.
      if (n == -ENOSYS || n == -EPERM) {
        have_pwait2_.store(false, std::memory_order_relaxed);
        n = WaitMillis(epoll_fd_, events, wait_ns);
      }
    } else {
      n = WaitMillis(epoll_fd_, events, wait_ns);
    }
    // A signal: a timed wait goes back to the scheduler, which knows how long is left.
  } while (n == -EINTR && wait_ns < 0);
  if (n == -EINTR) return;
  PLIMSOLL_CHECK(n >= 0, "netpoll: epoll_wait: ", base::ErrnoName(-n));

  for (int i = 0; i < n; ++i) {
    const uint64_t data = events[i].data.u64;
    if (data == kBreakData) {
      if (wait_ns == 0) continue;  // it is for the thread that blocks
      uint64_t count;
      // Fails only if another blocking Poll was first, and then that one was broken.
      [[maybe_unused]] const ssize_t got = read(event_fd_, &count, sizeof(count));
      // acq_rel, pairs with the exchange in Break: a Break that found the flag up, and so did not
      // write, is seen with all that came before it when we return to the scheduler.
      break_sent_.exchange(false, std::memory_order_acq_rel);
      continue;
    }
    PollDesc* desc = pool_.Find(static_cast<uint32_t>(data >> 32));
    if (desc == nullptr || desc->sequence() != static_cast<uint32_t>(data)) continue;
    const uint32_t is = events[i].events;
    const bool ended = (is & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0;
    if (ended) desc->MarkEnded();  // before the edge: the reader it wakes must see it
    if ((is & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) != 0) {
      if (sched::G* g = desc->OnEdge(Mode::kRead)) ready.PushBack(g);
    }
    if ((is & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
      if (sched::G* g = desc->OnEdge(Mode::kWrite)) ready.PushBack(g);
    }
  }
}

void EpollPoller::Break() {
  // acq_rel: see Poll
  if (break_sent_.exchange(true, std::memory_order_acq_rel)) return;
  const uint64_t one = 1;
  // Cannot fail: the counter would have to be full.
  [[maybe_unused]] const ssize_t wrote = write(event_fd_, &one, sizeof(one));
}

}  // namespace plimsoll::netpoll
