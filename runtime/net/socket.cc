#include "plimsoll/runtime/net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plimsoll/alloc/base/check.h"
#include "plimsoll/runtime/net/accept_filter.h"
#include "plimsoll/runtime/net/errors.h"
#include "plimsoll/runtime/netpoll/netpoll.h"
#include "plimsoll/runtime/sched/park.h"

namespace plimsoll::net::internal {
namespace {

// The calls, each with its errno: the result, or -errno. By (3).
[[gnu::noinline]] ssize_t SysRead(int fd, char* buffer, size_t size) {
  const ssize_t n = read(fd, buffer, size);
  return n < 0 ? -errno : n;
}

[[gnu::noinline]] ssize_t SysSend(int fd, const char* bytes, size_t size) {
  const ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);  // EPIPE, not SIGPIPE
  return n < 0 ? -errno : n;
}

[[gnu::noinline]] int SysAccept(int fd, sockaddr_storage* from, socklen_t* size) {
  const int n = accept4(fd, reinterpret_cast<sockaddr*>(from), size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  return n < 0 ? -errno : n;
}

// True: a read would wait. What is no socket says false, and the read says the rest.
[[gnu::noinline]] bool NothingToRead(int fd) {
  char byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

[[gnu::noinline]] int SysShutdown(int fd, int how) { return shutdown(fd, how) < 0 ? -errno : 0; }

[[gnu::noinline]] int SysOption(int fd, int level, int name, int* value) {
  socklen_t size = sizeof(*value);
  return getsockopt(fd, level, name, value, &size) < 0 ? -errno : 0;
}

// What accept(2) says of a connection that died in the queue, and of the network behind it: the
// next one may be well.
bool IsOfThatConnectionOnly(int error) {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EINTR:
      return true;
    default:
      return false;
  }
}

absl::string_view Absl(std::string_view s) { return {s.data(), s.size()}; }

int64_t Later(int64_t now, absl::Duration wait) {
  if (wait >= absl::Nanoseconds(netpoll::kNoDeadline - now)) return netpoll::kNoDeadline;
  return now + std::max<int64_t>(absl::ToInt64Nanoseconds(wait), 0);
}

}  // namespace

// Holds a side's lock or, for Deadline and the like, a reference.
class Socket::Using {
 public:
  Using(Socket& socket, std::optional<Side> side)
      : socket_(socket),
        side_(side),
        in_(side.has_value() ? socket.mutex_.Lock(*side) : socket.mutex_.Ref()) {}
  ~Using() {
    if (!in_) return;
    if (side_.has_value() ? socket_.mutex_.Unlock(*side_) : socket_.mutex_.Unref()) {
      socket_.Destroy();
    }
  }
  bool in() const { return in_; }

