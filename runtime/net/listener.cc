#include "plimsoll/runtime/net/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "plimsoll/runtime/net/errors.h"
#include "plimsoll/runtime/net/handshakes.h"
#include "plimsoll/runtime/net/socket.h"

namespace plimsoll::net {

using internal::Socket;

// Removes a unix listener's path, once.
struct Listener::Unlinker {
  explicit Unlinker(std::string p) : path(std::move(p)) {}
  ~Unlinker() { unlink(path.c_str()); }
  const std::string path;
};

absl::StatusOr<Conn> Listener::Accept() const {
  absl::StatusOr<std::shared_ptr<Socket>> socket = socket_->Accept();
  if (!socket.ok()) return socket.status();
  return Conn(*std::move(socket));
}

absl::Status Listener::Close() const { return socket_->CloseListening(); }
absl::Status Listener::StopHandshakes() const { return socket_->StopHandshakes(); }
bool Listener::HandshakesHalfDone() const {
  if (address_.family() == Address::Family::kUnix) return false;
  return internal::HandshakesHalfDone(address_.port()).value_or(false);
}
absl::Status Listener::EndQueue() const { return socket_->EndQueue(); }
bool Listener::Rest(absl::Duration wait) const { return socket_->Rest(wait); }

absl::StatusOr<Listener> Listen(const Address& wanted, int backlog) {
  const std::string_view network = wanted.network();
  const std::string where =
      absl::StrCat(absl::string_view(network.data(), network.size()), " ", wanted.ToString());
  if (wanted.family() == Address::Family::kUnset) {
    return absl::InvalidArgumentError("listen: the address is not set");
  }
  Address address = wanted;
  absl::StatusOr<int> made = internal::MakeSocket(address, "listen");
  if (!made.ok() && wanted.family() == Address::Family::kAny) {
    // A kernel or a container without IPv6.
    address = Address::Ipv4({0, 0, 0, 0}, wanted.port());
    made = internal::MakeSocket(address, "listen");
  }
  if (!made.ok()) return made.status();
  const int fd = *made;

  const int one = 1, zero = 0, keep_alive_s = 15;
  const bool tcp = address.family() != Address::Family::kUnix;
  if (tcp) {
    // None of these can fail in a way that matters more than the bind below.
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    // Set here once: accepted sockets inherit them, which saves calls a connection.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keep_alive_s, sizeof(keep_alive_s));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &keep_alive_s, sizeof(keep_alive_s));
    if (address.family() == Address::Family::kAny) {
      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
  }
  sockaddr_storage at;
  const socklen_t size = address.ToSockaddr(at);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), size) != 0 || listen(fd, backlog) != 0) {
    const int error = errno;
    close(fd);
    return internal::ErrnoStatus("listen", where, error);
  }
  std::shared_ptr<Listener::Unlinker> unlinker;
  if (!tcp && !address.path().starts_with('@')) {
    unlinker = std::make_shared<Listener::Unlinker>(std::string(address.path()));
  }
  absl::StatusOr<std::shared_ptr<Socket>> socket = Socket::Adopt(fd, tcp, {});
  if (!socket.ok()) return socket.status();
  (*socket)->SetListening();

  Address bound = (*socket)->local();
  if (wanted.family() == Address::Family::kAny) {
    absl::StatusOr<Address> any = Address::Parse(absl::StrCat(":", bound.port()));
    if (any.ok()) bound = *std::move(any);
  }
  return Listener(*std::move(socket), std::move(bound), std::move(unlinker));
}

}  // namespace plimsoll::net
