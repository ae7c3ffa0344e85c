// What the kernel lets into a listening TCP socket's queue while the socket comes to its end.
//
// close(2) and shutdown(2) of a listening TCP socket reset every connection that waits in its
// queue, and listen(fd, 0) still lets one in at a time. Two things stop the inflow and leave the
// queue alone. A listener bound to an interface that does not exist is not found by the packet that
// begins a handshake, and a handshake that has begun does not look for it again; binding asks for
// no privilege since Linux 5.7, but where the socket was bound to an interface before. A socket
// filter of a listener sees the packets of handshakes, at the TCP header, and only those; some
// kernels want CAP_NET_ADMIN for it (EPERM).
//
// Result: false where the kernel, or what stands in for it, does not do it. Then nothing changed.
#ifndef PLIMSOLL_RUNTIME_NET_ACCEPT_FILTER_H_
#define PLIMSOLL_RUNTIME_NET_ACCEPT_FILTER_H_

namespace plimsoll::net::internal {

// Refuses the packet that begins a handshake, at once, as a closed port does. Handshakes that have
// begun go on to their end, but for those of SYN cookies, of which the kernel keeps nothing: their
// last packet looks for the listener, too.
bool RefuseNewHandshakes(int fd);

// Drops it instead. Who is dropped tries again after a second, and is refused if the port is closed
// by then.
bool DropNewHandshakes(int fd);

// Drops every packet: nothing is added to the queue any more.
bool DropEverything(int fd);

}  // namespace plimsoll::net::internal

#endif  // PLIMSOLL_RUNTIME_NET_ACCEPT_FILTER_H_
