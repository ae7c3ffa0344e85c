// A Conn is one connection: a stream of bytes both ways.
//
//   absl::StatusOr<net::Conn> conn = net::Dial(*net::Address::Parse("127.0.0.1:80"));
//   conn->Write("GET / HTTP/1.0\r\n\r\n").IgnoreError();
//   char buffer[512];
//   absl::StatusOr<size_t> n = conn->Read(buffer);     // 0: the peer has sent all
//
// Handle:    a Conn is a reference. Copies name one connection; the last copy closes it.
// Blocking:  parks the goroutine, never its thread.
// Threads:   any number of goroutines at once. Reads go one after the other, and so do Writes; a
//            read and a write go together. Close may be called at any time, and ends both.
// Deadlines: of reading and writing apart; one that passes ends the calls in progress and all later
//            ones with kDeadlineExceeded, until it is moved. The bytes are not lost.
// Errors:    kUnavailable: refused, reset, peer gone. kDeadlineExceeded. kFailedPrecondition: "use
//            of closed connection". kResourceExhausted: no descriptors, no memory. The text holds
//            the operation, the addresses and errno's name.
// Signals:   writing to a peer that is gone is an error, not a SIGPIPE.
#ifndef PLIMSOLL_RUNTIME_NET_CONN_H_
#define PLIMSOLL_RUNTIME_NET_CONN_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/net/address.h"

namespace plimsoll::net {

namespace internal {
class Socket;
}  // namespace internal

class Conn {
 public:
  // Reads at least one byte, and at most buffer.size(). 0: the stream has ended, or buffer is
  // empty.
  absl::StatusOr<size_t> Read(std::span<char> buffer) const;

  // Writes all of `bytes`; after an error, part of them.
  absl::Status Write(std::string_view bytes) const;

  // Parks until Read would return at once; may return early. For those who get a buffer only then.
  absl::Status AwaitReadable() const;

  // Tells the peer that nothing follows; reading goes on.
  absl::Status CloseWrite() const;

  // Ends the connection and all calls in progress. kFailedPrecondition: it was closed before.
  absl::Status Close() const;

  // A time that has passed ends calls in progress at once; absl::InfiniteFuture() takes it away.
  void SetDeadline(absl::Time deadline) const;
  void SetReadDeadline(absl::Time deadline) const;
  void SetWriteDeadline(absl::Time deadline) const;

  // The same, from now, whatever is done to the system's clock.
  void SetReadTimeout(absl::Duration timeout) const;
  void SetWriteTimeout(absl::Duration timeout) const;

  Address local_address() const;
  Address remote_address() const;

  // Made by Dial, Listener::Accept and FromDescriptor.
  explicit Conn(std::shared_ptr<internal::Socket> socket) : socket_(std::move(socket)) {}

 private:
  std::shared_ptr<internal::Socket> socket_;
};

// Connects. A deadline bounds it; the kernel's own is minutes. A failed one leaves nothing behind.
absl::StatusOr<Conn> Dial(const Address& address,
                          absl::Duration timeout = absl::InfiniteDuration());

// Takes over a descriptor of a stream that can be polled: a socket, a pipe. It is made
// non-blocking. Closed on error too.
absl::StatusOr<Conn> FromDescriptor(int fd);

}  // namespace plimsoll::net

#endif  // PLIMSOLL_RUNTIME_NET_CONN_H_
