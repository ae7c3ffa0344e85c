// Which TCP handshakes are half done: the kernel has answered a client's first packet and waits for
// the client's answer to that.
//
// Source: sock_diag(7), inet_diag in <linux/inet_diag.h>. No privilege is needed; the answer is of
// the caller's network namespace.
#ifndef PLIMSOLL_RUNTIME_NET_HANDSHAKES_H_
#define PLIMSOLL_RUNTIME_NET_HANDSHAKES_H_

#include <cstdint>
#include <optional>

namespace plimsoll::net::internal {

// Whether a handshake with local port `port` is half done, at whichever address. The kernel walks
// its table of connections, of all network namespaces, for it: milliseconds of the thread, and it
// does not park. Nothing: this kernel, or what stands in for it, does not tell.
std::optional<bool> HandshakesHalfDone(uint16_t port);

}  // namespace plimsoll::net::internal

#endif  // PLIMSOLL_RUNTIME_NET_HANDSHAKES_H_
