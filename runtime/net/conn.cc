#include "plimsoll/runtime/net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "plimsoll/runtime/net/errors.h"
#include "plimsoll/runtime/net/socket.h"

namespace plimsoll::net {
namespace {

using internal::Socket;
using netpoll::Mode;

}  // namespace

absl::StatusOr<size_t> Conn::Read(std::span<char> buffer) const { return socket_->Read(buffer); }
absl::Status Conn::Write(std::string_view bytes) const { return socket_->Write(bytes); }
absl::Status Conn::AwaitReadable() const { return socket_->AwaitReadable(); }
absl::Status Conn::CloseWrite() const { return socket_->CloseWrite(); }
absl::Status Conn::Close() const { return socket_->Close(); }

void Conn::SetDeadline(absl::Time deadline) const {
  SetReadDeadline(deadline);
  SetWriteDeadline(deadline);
}
void Conn::SetReadDeadline(absl::Time deadline) const {
  socket_->SetDeadline(Mode::kRead, deadline);
}
void Conn::SetWriteDeadline(absl::Time deadline) const {
  socket_->SetDeadline(Mode::kWrite, deadline);
}
void Conn::SetReadTimeout(absl::Duration timeout) const {
  socket_->SetTimeout(Mode::kRead, timeout);
}
void Conn::SetWriteTimeout(absl::Duration timeout) const {
  socket_->SetTimeout(Mode::kWrite, timeout);
}

Address Conn::local_address() const { return socket_->local(); }
Address Conn::remote_address() const { return socket_->remote(); }

absl::StatusOr<Conn> Dial(const Address& address, absl::Duration timeout) {
  const std::string_view network = address.network();
  const std::string where =
      absl::StrCat(absl::string_view(network.data(), network.size()), " ", address.ToString());
  if (address.family() == Address::Family::kUnset) {
    return absl::InvalidArgumentError("dial: the address is not set");
  }
  const absl::StatusOr<int> made = internal::MakeSocket(address, "dial");
  if (!made.ok()) return made.status();
  const int fd = *made;
  const bool tcp = address.family() != Address::Family::kUnix;
  if (tcp) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }
  sockaddr_storage to;
  const socklen_t size = address.ToSockaddr(to);
  // Before it is registered: the first edge is then the end of the connect, or later.
  const int error = connect(fd, reinterpret_cast<const sockaddr*>(&to), size) == 0 ? 0 : errno;
  if (error != 0 && error != EINPROGRESS && error != EINTR) {
    close(fd);
    return internal::ErrnoStatus("dial", where, error);
  }
  absl::StatusOr<std::shared_ptr<Socket>> socket = Socket::Adopt(fd, tcp, address);
  if (!socket.ok()) return socket.status();
  if (error != 0) {
    (*socket)->SetTimeout(Mode::kWrite, timeout);
    if (absl::Status s = (*socket)->FinishConnect(where); !s.ok()) return s;
    (*socket)->SetTimeout(Mode::kWrite, absl::InfiniteDuration());
  }
  return Conn(*std::move(socket));
}

absl::StatusOr<Conn> FromDescriptor(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    const int error = errno;
    if (error != EBADF) close(fd);
    return internal::ErrnoStatus("adopt", absl::StrCat("descriptor ", fd), error);
  }
  absl::StatusOr<std::shared_ptr<Socket>> socket = Socket::Adopt(fd, /*stream_tcp=*/false, {});
  if (!socket.ok()) return socket.status();
  return Conn(*std::move(socket));
}

}  // namespace plimsoll::net
