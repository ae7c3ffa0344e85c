// AcceptLoop accepts for as long as the listener is open, whatever goes wrong with one connection
// or with the process's descriptors.
//
//   AcceptLoop(listener, [](net::Conn conn) { Go([conn] { Serve(conn); }); });
//
// Out of descriptors (EMFILE, ENFILE): told on stderr at most once in ten seconds. We rest a
// little,
//            for some connection to end; if that does not help, a descriptor kept in reserve is
//            closed, the waiting connections are accepted with it and closed at once, and it is
//            taken back: a client that is turned away at once can go elsewhere, one that waits in
//            the queue for its own timeout cannot. How many were turned away is told by the first
//            connection that is accepted after them, at most once a second, and at the end.
// Out of memory and the like: rest and try again.
// Returns:   when the listener is closed.
#ifndef PLIMSOLL_RUNTIME_NET_ACCEPT_LOOP_H_
#define PLIMSOLL_RUNTIME_NET_ACCEPT_LOOP_H_

#include <functional>

#include "plimsoll/runtime/net/listener.h"

namespace plimsoll::net {

void AcceptLoop(const Listener& listener, const std::function<void(Conn)>& serve);

}  // namespace plimsoll::net

#endif  // PLIMSOLL_RUNTIME_NET_ACCEPT_LOOP_H_
