#include "plimsoll/runtime/service/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/raw_log.h"

namespace plimsoll {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT};

// What the handler needs. Lock-free, so that a handler may use them.
std::atomic<int> g_socket{-1};
std::atomic<int> g_seen{0};
static_assert(std::atomic<int>::is_always_lock_free);

void OnSignal(int number) {
  const int error = errno;
  if (g_seen.fetch_add(1, std::memory_order_relaxed) > 0) {
    base::RawLog("plimsoll: ", SignalName(number), " again: exit at once");
    _exit(128 + number);
  }
  const char byte = static_cast<char>(number);
  // Cannot be full: it is the first byte.
  [[maybe_unused]] const ssize_t sent =
      send(g_socket.load(std::memory_order_acquire), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  errno = error;
}

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
                        absl::StrCat("service: socketpair: errno ", errno));
  }
  absl::StatusOr<net::Conn> conn = net::FromDescriptor(ends[0]);
  if (!conn.ok()) {
    close(ends[1]);
    return conn.status();
  }
  g_socket.store(ends[1], std::memory_order_release);  // kept for good: a handler may use it
  struct sigaction action{};
  action.sa_handler = &OnSignal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  for (const int number : kSignals) sigaddset(&action.sa_mask, number);
  for (const int number : kSignals) {
    if (sigaction(number, &action, nullptr) != 0) {
      return absl::InternalError(absl::StrCat("service: sigaction: errno ", errno));
    }
  }
  return TerminationSignals(*std::move(conn));
}

absl::StatusOr<int> TerminationSignals::Wait() {
  char byte = 0;
  absl::StatusOr<size_t> n = conn_.Read({&byte, 1});
  if (!n.ok()) return n.status();
  if (*n == 0) return absl::InternalError("service: the signal socket has ended");
  return static_cast<int>(byte);
}

}  // namespace plimsoll
