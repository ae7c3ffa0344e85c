// A Listener waits for connections.
//
//   absl::StatusOr<net::Listener> listener = net::Listen(*net::Address::Parse(":8080"));
//   while (true) {
//     absl::StatusOr<net::Conn> conn = listener->Accept();
//     ...                                     // or AcceptLoop, which knows what to do with errors
//   }
//
// Handle:    a Listener is a reference; the last copy closes it.
// Blocking:  Accept parks the goroutine. Close, from anywhere, ends it with kFailedPrecondition.
// Errors:    Listen: kAlreadyExists for a port that is taken, with "listen tcp 127.0.0.1:80:
//            EADDRINUSE". Accept: kResourceExhausted for EMFILE, ENFILE and memory; the listener
//            goes on. A connection that died before it was accepted is passed over.
// End:       Close resets the connections that wait in the queue, as the kernel does.
//            StopHandshakes and EndQueue lose none of them. TCP clients that come after
//            StopHandshakes are refused, unix clients after EndQueue. Before Linux 5.7 a TCP client
//            is refused only when its first packet is repeated, after a second, and where such a
//            kernel refuses socket filters a connection that comes within the last system calls can
//            still be reset.
// Sockets:   close-on-exec, SO_REUSEADDR, TCP_NODELAY and keep-alive after 15 s, also for what is
//            accepted. A unix path that is left from a dead process is not removed; the listener's
//            own is, when it closes.
#ifndef PLIMSOLL_RUNTIME_NET_LISTENER_H_
#define PLIMSOLL_RUNTIME_NET_LISTENER_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "plimsoll/runtime/net/address.h"
#include "plimsoll/runtime/net/conn.h"

namespace plimsoll::net {

class Listener {
 public:
  // The next connection. Any number of goroutines may wait.
  absl::StatusOr<Conn> Accept() const;

  // Ends Accept, here and wherever it waits. kFailedPrecondition: it was closed before.
  absl::Status Close() const;

  // The two steps of an end that loses no connection. First, no handshake begins any more; those
  // that have begun go on, and Accept goes on. Give them the time of a round trip, and more while
  // HandshakesHalfDone, then:
  absl::Status StopHandshakes() const;
  // Whether the kernel has answered a client's first packet on this port and waits for the client.
  // False also where the kernel does not tell, and for a unix path, whose connect waits for nobody.
  bool HandshakesHalfDone() const;
  // Nothing is added to the queue any more. Accept empties it; the Accept that finds nothing left
  // closes the listener and says kFailedPrecondition, so somebody has to accept.
  absl::Status EndQueue() const;

  // Where it listens: with the port that the kernel chose if Listen was given 0.
  Address address() const { return address_; }

  // Parks for `wait`. False: the listener was closed meanwhile, at once.
  bool Rest(absl::Duration wait) const;

 private:
  friend absl::StatusOr<Listener> Listen(const Address& address, int backlog);
  struct Unlinker;

  Listener(std::shared_ptr<internal::Socket> socket, Address address,
           std::shared_ptr<Unlinker> unlinker)
      : socket_(std::move(socket)), address_(std::move(address)), unlinker_(std::move(unlinker)) {}

  std::shared_ptr<internal::Socket> socket_;
  Address address_;
  std::shared_ptr<Unlinker> unlinker_;  // null but for a unix path
};

// Listens. The backlog is bounded by net.core.somaxconn.
absl::StatusOr<Listener> Listen(const Address& address, int backlog = 4096);

}  // namespace plimsoll::net

#endif  // PLIMSOLL_RUNTIME_NET_LISTENER_H_
