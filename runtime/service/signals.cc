#include "plimsoll/runtime/service/signals.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT};
// A process group and a forwarder each send the one request of one user; nobody repeats himself by
// hand this fast.
constexpr int64_t kSameRequestNs = 200'000'000;

// What the handler needs. Lock-free, so that a handler may use them.
std::atomic<int> g_socket{-1};
std::atomic<int64_t> g_first_ns{0};  // when the first signal came; 0: none did
static_assert(std::atomic<int>::is_always_lock_free);
static_assert(std::atomic<int64_t>::is_always_lock_free);

// TSan keeps asynchronous signals back until the thread calls something that it intercepts; an idle
// M sits in a raw system call and never does. There the handler is installed behind TSan's back, is
// not instrumented, and makes raw system calls alone.
#if defined(__SANITIZE_THREAD__)
#define PLIMSOLL_RAW_HANDLER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLIMSOLL_RAW_HANDLER 1
#endif
#endif

[[gnu::no_sanitize("thread")]] void OnSignal(int number) {
  const int error = errno;
  timespec now{};
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  const int64_t now_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  int64_t first_ns = 0;
  // Another thread's handler may be in this line with another signal: one of the two is first.
  if (!g_first_ns.compare_exchange_strong(first_ns, now_ns, std::memory_order_relaxed)) {
    if (now_ns - first_ns < kSameRequestNs) {
      errno = error;
      return;
    }
    const std::string_view text = number == SIGTERM ? "plimsoll: SIGTERM again: exit at once\n"
                                                    : "plimsoll: SIGINT again: exit at once\n";
    const uint64_t pipe = uint64_t{1} << (SIGPIPE - 1);  // whoever reads stderr may have gone
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, &pipe, nullptr, sizeof(pipe));
    // Or may have stopped reading: "at once" does not wait for that.
    pollfd log{.fd = 2, .events = POLLOUT, .revents = 0};
    const timespec at_once{};
    if (syscall(SYS_ppoll, &log, 1, &at_once, nullptr, 0) == 1) {
      syscall(SYS_write, 2, text.data(), text.size());
    }
    syscall(SYS_exit_group, 128 + number);
  }
  const char byte = static_cast<char>(number);
  // Cannot be full: it is the first byte.
  syscall(SYS_sendto, g_socket.load(std::memory_order_acquire), &byte, 1,
          MSG_NOSIGNAL | MSG_DONTWAIT, nullptr, 0);
  errno = error;
}

#if defined(PLIMSOLL_RAW_HANDLER) && defined(__x86_64__)
// What the kernel returns to when the handler is done; glibc's own is not to be had by name.
asm(R"(
  .text
  .type plimsoll_signal_return, @function
plimsoll_signal_return:
  movl $15, %eax
  syscall
  .size plimsoll_signal_return, . - plimsoll_signal_return
)");
extern "C" void plimsoll_signal_return();

int InstallHandler(int number) {
  struct {  // the kernel's struct sigaction
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    uint64_t mask;
  } action = {&OnSignal, SA_RESTART | SA_ONSTACK | 0x04000000 /* SA_RESTORER */,
              &plimsoll_signal_return, 0};
  for (const int masked : kSignals) action.mask |= uint64_t{1} << (masked - 1);
  return syscall(SYS_rt_sigaction, number, &action, nullptr, sizeof(action.mask)) == 0 ? 0 : errno;
}
#else
int InstallHandler(int number) {
  struct sigaction action{};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int masked : kSignals) sigaddset(&action.sa_mask, masked);
  return sigaction(number, &action, nullptr) == 0 ? 0 : errno;
}
#endif

}  // namespace

std::string_view SignalName(int number) {
  switch (number) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    default:
      return "a signal";
  }
}

absl::StatusOr<TerminationSignals> TerminationSignals::Install() {
  if (g_socket.load(std::memory_order_relaxed) >= 0) {
    return absl::FailedPreconditionError("service: the signal handlers are installed already");
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::Status(absl::ErrnoToStatusCode(errno),
                        absl::StrCat("service: socketpair: ", strerror(errno)));
  }
  absl::StatusOr<net::Conn> conn = net::FromDescriptor(ends[0]);
  if (!conn.ok()) {
    close(ends[1]);
    return conn.status();
  }
  g_socket.store(ends[1], std::memory_order_release);  // kept for good: a handler may use it
  for (const int number : kSignals) {
    if (const int error = InstallHandler(number); error != 0) {
      return absl::InternalError(absl::StrCat("service: sigaction: ", strerror(error)));
    }
  }
  return TerminationSignals(*std::move(conn));
}

absl::StatusOr<int> TerminationSignals::Wait() {
  while (true) {
    char byte = 0;
    absl::StatusOr<size_t> n = conn_.Read({&byte, 1});
    if (!n.ok()) return n.status();
    if (*n == 0) return absl::InternalError("service: the signal socket has ended");
    // The socket's number is no secret: whoever writes to a wrong descriptor does not end us.
    const int number = static_cast<unsigned char>(byte);
    for (const int ours : kSignals) {
      if (number == ours) return number;
    }
    base::RawLog("plimsoll: the signal socket brought ", number, ", which is no signal to end by");
  }
}

}  // namespace plimsoll
