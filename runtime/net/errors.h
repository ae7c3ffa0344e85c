// How a failed call of the kernel becomes a Status: "read tcp 127.0.0.1:80->127.0.0.1:4096:
// ECONNRESET (Connection reset by peer)".
//
//   kUnavailable         the peer is gone or not there: refused, reset, unreachable, timed out
//   kResourceExhausted   EMFILE, ENFILE, no memory
//   kAlreadyExists       EADDRINUSE: the port is taken
//   kFailedPrecondition  "use of closed connection"
//   kDeadlineExceeded    the deadline of this connection or call
#ifndef PLIMSOLL_RUNTIME_NET_ERRORS_H_
#define PLIMSOLL_RUNTIME_NET_ERRORS_H_

#include <string_view>

#include "absl/status/status.h"

namespace plimsoll::net::internal {

// `where` is the address or addresses, with the network before it.
absl::Status ErrnoStatus(std::string_view operation, std::string_view where, int error);
absl::Status ClosedStatus(std::string_view operation, std::string_view where);
absl::Status TimeoutStatus(std::string_view operation, std::string_view where);

}  // namespace plimsoll::net::internal

#endif  // PLIMSOLL_RUNTIME_NET_ERRORS_H_