 private:
  Socket& socket_;
  const std::optional<Side> side_;
  const bool in_;
};

absl::StatusOr<std::shared_ptr<Socket>> Socket::Adopt(int fd, bool stream_tcp, Address remote) {
  absl::StatusOr<netpoll::PollDesc*> desc = netpoll::Open(fd);
  if (!desc.ok()) {
    close(fd);
    return desc.status();
  }
  return std::make_shared<Socket>(fd, *desc, stream_tcp, std::move(remote));
}

Socket::Socket(int fd, netpoll::PollDesc* desc, bool stream_tcp, Address remote)
    : fd_(fd), desc_(desc), stream_tcp_(stream_tcp), remote_(std::move(remote)) {}

Socket::~Socket() { (listening_ ? CloseListening() : Close()).IgnoreError(); }

void Socket::Destroy() {
  netpoll::Close(desc_);
  close(fd_);  // Linux frees the number whatever it answers
}

absl::Status Socket::Close() {
  if (!mutex_.RefAndClose()) return ClosedStatus("close", Where());
  desc_->Evict();
  if (mutex_.Unref()) Destroy();
  return absl::OkStatus();
}

absl::Status Socket::CloseListening() {
  if (!mutex_.RefAndClose()) return ClosedStatus("close", Where());
  desc_->Evict();  // first: an Accept that fails of the shutdown then finds why
  SysShutdown(fd_, SHUT_RDWR);
  if (mutex_.Unref()) Destroy();
  return absl::OkStatus();
}

absl::Status Socket::StopHandshakes() {
  Using use(*this, std::nullopt);
  if (!use.in()) return ClosedStatus("listen", Where());
  // A unix connect waits for nobody: no handshake is ever half done. Elsewhere neither means that
  // connections may be reset at the end, as any server resets them.
  if (stream_tcp_ && !RefuseNewHandshakes(fd_)) static_cast<void>(DropNewHandshakes(fd_));
  return absl::OkStatus();
}

absl::Status Socket::EndQueue() {
  Using use(*this, std::nullopt);
  if (!use.in()) return ClosedStatus("listen", Where());
  if (stream_tcp_) {
    static_cast<void>(DropEverything(fd_));
  } else {
    SysShutdown(fd_, SHUT_RD);  // connect is refused from now on; the queue stays
  }
  // release: pairs with the acquire in Accept, which then trusts an empty queue to stay empty
  queue_ends_.store(true, std::memory_order_release);
  desc_->SetDeadline(netpoll::Mode::kRead, 0);  // long past: wakes an Accept that waits
  return absl::OkStatus();
}

std::string Socket::Where() const {
  const Address here = local();
  std::string where = absl::StrCat(Absl(here.network()), " ", here.ToString());
  if (remote_.family() != Address::Family::kUnset) {
    absl::StrAppend(&where, "->", remote_.ToString());
  }
  return where;
}

Address Socket::local() const {
  Using use(const_cast<Socket&>(*this), std::nullopt);
  sockaddr_storage address;
  socklen_t size = sizeof(address);
  if (!use.in() || getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return Address::FromSockaddr(address, size);
}

absl::Status Socket::WaitStatus(netpoll::WaitResult result, std::string_view operation) const {
  switch (result) {
    case netpoll::WaitResult::kReady:
      return absl::OkStatus();
    case netpoll::WaitResult::kTimedOut:
      return TimeoutStatus(operation, Where());
    case netpoll::WaitResult::kClosed:
      return ClosedStatus(operation, Where());
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> Socket::Read(std::span<char> buffer) {
  using netpoll::Mode, netpoll::WaitResult;
  Using use(*this, Side::kRead);
  if (!use.in()) return ClosedStatus("read", Where());
  if (buffer.empty()) return size_t{0};
  WaitResult allowed = desc_->Check(Mode::kRead);
  while (true) {
    if (allowed != WaitResult::kReady) return WaitStatus(allowed, "read");
    if (seen_ == Seen::kEmpty && desc_->ShortReadMeansEmpty()) {
      allowed = desc_->Wait(Mode::kRead);
      seen_ = Seen::kPerhaps;
      continue;
    }
    const ssize_t n = SysRead(fd_, buffer.data(), buffer.size());
    if (n >= 0) {
      seen_ = stream_tcp_ && static_cast<size_t>(n) < buffer.size() && n > 0 ? Seen::kEmpty
                                                                             : Seen::kPerhaps;
      return static_cast<size_t>(n);
    }
    if (n == -EINTR) continue;
    if (n != -EAGAIN) return ErrnoStatus("read", Where(), static_cast<int>(-n));
    allowed = desc_->Wait(Mode::kRead);
    seen_ = Seen::kPerhaps;
  }
}

absl::Status Socket::AwaitReadable() {
  using netpoll::Mode, netpoll::WaitResult;
  Using use(*this, Side::kRead);
  if (!use.in()) return ClosedStatus("read", Where());
  while (true) {
    if (const WaitResult allowed = desc_->Check(Mode::kRead); allowed != WaitResult::kReady) {
      return WaitStatus(allowed, "read");
    }
    // A fresh descriptor's first edge is still to come, whatever arrived before it was registered.
    const bool known_empty =
        seen_ == Seen::kFresh || (seen_ == Seen::kEmpty && desc_->ShortReadMeansEmpty());
    // Who waits here may be idle, and must not be told of bytes that are not there.
    if (!known_empty && !NothingToRead(fd_)) return absl::OkStatus();
    const WaitResult result = desc_->Wait(Mode::kRead);
    if (result != WaitResult::kReady) return WaitStatus(result, "read");
    seen_ = Seen::kPerhaps;
    if (known_empty) return absl::OkStatus();
  }
}

absl::Status Socket::Write(std::string_view bytes) {
  using netpoll::Mode, netpoll::WaitResult;
  Using use(*this, Side::kWrite);
  if (!use.in()) return ClosedStatus("write", Where());
  WaitResult allowed = desc_->Check(Mode::kWrite);
  while (true) {
    if (allowed != WaitResult::kReady) return WaitStatus(allowed, "write");
    const ssize_t n = SysSend(fd_, bytes.data(), bytes.size());
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
      if (bytes.empty()) return absl::OkStatus();
      continue;
    }
    if (n == -EINTR) continue;
    if (n != -EAGAIN) return ErrnoStatus("write", Where(), static_cast<int>(-n));
    allowed = desc_->Wait(Mode::kWrite);
  }
}

absl::StatusOr<std::shared_ptr<Socket>> Socket::Accept() {
  using netpoll::Mode, netpoll::WaitResult;
  Using use(*this, Side::kRead);
  if (!use.in()) return ClosedStatus("accept", Where());
  WaitResult allowed = desc_->Check(Mode::kRead);
  while (true) {
    // acquire: pairs with the release in EndQueue. Before the call whose EAGAIN it gives a meaning.
    const bool queue_ends = queue_ends_.load(std::memory_order_acquire);
    const bool woken_to_end = queue_ends && allowed == WaitResult::kTimedOut;
    if (allowed != WaitResult::kReady && !woken_to_end) return WaitStatus(allowed, "accept");
    sockaddr_storage from;
    socklen_t size = sizeof(from);
    const int fd = SysAccept(fd_, &from, &size);
    if (fd >= 0) {
      Address remote = Address::FromSockaddr(from, size);
      const bool tcp = remote.family() != Address::Family::kUnix;
      return Adopt(fd, tcp, std::move(remote));
    }
    if (IsOfThatConnectionOnly(-fd)) continue;
    // EINVAL: shut down. By CloseListening, or by EndQueue and then a unix queue is empty.
    if (fd == -EAGAIN || (fd == -EINVAL && queue_ends)) {
      if (queue_ends) {
        CloseListening().IgnoreError();
        return ClosedStatus("accept", Where());
      }
    } else {
      allowed = desc_->Check(Mode::kRead);
      if (allowed == WaitResult::kClosed) continue;
      if (fd != -EINVAL || stream_tcp_) return ErrnoStatus("accept", Where(), -fd);
      // EndQueue has shut a unix listener down and will say so; the edge of that may be used up.
    }
    allowed = desc_->Wait(Mode::kRead);
  }
}

absl::Status Socket::FinishConnect(std::string_view where) {
  using netpoll::Mode, netpoll::WaitResult;
  Using use(*this, Side::kWrite);
  if (!use.in()) return ClosedStatus("dial", where);
  while (true) {
    const WaitResult result = desc_->Wait(Mode::kWrite);
    if (result == WaitResult::kTimedOut) return TimeoutStatus("dial", where);
    if (result == WaitResult::kClosed) return ClosedStatus("dial", where);
    int error = 0;
    if (const int r = SysOption(fd_, SOL_SOCKET, SO_ERROR, &error); r < 0) error = -r;
    if (error == 0) {
      // An edge may be of before the connect began: connected is who has a peer.
      sockaddr_storage peer;
      socklen_t size = sizeof(peer);
      if (getpeername(fd_, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return absl::OkStatus();
      continue;
    }
    if (error != EINPROGRESS && error != EALREADY && error != EINTR) {
      return ErrnoStatus("dial", where, error);
    }
  }
}

bool Socket::Rest(absl::Duration wait) {
  using netpoll::Mode, netpoll::WaitResult;
  // The side that nobody else uses of a listener; its edges cannot come.
  Using use(*this, Side::kWrite);
  if (!use.in()) return false;
  desc_->SetDeadline(Mode::kWrite, Later(sched::NowNanos(), wait));
  WaitResult result;
  do {
    result = desc_->Wait(Mode::kWrite);
  } while (result == WaitResult::kReady);
  if (result == WaitResult::kTimedOut) desc_->SetDeadline(Mode::kWrite, netpoll::kNoDeadline);
  return result == WaitResult::kTimedOut;
}

void Socket::SetDeadline(netpoll::Mode mode, absl::Time deadline) {
  SetTimeout(
      mode, deadline == absl::InfiniteFuture() ? absl::InfiniteDuration() : deadline - absl::Now());
}

void Socket::SetTimeout(netpoll::Mode mode, absl::Duration timeout) {
  Using use(*this, std::nullopt);
  if (!use.in()) return;
  desc_->SetDeadline(mode, Later(sched::NowNanos(), timeout));
}

absl::Status Socket::CloseWrite() {
  Using use(*this, std::nullopt);
  if (!use.in()) return ClosedStatus("close", Where());
  const int r = SysShutdown(fd_, SHUT_WR);
  return r < 0 ? ErrnoStatus("close", Where(), -r) : absl::OkStatus();
}

absl::StatusOr<int> Socket::Option(int level, int name) {
  Using use(*this, std::nullopt);
  if (!use.in()) return ClosedStatus("getsockopt", Where());
  int value = 0;
  const int r = SysOption(fd_, level, name, &value);
  if (r < 0) return ErrnoStatus("getsockopt", Where(), -r);
  return value;
}

absl::StatusOr<int> MakeSocket(const Address& address, std::string_view operation) {
  sockaddr_storage unused;
  address.ToSockaddr(unused);
  const int fd = socket(unused.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return ErrnoStatus(
        operation, absl::StrCat(Absl(address.network()), " ", address.ToString()).c_str(), errno);
  }
  return fd;
}

}  // namespace plimsoll::net::internal
